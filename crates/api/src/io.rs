//! A connection's byte stream that can be watched for its client's end while a request is answered.
//!
//! hyper either takes a client's half-close for its departure or never looks. Neither will do: `nc`
//! half-closes and waits for its answer, and a client that left a stream must free it. So the
//! connection's task reads ahead a little, into a buffer that hyper reads first.
//!
//! It also mends the first request's target. Docker's users type `curl …/json?filters={"status":…}`,
//! Go reads it, and hyper refuses the quotes.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes after which nothing more is read ahead.
const READ_AHEAD: usize = 16 * 1024;
/// Bytes read at once.
const CHUNK: usize = 4096;

/// A handle on the stream. hyper holds one, the connection's task another; both live in one task, so
/// the lock is never waited for.
pub(crate) struct Watched<S> {
    shared: Arc<Mutex<Shared<S>>>,
}

struct Shared<S> {
    stream: S,
    ahead: BytesMut,
    ended: bool,
    /// The first line is not whole yet.
    beginning: bool,
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
            beginning: true,
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

impl<S: AsyncRead + Unpin> Shared<S> {
    /// Reads some bytes ahead, or finds the end.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut buffer = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.ahead.extend_from_slice(buffer.filled());
        self.ended |= buffer.filled().is_empty();
        Poll::Ready(Ok(()))
    }

    /// Reads until the first line is whole, and mends it.
    fn poll_beginning(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.beginning {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let rest = self.ahead.split_off(end);
                let mut mended = mend(&self.ahead);
                mended.unsplit(rest);
                self.ahead = mended;
                self.beginning = false;
            } else if self.ended || self.ahead.len() >= READ_AHEAD {
                self.beginning = false;
            } else {
                ready!(self.poll_ahead(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Escapes what hyper does not take in a request's target, and Go does.
fn mend(line: &[u8]) -> BytesMut {
    let mut mended = BytesMut::with_capacity(line.len());
    for byte in line {
        match byte {
            b'"' => mended.extend_from_slice(b"%22"),
            b'<' => mended.extend_from_slice(b"%3C"),
            b'>' => mended.extend_from_slice(b"%3E"),
            _ => mended.extend_from_slice(&[*byte]),
        }
    }
    mended
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Ready when the client has closed its direction. Wakes the task when bytes were read ahead, for
    /// hyper may be waiting for them.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &mut *self.lock();
        // Until the first line is there, hyper reads, and nobody waits for an answer.
        while !shared.beginning && !shared.ended && shared.ahead.len() < READ_AHEAD {
            match ready!(shared.poll_ahead(cx)) {
                Ok(()) => cx.waker().wake_by_ref(),
                Err(_) => shared.ended = true,
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
        ready!(shared.poll_beginning(cx))?;
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
        client.write_all(b"GET /\r\nhello").await.unwrap();
        let mut line = [0; 7];
        watched.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"GET /\r\n");
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
        let mut watched = Watched::new(server);
        client.write_all(&vec![0; 1 << 18]).await.unwrap();
        watched.read_exact(&mut [0]).await.unwrap();
        let pending = poll_fn(|cx| Poll::Ready(watched.poll_ended(cx).is_pending())).await;
        assert!(pending);
        assert!(watched.lock().ahead.len() < READ_AHEAD + CHUNK);
    }

    #[tokio::test]
    async fn quotes_in_the_first_line_are_escaped() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut watched = Watched::new(server);
        let task = tokio::spawn(async move {
            for part in [&b"GET /?f={\"a"[..], b"\":<1>} H", b"\r\n\"body\"\r\n"] {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut text = String::new();
        watched.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "GET /?f={%22a%22:%3C1%3E} H\r\n\"body\"\r\n");
        task.await.unwrap();
    }
}
