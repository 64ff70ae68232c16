//! What a process reads: a pipe that several clients write to.

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

/// Bytes that wait for the process before a writer has to.
const ROOM: usize = 64 << 10;

/// A process' standard input.
#[derive(Debug)]
pub(crate) struct Input {
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BytesMut,
    closed: bool,
    /// Ends of input that a terminal's user typed: the reader sees each once.
    ends: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(State::default()),
        }
    }
}

impl Input {
    /// An input that is at its end.
    pub(crate) fn closed() -> Self {
        let input = Self::default();
        input.close();
        input
    }

    /// Gives bytes to the process, waiting for room; `false` where it is closed.
    pub(crate) async fn write(&self, bytes: &[u8]) -> bool {
        let mut state = self.state.subscribe();
        // The sender is ours, so this can't fail.
        let _ = state
            .wait_for(|state| state.closed || state.waiting.len() < ROOM)
            .await;
        let mut open = false;
        self.state.send_modify(|state| {
            open = !state.closed;
            if open {
                state.waiting.extend_from_slice(bytes);
            }
        });
        open
    }

    /// Closes it for good, after what was written.
    pub(crate) fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// One end of input, after which more may come (a terminal's `^D`).
    pub(crate) fn end_once(&self) {
        self.state.send_modify(|state| state.ends += 1);
    }

    /// The next bytes, at most `most`; `None` at the end.
    pub(crate) async fn read(&self, most: usize) -> Option<Bytes> {
        let mut changed = self.state.subscribe();
        loop {
            let mut got = None;
            self.state.send_if_modified(|state| {
                if !state.waiting.is_empty() {
                    let length = state.waiting.len().min(most);
                    got = Some(Some(state.waiting.split_to(length).freeze()));
                } else if state.ends > 0 {
                    state.ends -= 1;
                    got = Some(None);
                } else if state.closed {
                    got = Some(None);
                    return false;
                }
                got.is_some()
            });
            match got {
                Some(read) => return read,
                // Ours again: it can't be gone.
                None => drop(changed.changed().await),
            }
        }
    }

    /// The next line, with its end where it has one; `None` at the end.
    pub(crate) async fn line(&self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            match self.read(1).await {
                None if line.is_empty() => return None,
                None => return Some(line),
                Some(byte) => {
                    line.extend_from_slice(&byte);
                    if line.ends_with(b"\n") {
                        return Some(line);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_up_to_the_end() {
        let input = Input::default();
        assert!(input.write(b"one\ntwo").await);
        assert_eq!(input.line().await.unwrap(), b"one\n");
        input.end_once();
        assert_eq!(input.line().await.unwrap(), b"two");
        input.write(b"3").await;
        input.close();
        assert!(!input.write(b"lost").await);
        assert_eq!(input.read(9).await.unwrap(), "3");
        assert!(input.read(9).await.is_none());
        assert!(input.read(9).await.is_none());
    }
}
