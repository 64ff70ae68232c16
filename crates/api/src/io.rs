//! A connection's byte stream that can be watched for its client's end while a request is answered.
//!
//! hyper either takes a client's half-close for its departure or never looks. Neither will do: `nc`
//! half-closes and waits for its answer, and a client that left a stream must free it. So the
//! connection's task reads ahead a little, into a buffer that hyper reads first.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes read ahead.
const READ_AHEAD: usize = 16 * 1024;

/// A handle on the stream. hyper holds one, the connection's task another; both live in one task, so
/// the lock is never waited for.
pub(crate) struct Watched<S> {
    shared: Arc<Mutex<Shared<S>>>,
}

struct Shared<S> {
    stream: S,
    ahead: BytesMut,
    ended: bool,
}

impl<S> Clone for Watched<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S) -> Self {
        let shared = Shared {
            stream,
            ahead: BytesMut::new(),
            ended: false,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        // A panic in a stream's poll leaves nothing half done here.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts bytes back that were read but not used.
    pub(crate) fn unread(&self, bytes: &Bytes) {
        let mut shared = self.lock();
        let mut joined = BytesMut::with_capacity(bytes.len() + shared.ahead.len());
        joined.extend_from_slice(bytes);
        joined.extend_from_slice(&shared.ahead);
        shared.ahead = joined;
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Ready when the client has closed its direction. Wakes the task when bytes were read ahead, for
    /// hyper may be waiting for them.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &mut *self.lock();
        while !shared.ended && shared.ahead.len() < READ_AHEAD {
            let mut chunk = [std::mem::MaybeUninit::uninit(); 4096];
            let mut buffer = ReadBuf::uninit(&mut chunk);
            match Pin::new(&mut shared.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    shared.ahead.extend_from_slice(buffer.filled());
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(_) => shared.ended = true,
            }
        }
        if shared.ended {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shared = &mut *self.lock();
        if !shared.ahead.is_empty() {
            let length = shared.ahead.len().min(buffer.remaining());
            buffer.put_slice(shared.ahead.get(..length).unwrap_or_default());
            shared.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        if shared.ended {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut shared.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_read_ahead_are_not_lost() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut watched = Watched::new(server);
        client.write_all(b"hello").await.unwrap();
        let pending = poll_fn(|cx| Poll::Ready(watched.poll_ended(cx).is_pending())).await;
        assert!(pending);
        client.write_all(b" world").await.unwrap();
        drop(client);
        poll_fn(|cx| watched.poll_ended(cx)).await;
        watched.unread(&Bytes::from_static(b"> "));
        let mut text = String::new();
        watched.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "> hello world");
    }

    #[tokio::test]
    async fn reading_ahead_is_bounded() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let watched = Watched::new(server);
        client.write_all(&vec![0; 1 << 18]).await.unwrap();
        let pending = poll_fn(|cx| Poll::Ready(watched.poll_ended(cx).is_pending())).await;
        assert!(pending);
        assert!(watched.lock().ahead.len() <= READ_AHEAD);
    }
}
