//! What a process writes: to its log, and to all that are attached.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coracle_runtime::io::StreamKind;
use tokio::sync::mpsc;

use super::log::Log;

/// Pieces that wait for a client before the process has to.
const ROOM: usize = 64;

/// What an attached client gets.
pub(crate) type Receiver = mpsc::Receiver<(StreamKind, Bytes)>;

/// The output of one run of a process.
#[derive(Debug)]
pub(crate) struct Output {
    log: Option<Arc<Log>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clients: Vec<Client>,
    ended: bool,
}

#[derive(Clone, Debug)]
struct Client {
    stdout: bool,
    stderr: bool,
    sender: mpsc::Sender<(StreamKind, Bytes)>,
}

impl Output {
    pub(crate) fn new(log: Option<Arc<Log>>) -> Self {
        Self {
            log,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a client, which gets all output from now on. The second is what was logged before, where
    /// it is asked for: there is neither a gap nor an overlap between the two.
    pub(crate) fn attach(&self, stdout: bool, stderr: bool) -> (Receiver, usize) {
        let (sender, receiver) = mpsc::channel(ROOM);
        let mut state = self.lock();
        if !state.ended {
            state.clients.push(Client {
                stdout,
                stderr,
                sender,
            });
        }
        let logged = self.log.as_ref().map_or(0, |log| log.len());
        (receiver, logged)
    }

    /// Writes to all; waits for clients that are behind, and forgets those that are gone.
    pub(crate) async fn write(&self, stream: StreamKind, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let clients = {
            let state = self.lock();
            if let Some(log) = &self.log {
                log.write(stream, &bytes);
            }
            state.clients.clone()
        };
        let mut gone = false;
        for client in clients {
            let wanted = match stream {
                StreamKind::Stdout => client.stdout,
                StreamKind::Stderr => client.stderr,
            };
            if wanted {
                gone |= client.sender.send((stream, bytes.clone())).await.is_err();
            }
        }
        if gone {
            self.lock()
                .clients
                .retain(|client| !client.sender.is_closed());
        }
    }

    /// The process has ended: clients get what is on its way, and then the end.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.clients.clear();
        if let Some(log) = &self.log {
            log.flush();
        }
    }
}
