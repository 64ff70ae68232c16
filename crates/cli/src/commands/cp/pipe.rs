//! Archives between the connection, which is asynchronous, and the file system, which is not.

use std::io::{PipeReader, PipeWriter, pipe};

use coracle_client::Upload;
use tokio::io::AsyncRead;
use tokio::task::JoinHandle;
use tokio_util::io::SyncIoBridge;

use crate::error::{Error, Result};

/// Bytes under way.
const BUFFER: usize = 256 * 1024;

/// Work on a thread for such.
pub(super) fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> JoinHandle<Result<T>> {
    tokio::task::spawn_blocking(work)
}

/// What such work gave.
pub(super) async fn join<T>(work: JoinHandle<Result<T>>) -> Result<T> {
    match work.await {
        Ok(result) => result,
        Err(error) => Err(Error::usage(format!("copying broke off: {error}"))),
    }
}

/// What a thread writes is sent. The upload breaks off where the work fails.
pub(super) fn upload<F>(write: F) -> (Upload, JoinHandle<Result<()>>)
where
    F: FnOnce(&mut SyncIoBridge<tokio::io::WriteHalf<tokio::io::SimplexStream>>) -> Result<()>
        + Send
        + 'static,
{
    let (reader, writer) = tokio::io::simplex(BUFFER);
    let work = spawn(move || {
        let mut bridge = SyncIoBridge::new(writer);
        let written = write(&mut bridge);
        // Ends the stream: what is cut off is no archive, so the daemon notices.
        let ended = bridge.shutdown();
        written?;
        ended.map_err(|error| Error::io("sending the archive", error))
    });
    (Upload::new(reader), work)
}

/// What is received, as a thread reads it.
pub(super) fn reader<R: AsyncRead + Unpin>(source: R) -> SyncIoBridge<R> {
    SyncIoBridge::new(source)
}

/// A pipe between two threads.
pub(super) fn between() -> Result<(PipeReader, PipeWriter)> {
    pipe().map_err(|error| Error::io("a pipe", error))
}
