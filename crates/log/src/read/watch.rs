//! Learns of changes to a log from the kernel (inotify(7)).

use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches the directory of a log file.
#[derive(Debug)]
pub struct Watch {
    fd: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Begins to watch the directory of this file.
    ///
    /// # Errors
    /// If there is no such directory, or the kernel's limit on watches is reached.
    pub fn new(path: &Path) -> io::Result<Self> {
        use inotify::CreateFlags;
        use inotify::WatchFlags;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&fd, directory, what | WatchFlags::ONLYDIR)?;
        let fd = coracle_descriptor::watch(fd, Interest::READABLE)?;
        Ok(Self { fd })
    }

    /// Waits until something changed since the last call. Cancel safe.
    ///
    /// # Errors
    /// Those of the kernel, which come with the end of everything.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut guard = self.fd.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(guard.get_inner(), &mut buffer);
        loop {
            match reader.next() {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        guard.clear_ready();
        Ok(())
    }
}
