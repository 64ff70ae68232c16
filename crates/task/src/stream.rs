//! Connections that became streams: attach and events.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use coracle_log::Stream;

use crate::Event;
use crate::Reply;
use crate::State;
use crate::TaskError;
use crate::client::unexpected;
use crate::frame::Data;
use crate::frame::FrameError;
use crate::frame::FrameReader;
use crate::frame::MAX_DATA;
use crate::frame::send_data;
use crate::socket::SharedStream;

/// The streams of a process. Dropping both halves detaches: the process runs on.
#[derive(Debug)]
pub struct Attached {
    /// Its input.
    pub stdin: AttachWriter,
    /// Its output.
    pub output: AttachReader,
}

impl Attached {
    pub(crate) fn new(mut conn: FrameReader<SharedStream>) -> Self {
        let stream = conn.get_mut().clone();
        Self {
            stdin: AttachWriter { stream },
            output: AttachReader { conn, ended: false },
        }
    }
}

/// Writes to the stdin of a process. Dropping it changes nothing as long as the other half is
/// there.
#[derive(Debug)]
pub struct AttachWriter {
    stream: SharedStream,
}

impl AttachWriter {
    /// Writes all of `data`. Waits while the process doesn't read. What is written when stdin
    /// isn't open, or wasn't asked for, is discarded.
    ///
    /// Not cancel safe: after dropping this future the writer is of no use, as part of a frame
    /// may have been sent.
    pub async fn write(&mut self, data: &[u8]) -> Result<(), TaskError> {
        for chunk in data.chunks(MAX_DATA) {
            let data = Data::Stdin(Bytes::copy_from_slice(chunk));
            send_data(&mut self.stream, &data).await?;
        }
        Ok(())
    }

    /// Says that the input ended. This closes the process' stdin if it is an exec's, or if
    /// the container has `stdin_once`, and not on a terminal.
    pub async fn close(&mut self) -> Result<(), TaskError> {
        Ok(send_data(&mut self.stream, &Data::CloseStdin).await?)
    }
}

/// Reads the output of a process. Dropping it makes the shim forget this client.
#[derive(Debug)]
pub struct AttachReader {
    conn: FrameReader<SharedStream>,
    ended: bool,
}

impl AttachReader {
    /// The next piece of output; `None` when the process ended and this was all. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<(Stream, Bytes)>, TaskError> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<(Stream, Bytes)>, TaskError>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let frame = ready!(self.conn.poll_frame(cx))?.ok_or(TaskError::Gone)?;
        Poll::Ready(match Data::decode(frame)? {
            Data::Stdout(data) => Ok(Some((Stream::Stdout, data))),
            Data::Stderr(data) => Ok(Some((Stream::Stderr, data))),
            Data::End => {
                self.ended = true;
                Ok(None)
            }
            Data::Stdin(_) | Data::CloseStdin => Err(FrameError::Data.into()),
        })
    }
}

impl Drop for AttachReader {
    fn drop(&mut self) {
        self.conn.get_mut().shutdown_read();
    }
}

impl futures_core::Stream for AttachReader {
    type Item = Result<(Stream, Bytes), TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let result = ready!(self.poll_data(cx));
        self.ended |= result.is_err();
        Poll::Ready(result.transpose())
    }
}

/// What happens to a container, from the subscription on, without a hole.
#[derive(Debug)]
pub struct Events {
    /// The state at the moment of the subscription.
    pub initial: State,
    conn: FrameReader<SharedStream>,
    ended: bool,
}

impl Events {
    pub(crate) fn new(conn: FrameReader<SharedStream>, initial: State) -> Self {
        Self {
            initial,
            conn,
            ended: false,
        }
    }

    /// The next event. [`TaskError::Gone`] once the shim ended. Cancel safe.
    pub async fn next(&mut self) -> Result<Event, TaskError> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, TaskError>> {
        if self.ended {
            return Poll::Ready(Err(TaskError::Gone));
        }
        let frame = ready!(self.conn.poll_frame(cx))?.ok_or(TaskError::Gone)?;
        match serde_json::from_slice(&frame).map_err(FrameError::Json)? {
            Reply::Event(event) => Poll::Ready(Ok(event)),
            Reply::Error { kind, message } => Poll::Ready(Err(TaskError::Shim { kind, message })),
            reply => Poll::Ready(Err(unexpected(&reply))),
        }
    }
}

impl futures_core::Stream for Events {
    type Item = Result<Event, TaskError>;

    /// Ends after the first error, [`TaskError::Gone`] included.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let result = ready!(self.poll_event(cx));
        self.ended |= result.is_err();
        Poll::Ready(Some(result))
    }
}
