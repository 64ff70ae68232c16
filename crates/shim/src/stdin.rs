//! The input of a process, which clients write to in turn.

use std::io;

use coracle_sandbox::Input;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::sync::watch;

/// A process' stdin, from before its start.
pub(crate) struct Stdin {
    input: Mutex<Option<Input>>,
    begun: watch::Sender<bool>,
}

impl Stdin {
    /// An input that isn't there yet: writers wait.
    pub(crate) fn new() -> Self {
        Self {
            input: Mutex::new(None),
            begun: watch::Sender::new(false),
        }
    }

    /// The process was started, with this as its input, or it failed to start.
    pub(crate) async fn begin(&self, input: Option<Input>) {
        let mut place = self.input.lock().await;
        // It may have been closed in advance.
        if !self.begun.send_replace(true) {
            *place = input;
        }
    }

    /// Writes some of `data`, and returns how much. All of it is discarded when there is no
    /// input. Cancel safe.
    pub(crate) async fn write(&self, data: &[u8]) -> usize {
        // The sender is ours, so this can't fail.
        let _ = self.begun.subscribe().wait_for(|begun| *begun).await;
        let mut place = self.input.lock().await;
        let Some(input) = place.as_mut() else {
            return data.len();
        };
        match input.write(data).await {
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
        self.begun.send_replace(true);
        *place = None;
    }
}
