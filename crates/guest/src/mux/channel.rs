//! One byte stream within the connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Mux;

/// A byte stream to the other side, with a window of [`WINDOW`](super::WINDOW) bytes each way.
///
/// Writing ends with `shutdown` or by dropping; what was written before still arrives. Dropping it
/// before the other side has sent all stops that side. The side that does not send on a channel can
/// only read its end, or write errors.
#[derive(Debug)]
pub struct Channel(Handle);

/// A channel's incoming half. Dropping it stops the other side's writing.
#[derive(Debug)]
pub struct ChannelReader(Arc<Handle>);

/// A channel's outgoing half. Dropping it ends the stream.
#[derive(Debug)]
pub struct ChannelWriter(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    mux: Mux,
    id: u32,
}

impl Channel {
    pub(crate) fn new(mux: Mux, id: u32) -> Self {
        Self(Handle { mux, id })
    }

    /// Its id, as requests name it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// Gives it up, both ways: the other side's reader gets `why` as its error, at most
    /// [`MAX_REASON`](crate::MAX_REASON) bytes of it.
    pub fn fail(self, why: &str) {
        self.0.fail(why);
    }

    /// Both halves, each by itself.
    #[must_use]
    pub fn into_split(self) -> (ChannelReader, ChannelWriter) {
        let handle = Arc::new(self.0);
        (ChannelReader(handle.clone()), ChannelWriter(handle))
    }
}

impl ChannelWriter {
    /// As [`Channel::fail`].
    pub fn fail(self, why: &str) {
        self.0.fail(why);
    }
}

impl Handle {
    fn fail(&self, why: &str) {
        let mut state = self.mux.lock();
        if let Some(entry) = state.get(self.id) {
            entry.fail(why);
            state.touch(self.id);
        }
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.mux.lock();
        let Some(entry) = state.get(self.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let incoming = &mut entry.incoming;
        if !incoming.inbox.is_empty() {
            let length = incoming.inbox.len().min(buf.remaining());
            buf.put_slice(incoming.inbox.get(..length).unwrap_or_default());
            incoming.inbox.advance(length);
            if incoming.inbox.is_empty() && incoming.inbox.capacity() > super::WINDOW / 4 {
                incoming.inbox = Default::default();
            }
            entry.consume(length);
            state.touch(self.id);
            return Poll::Ready(Ok(()));
        }
        if let Some(why) = &entry.reset {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                why.to_string(),
            )));
        }
        if entry.is_at_end() {
            return Poll::Ready(Ok(()));
        }
        entry.incoming.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.mux.lock();
        let Some(entry) = state.get(self.id) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        match entry.room() {
            None => Poll::Ready(Err(match &entry.reset {
                Some(why) => io::Error::new(io::ErrorKind::ConnectionReset, why.to_string()),
                None => io::ErrorKind::BrokenPipe.into(),
            })),
            Some(0) if !data.is_empty() => {
                entry.outgoing.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(room) => {
                let length = data.len().min(room);
                entry.write(data.get(..length).unwrap_or_default());
                state.touch(self.id);
                Poll::Ready(Ok(length))
            }
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.mux.lock();
        match state.get(self.id) {
            Some(entry) if !entry.is_flushed() => {
                entry.outgoing.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn end_writing(&self) {
        let mut state = self.mux.lock();
        if let Some(entry) = state.get(self.id) {
            entry.end_writer();
            state.touch(self.id);
        }
    }

    fn end_reading(&self) {
        let mut state = self.mux.lock();
        if let Some(entry) = state.get(self.id) {
            entry.drop_reader();
            state.touch(self.id);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.mux.lock().release(self.id);
    }
}

impl Drop for ChannelReader {
    fn drop(&mut self) {
        self.0.end_reading();
    }
}

impl Drop for ChannelWriter {
    fn drop(&mut self) {
        self.0.end_writing();
    }
}

macro_rules! streams {
    ($type:ty) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.0.poll_read(cx, buf)
            }
        }
    };
    ($type:ty, write) => {
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                data: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_write(cx, data)
            }

            /// Waits until all is handed to the connection, which the other side's credit bounds.
            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_flush(cx)
            }

            /// Says that this was all; doesn't wait until it is sent.
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.end_writing();
                Poll::Ready(Ok(()))
            }
        }
    };
}

streams!(Channel);
streams!(Channel, write);
streams!(ChannelReader);
streams!(ChannelWriter, write);
