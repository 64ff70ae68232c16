//! The standard streams of a process on this host: pipes, or a pseudo terminal.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use coracle_descriptor as descriptor;
use coracle_launcher::Stdio;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::termios::Winsize;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::Interest;
use tokio::io::ReadBuf;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use crate::Input;
use crate::Output;
use crate::Streams;

/// Our ends of a process' pipes.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) stdin: Option<Input>,
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Option<Output>,
}

/// Makes the pipes that are asked for: its ends, and ours.
pub(crate) fn pipes(streams: Streams) -> io::Result<(Stdio, Ends)> {
    let mut theirs = Stdio::default();
    let mut ours = Ends::default();
    if streams.stdin {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        theirs.stdin = Some(read);
        ours.stdin = Some(Box::new(pipe::Sender::from_owned_fd(write)?));
    }
    if streams.output {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        theirs.stdout = Some(write);
        ours.stdout = Some(Box::new(pipe::Receiver::from_owned_fd(read)?));
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        theirs.stderr = Some(write);
        ours.stderr = Some(Box::new(pipe::Receiver::from_owned_fd(read)?));
    }
    Ok((theirs, ours))
}

/// The master side of a pseudo terminal.
#[derive(Clone)]
pub(crate) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    pub(crate) fn new(master: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | rustix::fs::OFlags::NONBLOCK)?;
        let master = descriptor::watch(master, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self(Arc::new(master)))
    }

    pub(crate) fn resize(&self, rows: u16, cols: u16) -> io::Result<()> {
        let size = Winsize {
            ws_row: rows,
            ws_col: cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), size)?)
    }

    /// Its streams.
    pub(crate) fn ends(&self) -> Ends {
        Ends {
            stdin: Some(Box::new(self.clone())),
            stdout: Some(Box::new(self.clone())),
            stderr: None,
        }
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(descriptor::poll_read(&self.0, cx, buf)) {
            // Nobody has the other side open: this is its end.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        descriptor::poll_write(&self.0, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
