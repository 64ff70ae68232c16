//! Bytes between processes and channels.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How much is carried at once.
const STEP: usize = 16 << 10;

/// Carries everything. When the reader fails, or the writer, both are dropped: that is what the ends
/// of a pipe tell each other. What a process writes when nobody wants it is read nevertheless.
pub(crate) async fn output(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut is_wanted = true;
    let mut buffer = vec![0; STEP];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default();
        if is_wanted && to.write_all(bytes).await.is_err() {
            is_wanted = false;
        }
    }
    let _nobody_listens = to.shutdown().await;
}

/// Carries everything, until either fails.
pub(crate) async fn input(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut buffer = vec![0; STEP];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default();
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
