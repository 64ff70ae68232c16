//! Sends and receives: the one task that has the stream.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::frame::{Frame, Kind, Violation, put_frame, take_frame};
use crate::mux::Mux;

/// How much is read at once, and about how much is written.
const STEP: usize = 32 << 10;

/// A request, reply or event to be sent.
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

/// What is done with frames that are no channel's.
pub(crate) trait Control {
    /// One came.
    fn control(&mut self, frame: Frame) -> Result<(), Violation>;
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum End {
    /// The stream ended.
    Eof,
    /// It failed.
    Io(io::Error),
    /// The other side did what it may not.
    Violation(Violation),
}

impl End {
    pub(crate) fn to_error(&self) -> Error {
        match self {
            Self::Eof => Error::gone(&io::ErrorKind::UnexpectedEof.into()),
            Self::Io(error) => Error::gone(error),
            Self::Violation(violation) => Error::protocol(violation),
        }
    }
}

pub(crate) struct Link<S, C> {
    stream: S,
    pub(crate) control: C,
    mux: Mux,
    messages: mpsc::Receiver<Message>,
    /// What was received and isn't understood yet.
    pub(crate) incoming: BytesMut,
    /// What is being sent.
    pub(crate) outgoing: BytesMut,
    needs_flush: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: Control> Link<S, C> {
    pub(crate) fn new(
        stream: S,
        received: BytesMut,
        mux: Mux,
        messages: mpsc::Receiver<Message>,
        control: C,
    ) -> Self {
        Self {
            stream,
            control,
            mux,
            messages,
            incoming: received,
            outgoing: BytesMut::new(),
            needs_flush: false,
        }
    }

    /// Serves until the connection ends, and says why.
    pub(crate) async fn run(&mut self) -> End {
        let end = match self.take_frames() {
            Ok(()) => poll_fn(|cx| self.poll(cx)).await,
            Err(violation) => End::Violation(violation),
        };
        self.mux.close(&end.to_error());
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // Where reading and writing can both go on for ever, others on this thread get their turn.
        for _ in 0..16 {
            let read = match self.poll_receive(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending => false,
            };
            match self.poll_send(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) | Poll::Pending if !read => return Poll::Pending,
                Poll::Ready(Ok(false)) | Poll::Pending => {}
                Poll::Ready(Err(error)) => return Poll::Ready(End::Io(error)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        // Memory is only taken for what really arrives. Nothing is lost with the future.
        self.incoming.reserve(STEP);
        let mut read = pin!(self.stream.read_buf(&mut self.incoming));
        match ready!(read.as_mut().poll(cx)) {
            Ok(0) => Poll::Ready(Err(End::Eof)),
            Ok(_) => Poll::Ready(self.take_frames().map_err(End::Violation)),
            Err(error) => Poll::Ready(Err(End::Io(error))),
        }
    }

    fn take_frames(&mut self) -> Result<(), Violation> {
        while let Some(frame) = take_frame(&mut self.incoming)? {
            match frame.kind {
                Kind::Open | Kind::Data | Kind::Credit | Kind::End | Kind::Stop | Kind::Reset => {
                    self.mux.receive(&frame)?
                }
                _ => self.control.control(frame)?,
            }
        }
        Ok(())
    }

    /// Whether something was sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut sent = false;
        loop {
            if self.outgoing.is_empty() {
                self.mux.lock().driver = Some(cx.waker().clone());
                self.mux.fill(&mut self.outgoing, STEP);
                while self.outgoing.len() < 2 * STEP
                    && let Poll::Ready(Some(message)) = self.messages.poll_recv(cx)
                {
                    // A request comes after what opens its channels.
                    self.mux.lock().put_opens(&mut self.outgoing);
                    put_frame(
                        &mut self.outgoing,
                        message.kind,
                        message.id,
                        &message.payload,
                    );
                }
            }
            if self.outgoing.is_empty() {
                if self.needs_flush {
                    ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                    self.needs_flush = false;
                }
                return Poll::Ready(Ok(sent));
            }
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.outgoing.advance(written),
            }
            self.needs_flush = true;
            sent = true;
            if self.outgoing.is_empty() {
                return Poll::Ready(Ok(true));
            }
        }
    }
}
