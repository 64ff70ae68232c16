//! The input of a process, which clients write to in turn.

use std::io;

use coracle_sandbox::Input;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::sync::watch;

/// A process' stdin, from before its start.
pub(crate) struct Stdin {
    input: Mutex<Option<Input>>,
    stage: watch::Sender<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Not started: writers wait.
    Early,
    /// Open, unless it was closed or never was.
    Begun,
    /// The process ended: writers don't wait any more.
    Over,
}

impl Stdin {
    /// An input that isn't there yet.
    pub(crate) fn new() -> Self {
        Self {
            input: Mutex::new(None),
            stage: watch::Sender::new(Stage::Early),
        }
    }

    /// The process was started, with this as its input.
    pub(crate) async fn begin(&self, input: Option<Input>) {
        let mut place = self.input.lock().await;
        // It may have been closed in advance.
        if self.advance(Stage::Begun) {
            *place = input;
        }
    }

    /// The process ended, or it failed to start.
    pub(crate) fn end(&self) {
        self.advance(Stage::Over);
        // If it is locked, by a writer, that one takes notice.
        if let Ok(mut place) = self.input.try_lock() {
            *place = None;
        }
    }

    /// Writes some of `data`, and returns how much. All of it is discarded when there is no
    /// input. Cancel safe.
    pub(crate) async fn write(&self, data: &[u8]) -> usize {
        let mut stage = self.stage.subscribe();
        // The sender is ours, so these waits can't fail.
        let _ = stage.wait_for(|stage| *stage > Stage::Early).await;
        let mut place = self.input.lock().await;
        let Some(input) = place.as_mut() else {
            return data.len();
        };
        let written = tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage == Stage::Over) => Ok(0),
            written = input.write(data) => written,
        };
        match written {
            Ok(n) if n > 0 => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            // Nobody reads any more.
            _ => {
                *place = None;
                data.len()
            }
        }
    }

    /// Closes it, after a write that is under way. Also in advance.
    pub(crate) async fn close(&self) {
        let mut place = self.input.lock().await;
        self.advance(Stage::Begun);
        *place = None;
    }

    /// Goes on to a later stage; whether this is the one to do so.
    fn advance(&self, to: Stage) -> bool {
        self.stage.send_if_modified(|stage| {
            let later = to > *stage;
            if later {
                *stage = to;
            }
            later
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn writers_wait_for_the_start_and_not_beyond_the_end() {
        run(async {
            let stdin = Stdin::new();
            let (ours, mut theirs) = tokio::io::duplex(4);
            let early = tokio::time::timeout(Duration::from_millis(5), stdin.write(b"a")).await;
            assert!(early.is_err());
            stdin.begin(Some(Box::new(ours))).await;
            assert_eq!(stdin.write(b"abcdef").await, 4);
            let (written, ()) = tokio::join!(stdin.write(b"ef"), async { stdin.end() });
            assert_eq!(written, 2, "it is discarded, as nobody takes it");
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"abcd");
            assert_eq!(stdin.write(b"gh").await, 2);
        });
    }

    #[test]
    fn closed_in_advance() {
        run(async {
            let stdin = Stdin::new();
            stdin.close().await;
            let (ours, mut theirs) = tokio::io::duplex(4);
            stdin.begin(Some(Box::new(ours))).await;
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            assert!(all.is_empty());
        });
    }
}
