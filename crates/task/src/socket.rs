//! The unix socket below: binding and connecting by paths of any length, and a stream whose
//! two directions are used by different tasks.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use rustix::fd::AsRawFd;
use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::UnixStream;

/// The longest path that a socket address holds (`sun_path` of unix(7), without the final 0).
const MAX_PATH: usize = 107;

/// Creates the socket that a shim is to listen on. The path must not exist.
pub fn listen(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let (short, _parent) = shorten(path)?;
    std::os::unix::net::UnixListener::bind(short)
}

pub(crate) async fn connect(path: &Path) -> io::Result<SharedStream> {
    connect_stream(path).await.map(SharedStream::new)
}

/// Connects to a socket, whatever the length of its path.
pub async fn connect_stream(path: &Path) -> io::Result<UnixStream> {
    let (short, _parent) = shorten(path)?;
    UnixStream::connect(short).await
}

/// A path to the same file that fits into a socket address. It is good as long as the
/// descriptor is open.
fn shorten(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().as_bytes().len() <= MAX_PATH {
        return Ok((path.to_owned(), None));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent, flags, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name);
    Ok((short, Some(parent)))
}

/// A connection of which one task may read while another writes. It is closed with the last
/// clone. No two tasks may read, nor write, at the same time.
#[derive(Clone, Debug)]
pub struct SharedStream(Arc<UnixStream>);

impl SharedStream {
    /// Wraps a connection.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self(Arc::new(stream))
    }

    /// The connection itself.
    #[must_use]
    pub fn get_ref(&self) -> &UnixStream {
        &self.0
    }

    /// Says that nobody will read any more: the peer's writes fail from now on.
    pub fn shutdown_read(&self) {
        // The only failure is that the peer has closed already.
        let _ = rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Read);
        // A peer that waits for room in the buffer only learns of it when there is some.
        let mut rest = [0u8; 8 << 10];
        while rustix::io::read(&*self.0, &mut rest).is_ok_and(|n| n > 0) {}
    }
}

impl AsyncRead for SharedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(rustix::net::shutdown(
            &*self.0,
            rustix::net::Shutdown::Write,
        )?))
    }
}
