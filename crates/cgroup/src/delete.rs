//! Removing a cgroup and all that was made inside it.

use std::ffi::CString;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::fd::AsFd;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::io::Errno;

use crate::Cgroup;
use crate::Error;
use crate::walk;

/// How long a directory may stay busy: the kernel takes a moment after the last process is gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long removing a tree may take, however large.
const MOST: Duration = Duration::from_secs(60);

impl Cgroup {
    /// Removes its directories and the cgroups below them. What is gone already is fine, so it can
    /// be repeated.
    ///
    /// # Errors
    /// [`Error::InUse`] if there are processes left after some seconds, [`Error::Io`].
    pub fn delete(&self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        // All are tried, so that one that is stuck holds back none of the others.
        let mut result = Ok(());
        for dir in self.dirs() {
            if let Err(errno) = remove_tree(dir, deadline) {
                result = Err(match (errno, walk::pids(dir)) {
                    (Errno::BUSY, Ok(pids)) => Error::InUse {
                        path: dir.to_path_buf(),
                        processes: pids.len(),
                    },
                    _ => Error::io("removing", dir, errno),
                });
            }
        }
        result
    }
}

/// Removes `path` and the directories below it.
pub(crate) fn remove_tree(path: &Path, deadline: Instant) -> Result<(), Errno> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY) => {}
        Err(errno) => return Err(errno),
    }
    let mut dir = match walk::open_dir(CWD, path) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let mut above: Vec<CString> = Vec::new();
    let started = Instant::now();
    loop {
        // Whoever makes new ones faster than this is running, so it is in use.
        if started.elapsed() > MOST {
            return Err(Errno::BUSY);
        }
        let child = walk::children(&dir)?.pop();
        match (child, above.pop()) {
            (Some(child), name) => {
                above.extend(name);
                match rustix::fs::unlinkat(&dir, &child, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::BUSY) => {
                        dir = walk::open_dir(&dir, &child)?;
                        above.push(child);
                    }
                    Err(errno) => return Err(errno),
                }
            }
            (None, Some(name)) => {
                dir = walk::open_dir(&dir, "..")?;
                remove(&dir, &name, deadline)?;
            }
            (None, None) => return remove(CWD, path, deadline),
        }
    }
}

/// Removes one directory, as soon as it isn't busy any more. Neither version gives an event for
/// that.
fn remove(
    at: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    deadline: Instant,
) -> Result<(), Errno> {
    let mut pause = Duration::from_micros(200);
    loop {
        match rustix::fs::unlinkat(&at, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < deadline => thread::sleep(pause),
            Err(errno) => return Err(errno),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
