//! Connecting clients to a container's process, before or while it runs.

use bytes::Bytes;
use coracle_runtime::io::{AttachOptions, Attached, BoxStream, StreamKind};
use coracle_runtime::{Result, RuntimeError, Status};
use coracle_task::{AttachReader, AttachWriter, Client, Stream, TaskError};
use futures_util::stream;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::oneshot;

use super::actor::{Actor, task_error};

/// Bytes of input kept while the process does not read.
const INPUT_BUFFER: usize = 64 << 10;

/// A client that waits for the container to start.
pub(crate) struct Pending {
    options: AttachOptions,
    ready: oneshot::Sender<coracle_task::Attached>,
}

impl Pending {
    /// Connects it, unless it is gone. Its streams end if that fails.
    pub(super) async fn connect(self, client: &Client) -> std::result::Result<(), TaskError> {
        if self.ready.is_closed() {
            return Ok(());
        }
        let attached = client.attach(None, task_options(self.options)).await?;
        let _ = self.ready.send(attached);
        Ok(())
    }
}

impl Actor {
    /// Attaches now, or when it starts.
    pub(super) async fn attach(&mut self, options: AttachOptions) -> Result<Attached> {
        let refused = match self.run.state.status {
            Status::Paused => Some("is paused, unpause the container before attach"),
            Status::Restarting => Some("is restarting, wait until the container is running"),
            _ => None,
        };
        if let Some(why) = refused {
            return Err(RuntimeError::InvalidState(format!(
                "container {} {why}",
                self.record.id
            )));
        }
        let tty = self.record.config.tty;
        let stdin = options.stdin && self.record.config.open_stdin;
        if let Some(task) = &self.task {
            let attached = task
                .client
                .attach(None, task_options(options))
                .await
                .map_err(task_error)?;
            return Ok(live(attached, stdin, tty));
        }
        let (ready, started) = oneshot::channel();
        self.pending.push(Pending { options, ready });
        Ok(pending(started, stdin, tty))
    }
}

fn task_options(options: AttachOptions) -> coracle_task::AttachOptions {
    coracle_task::AttachOptions {
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
    }
}

/// The streams of a process that runs.
pub(crate) fn live(attached: coracle_task::Attached, stdin: bool, tty: bool) -> Attached {
    let input = stdin.then(|| {
        let (ours, theirs) = tokio::io::duplex(INPUT_BUFFER);
        tokio::spawn(pump(theirs, attached.stdin));
        Box::pin(ours) as _
    });
    Attached {
        output: output(attached.output),
        input,
        tty,
    }
}

/// The streams of one that does not yet.
fn pending(started: oneshot::Receiver<coracle_task::Attached>, stdin: bool, tty: bool) -> Attached {
    let (ours, theirs) = tokio::io::duplex(INPUT_BUFFER);
    let waiting = async move {
        // Never started: the container was removed, or its start failed before it had streams.
        let Ok(attached) = started.await else {
            return None;
        };
        tokio::spawn(pump(theirs, attached.stdin));
        Some(attached.output)
    };
    let reader = stream::once(waiting);
    let flat = futures_util::StreamExt::flat_map(reader, |reader| match reader {
        Some(reader) => output(reader),
        None => Box::pin(stream::empty()),
    });
    Attached {
        output: Box::pin(flat),
        input: stdin.then(|| Box::pin(ours) as _),
        tty,
    }
}

fn output(reader: AttachReader) -> BoxStream<(StreamKind, Bytes)> {
    Box::pin(stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some((stream, bytes))) => Some((Ok((kind(stream), bytes)), Some(reader))),
            // A shim that is gone ends the stream: the exit status tells what happened.
            Ok(None) | Err(TaskError::Gone) => None,
            Err(error) => Some((
                Err(RuntimeError::Internal(format!(
                    "cannot read the output: {error}"
                ))),
                None,
            )),
        }
    }))
}

pub(crate) fn kind(stream: Stream) -> StreamKind {
    match stream {
        Stream::Stdout => StreamKind::Stdout,
        Stream::Stderr => StreamKind::Stderr,
    }
}

/// Carries input to the process until either side ends; the client's end is end of input.
async fn pump(mut from: DuplexStream, mut to: AttachWriter) {
    let mut buffer = vec![0; INPUT_BUFFER];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                if to.write(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
    let _ = to.close().await;
}
