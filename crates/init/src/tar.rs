//! Archives over channels: blocking work at one end, the event loop at the other.

use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_guest::{Channel, Failure};
use tokio_util::io::SyncIoBridge;

use crate::error::{Result, blocking};

/// How much is written at once.
const STEP: usize = 32 << 10;

/// Writes to a channel on another thread. The other side sees a failure as its reader's error.
pub(crate) fn send(
    channel: Channel,
    write: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
) {
    let writer = channel.into_split().1;
    let bridge = SyncIoBridge::new(writer);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(STEP, bridge);
        let written = write(&mut out);
        let written = written.and_then(|()| {
            out.flush()
                .map_err(|error| Failure::internal(error.to_string()))
        });
        let (bridge, _unsent) = out.into_parts();
        let writer = bridge.into_inner();
        match written {
            // Dropping it is its end.
            Ok(()) => drop(writer),
            Err(failure) => writer.fail(&failure.message),
        }
    });
}

/// Reads a channel on another thread, until `read` is done, or the future is dropped: then `read`
/// finds that its input failed.
pub(crate) async fn receive<T: Send + 'static>(
    channel: Channel,
    read: impl FnOnce(&mut dyn Read) -> Result<T> + Send + 'static,
) -> Result<T> {
    let given_up = Arc::new(AtomicBool::new(false));
    let _giving_up = GivingUp(given_up.clone());
    let bridge = SyncIoBridge::new(channel.into_split().0);
    blocking(move || read(&mut Checked { bridge, given_up })).await
}

/// Notes when it is dropped.
struct GivingUp(Arc<AtomicBool>);

impl Drop for GivingUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Checked<R> {
    bridge: R,
    given_up: Arc<AtomicBool>,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.bridge.read(buf);
        match self.given_up.load(Ordering::Relaxed) {
            true => Err(io::Error::other("it was given up")),
            false => read,
        }
    }
}
