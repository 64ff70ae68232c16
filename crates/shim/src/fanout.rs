//! Sends a process' output to those attached.
//!
//! Each client has a queue, emptied by its own connection. While the process runs the queue has
//! little room, so that a slow client makes the process wait; once it ended everything goes into
//! the queue at once, so that a slow client delays nobody.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bytes::Bytes;
use coracle_task::AttachOptions;
use coracle_task::SharedStream;
use coracle_task::Stream;
use coracle_task::frame::Data;
use coracle_task::frame::send_data;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::watch;

/// The bytes that may wait for a client while the process runs, besides the socket's buffer.
const ROOM: usize = 64 << 10;

/// The clients of one process.
#[derive(Default)]
pub(crate) struct Fanout {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: Vec<Arc<Client>>,
    ended: bool,
}

struct Client {
    options: AttachOptions,
    queue: mpsc::UnboundedSender<Queued>,
    /// What is left of [`ROOM`]; closed when the client is gone.
    room: Arc<Semaphore>,
}

struct Queued {
    data: Data,
    /// How much of the room it takes.
    taken: usize,
}

/// A client's end of its queue.
pub(crate) struct Queue {
    queue: mpsc::UnboundedReceiver<Queued>,
    room: Arc<Semaphore>,
}

impl Fanout {
    /// Adds a client, which gets all output from now on.
    pub(crate) fn attach(&self, options: AttachOptions) -> Queue {
        let (sender, queue) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(ROOM));
        let client = Client {
            options,
            queue: sender,
            room: room.clone(),
        };
        let mut state = self.lock();
        if state.ended {
            client.send(Data::End, 0);
        } else {
            state.clients.push(Arc::new(client));
        }
        Queue { queue, room }
    }

    /// Whether anybody wants output.
    pub(crate) fn has_readers(&self) -> bool {
        self.lock()
            .clients
            .iter()
            .any(|client| client.options.stdout || client.options.stderr)
    }

    /// Gives output to all that want it. Waits for those with a full queue until `exited` is
    /// true.
    pub(crate) async fn send(
        &self,
        stream: Stream,
        bytes: &Bytes,
        exited: &mut watch::Receiver<bool>,
    ) {
        let clients = self.lock().clients.clone();
        let mut gone = false;
        for client in clients.iter().filter(|client| client.wants(stream)) {
            let taken = tokio::select! {
                taken = client.take(bytes.len()) => taken,
                _ = exited.wait_for(|exited| *exited) => Some(0),
            };
            let data = match stream {
                Stream::Stdout => Data::Stdout(bytes.clone()),
                Stream::Stderr => Data::Stderr(bytes.clone()),
            };
            gone |= !taken.is_some_and(|taken| client.send(data, taken));
        }
        if gone {
            self.lock()
                .clients
                .retain(|client| !client.room.is_closed());
        }
    }

    /// The process ended, and its output was sent.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        for client in state.clients.drain(..) {
            client.send(Data::End, 0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.options.stdout,
            Stream::Stderr => self.options.stderr,
        }
    }

    /// Takes room for `len` bytes; `None` if the client is gone.
    async fn take(&self, len: usize) -> Option<usize> {
        let len = len.min(ROOM);
        let permits = u32::try_from(len).unwrap_or(u32::MAX);
        self.room.acquire_many(permits).await.ok()?.forget();
        Some(len)
    }

    fn send(&self, data: Data, taken: usize) -> bool {
        self.queue.send(Queued { data, taken }).is_ok()
    }
}

impl Queue {
    /// Writes the queue to the client until the end of the output. Fails when the client reads
    /// no more.
    pub(crate) async fn write_to(mut self, stream: &mut SharedStream) -> std::io::Result<()> {
        while let Some(Queued { data, taken }) = self.queue.recv().await {
            send_data(stream, &data).await?;
            if data == Data::End {
                break;
            }
            self.room.add_permits(taken);
        }
        Ok(())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.room.close();
    }
}
