//! The virtio serial port to the host.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use coracle_descriptor as descriptor;
use rustix::fs::{Mode, OFlags};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::signal::unix::{SignalKind, signal};

use crate::sys;

/// What the host calls it.
const NAME: &str = "agent";

/// How long a device may take to be found.
const PATIENCE: Duration = Duration::from_secs(20);

/// The open port.
#[derive(Debug)]
pub(crate) struct Port(AsyncFd<OwnedFd>);

impl Port {
    /// Opens it, once it is there.
    pub(crate) async fn open() -> io::Result<Self> {
        let path = tokio::time::timeout(PATIENCE, async {
            loop {
                match find()? {
                    Some(path) => return Ok::<_, io::Error>(path),
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
        let path = path.await.map_err(|_| {
            let message = format!("there is no virtio serial port named {NAME}");
            io::Error::new(io::ErrorKind::NotFound, message)
        })??;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self(watch(fd)?))
    }

    /// Waits until a host is at the other end, after one has left. The port takes no notice of a host
    /// that comes but by a signal.
    pub(crate) async fn reconnect(self) -> io::Result<Self> {
        let mut changes = signal(SignalKind::io())?;
        let fd = self.0.into_inner();
        sys::set_signalled(fd.as_fd(), true)?;
        while has_left(&fd)? {
            // The timer is for kernels that lose the signal.
            let _either = tokio::time::timeout(Duration::from_millis(500), changes.recv()).await;
        }
        sys::set_signalled(fd.as_fd(), false)?;
        // What the event loop knows of a stream that ended stays: so it is taken out and put in.
        Ok(Self(watch(fd)?))
    }
}

fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    descriptor::watch(fd, Interest::READABLE | Interest::WRITABLE)
}

/// Whether no host is there (and nothing that one has left).
fn has_left(fd: &OwnedFd) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default()))?;
    Ok(polled
        .iter()
        .any(|fd| fd.revents().contains(PollFlags::HUP) && !fd.revents().contains(PollFlags::IN)))
}

/// The port of that name.
fn find() -> io::Result<Option<PathBuf>> {
    let ports = match fs::read_dir("/sys/class/virtio-ports") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        ports => ports?,
    };
    for port in ports {
        let port = port?;
        let name = fs::read_to_string(port.path().join("name")).unwrap_or_default();
        if name.trim_end() == NAME {
            return Ok(Some(PathBuf::from("/dev").join(port.file_name())));
        }
    }
    Ok(None)
}

impl AsyncRead for Port {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        descriptor::poll_read(&self.0, cx, buf)
    }
}

impl AsyncWrite for Port {
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
