//! The stream: requests in, replies out, several under way.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;

use super::ServeOptions;
use super::fs::Fs;
use super::pool::Pool;
use super::source::{Source, descriptors};
use super::wire::{Args, Header, Reply, Result};
use crate::abi::{IN_HEADER, MAX_MESSAGE, op};

/// Processes of the guest that may wait for a lock at a time (`ENOLCK` beyond).
const MAX_WAITING: usize = 1024;
/// A lock that is not held through this server is asked for again after this, then less often.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// A message to send, and the right to be under way, given back when it is sent.
type Answer = (Vec<u8>, OwnedSemaphorePermit);

struct Server {
    fs: Arc<Fs>,
    pool: Pool,
    permits: Arc<Semaphore>,
    answers: UnboundedSender<Answer>,
    /// Requests that wait for a lock.
    waiting: Mutex<HashMap<u64, Arc<Notify>>>,
}

pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    source: OwnedFd,
    options: ServeOptions,
) -> io::Result<()> {
    let source = Source::new(source, options.read_only, options.recursive);
    let descriptors = Arc::new(descriptors()?);
    let parallel = options.parallel.clamp(1, 256);
    let fs = Arc::new(Fs::new(source, descriptors.clone(), options)?);
    let (answers, outgoing) = unbounded_channel();
    let server = Arc::new(Server {
        fs,
        pool: Pool::new(descriptors, parallel),
        permits: Arc::new(Semaphore::new(parallel)),
        answers,
        waiting: Mutex::default(),
    });
    // Whether threads can be as they have to: told now, not by requests without a reply.
    let (ready, is_ready) = oneshot::channel();
    server
        .pool
        .submit(move |_| ready.send(()).unwrap_or_default())?;
    is_ready
        .await
        .map_err(|_| io::Error::other("a thread for the share can't be set up"))?;
    let (reader, writer) = tokio::io::split(stream);
    let result = tokio::select! {
        result = requests(&server, reader) => result,
        result = replies(writer, outgoing) => result,
    };
    match result {
        // Nobody waits for the last replies when a share is unmounted.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

async fn replies(
    mut stream: impl AsyncWrite + Unpin,
    mut answers: UnboundedReceiver<Answer>,
) -> io::Result<()> {
    while let Some((message, permit)) = answers.recv().await {
        stream.write_all(&message).await?;
        drop((message, permit));
        while let Ok((message, _permit)) = answers.try_recv() {
            stream.write_all(&message).await?;
        }
        stream.flush().await?;
    }
    // The server itself holds a sender: never reached while it reads.
    Ok(())
}

/// Reads requests until the stream ends.
async fn requests(server: &Arc<Server>, stream: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(32 << 10, stream);
    let mut waiters = JoinSet::new();
    loop {
        let Some((header, body)) = receive(&mut stream).await? else {
            return Ok(());
        };
        match header.opcode {
            op::FORGET | op::BATCH_FORGET => {
                let closed = forget(&server.fs, &header, Args(&body));
                // Bounded by the descriptors there are.
                if !closed.is_empty() {
                    server.pool.submit(move |_| drop(closed))?;
                }
            }
            op::INTERRUPT => {
                if let Ok(unique) = Args(&body).u64()
                    && let Some(waiter) = server.waiting().get(&unique)
                {
                    waiter.notify_one();
                }
            }
            op::SETLKW => {
                while waiters.try_join_next().is_some() {}
                if waiters.len() >= MAX_WAITING {
                    server
                        .send(Reply::finish(Err(Errno::NOLCK), header.unique))
                        .await?;
                } else {
                    let interrupt = Arc::new(Notify::new());
                    server.waiting().insert(header.unique, interrupt.clone());
                    waiters.spawn(wait_for_lock(server.clone(), header, body, interrupt));
                }
            }
            _ => {
                let permit = server.permit().await?;
                let (fs, answers) = (server.fs.clone(), server.answers.clone());
                server.pool.submit(move |worker| {
                    let reply = Reply::finish(fs.answer(worker, &header, &body), header.unique);
                    drop(body);
                    // Nobody is there any more: the server has ended.
                    let _ = answers.send((reply, permit));
                })?;
            }
        }
    }
}

/// The next request; `None` at the end of the stream.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Header, Vec<u8>)>> {
    let mut header = [0; IN_HEADER];
    let Some((first, rest)) = header.split_first_mut() else {
        return Ok(None);
    };
    if stream.read(std::slice::from_mut(first)).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(rest).await?;
    let header = Header::parse(&header);
    let length = header.length as usize;
    if !(IN_HEADER..=MAX_MESSAGE).contains(&length) {
        let message = "the guest sent a FUSE request with a wrong length";
        return Err(io::Error::new(ErrorKind::InvalidData, message));
    }
    let mut body = Vec::with_capacity(length - IN_HEADER);
    let expected = (length - IN_HEADER) as u64;
    if stream.take(expected).read_to_end(&mut body).await? < length - IN_HEADER {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((header, body)))
}

/// Counts down what the guest forgets; returns what is to be closed.
fn forget(fs: &Fs, header: &Header, mut args: Args<'_>) -> Vec<Arc<OwnedFd>> {
    // There is no reply to say that one is malformed.
    let mut closed = Vec::new();
    if header.opcode == op::FORGET {
        closed.extend(
            args.u64()
                .ok()
                .and_then(|count| fs.nodes().forget(header.node, count)),
        );
        return closed;
    }
    let count = args.u32().unwrap_or_default();
    let _padding = args.u32();
    for _ in 0..count {
        match (args.u64(), args.u64()) {
            (Ok(node), Ok(count)) => closed.extend(fs.nodes().forget(node, count)),
            _ => break,
        }
    }
    closed
}

/// Asks for a lock until it's there or the guest doesn't want it any more. No thread waits.
async fn wait_for_lock(server: Arc<Server>, header: Header, body: Vec<u8>, interrupt: Arc<Notify>) {
    let body: Arc<[u8]> = body.into();
    let mut pause = FIRST_PAUSE;
    let result = loop {
        let changed = server.fs.locks.changed.notified();
        let mut changed = std::pin::pin!(changed);
        changed.as_mut().enable();
        match server.try_lock(header, body.clone()).await {
            Err(Errno::AGAIN) => {}
            result => break result,
        }
        tokio::select! {
            () = &mut changed => {}
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_PAUSE),
            () = interrupt.notified() => break Err(Errno::INTR),
        }
    };
    server.waiting().remove(&header.unique);
    // Fails only when the server has ended.
    let _ = server.send(Reply::finish(result, header.unique)).await;
}

impl Server {
    /// No code runs under this lock that could leave the map half changed.
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn permit(&self) -> io::Result<OwnedSemaphorePermit> {
        // Never closed.
        self.permits
            .clone()
            .acquire_owned()
            .await
            .map_err(io::Error::other)
    }

    async fn send(&self, message: Vec<u8>) -> io::Result<()> {
        let permit = self.permit().await?;
        let ended = |_| io::Error::from(ErrorKind::BrokenPipe);
        self.answers.send((message, permit)).map_err(ended)
    }

    async fn try_lock(&self, header: Header, body: Arc<[u8]>) -> Result<Reply> {
        let _permit = self.permit().await.map_err(|_| Errno::IO)?;
        let (sender, receiver) = oneshot::channel();
        let fs = self.fs.clone();
        let job = move |worker: &_| {
            // Who asked may have gone.
            let _ = sender.send(fs.answer(worker, &header, &body));
        };
        self.pool.submit(job).map_err(|_| Errno::AGAIN)?;
        receiver.await.map_err(|_| Errno::IO)?
    }
}
