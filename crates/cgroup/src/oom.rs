//! Out of memory: counts and events.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::event::EventfdFlags;
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::Cgroup;
use crate::Error;
use crate::cgroup::Place;
use crate::files;
use crate::parse;

/// What an [`OomWatcher`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Oom {
    /// Processes that the OOM killer has killed in this cgroup so far.
    pub kills: u64,
    /// Whether that is more than at the last look.
    pub new: bool,
    /// Whether the cgroup is gone: there will be no further event.
    pub removed: bool,
}

/// A descriptor that becomes readable when a process may have been killed for want of memory.
///
/// Wait for it to be readable ([`AsFd`], so it goes into poll(2) or an event loop), then call
/// [`OomWatcher::read`].
#[derive(Debug)]
pub struct OomWatcher {
    fd: OwnedFd,
    dir: PathBuf,
    file: &'static str,
    last: u64,
    /// v1: the eventfd belongs to this open file.
    _control: Option<File>,
}

impl Cgroup {
    /// Watches for processes that are killed for want of memory; none without a memory controller.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn oom_events(&self) -> Result<Option<OomWatcher>, Error> {
        let watcher = match self.place("memory") {
            Some(Place::V1(dir)) => watch_v1(dir),
            Some(Place::V2(dir)) => watch_v2(dir),
            None => return Ok(None),
        };
        let mut watcher = watcher?;
        watcher.last = count(&watcher.dir, watcher.file)?.unwrap_or(0);
        Ok(Some(watcher))
    }

    /// How many processes the OOM killer has killed; 0 without a memory controller.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn oom_kill_count(&self) -> Result<u64, Error> {
        let count = match self.place("memory") {
            Some(Place::V1(dir)) => count(dir, V1_FILE)?,
            Some(Place::V2(dir)) => count(dir, V2_FILE)?,
            None => None,
        };
        Ok(count.unwrap_or(0))
    }
}

const V1_FILE: &str = "memory.oom_control";
const V2_FILE: &str = "memory.events";

/// None if the cgroup is gone.
fn count(dir: &Path, file: &str) -> Result<Option<u64>, Error> {
    let text = files::read_optional(dir, file)?;
    Ok(text.map(|text| parse::value_of(&text, "oom_kill").unwrap_or(0)))
}

fn watch_v1(dir: &Path) -> Result<OomWatcher, Error> {
    let failed = |error: io::Error| Error::io("watching", dir.join(V1_FILE), error);
    let control = File::open(dir.join(V1_FILE)).map_err(failed)?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let fd = rustix::event::eventfd(0, flags).map_err(|errno| failed(errno.into()))?;
    let line = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
    files::write(dir, "cgroup.event_control", &line).map_err(failed)?;
    Ok(OomWatcher {
        fd,
        dir: dir.to_path_buf(),
        file: V1_FILE,
        last: 0,
        _control: Some(control),
    })
}

fn watch_v2(dir: &Path) -> Result<OomWatcher, Error> {
    let failed = |errno: Errno| Error::io("watching", dir.join(V2_FILE), errno);
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let fd = inotify::init(flags).map_err(failed)?;
    let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::DELETE_SELF;
    inotify::add_watch(&fd, dir.join(V2_FILE), events).map_err(failed)?;
    Ok(OomWatcher {
        fd,
        dir: dir.to_path_buf(),
        file: V2_FILE,
        last: 0,
        _control: None,
    })
}

impl OomWatcher {
    /// Takes note of all events so far, without waiting, and looks at the count.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&mut self) -> Result<Oom, Error> {
        let mut bytes = [MaybeUninit::uninit(); 4096];
        loop {
            match rustix::io::read(&self.fd, &mut bytes) {
                // An eventfd gives all in one.
                Ok(_) if self._control.is_some() => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(Error::io("watching", self.dir.join(self.file), errno)),
            }
        }
        let now = count(&self.dir, self.file)?;
        let kills = now.unwrap_or(self.last);
        let new = kills > self.last;
        self.last = kills;
        Ok(Oom {
            kills,
            new,
            removed: now.is_none(),
        })
    }
}

impl AsFd for OomWatcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for OomWatcher {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}
