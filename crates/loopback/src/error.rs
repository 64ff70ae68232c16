//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate's.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no loop devices, or they can't be reached from here.
    #[error(
        "no loop device can be had ({path}: {source}): load the kernel's module \"loop\" (modprobe loop), \
         or give the daemon /dev/loop-control and /dev/loop*",
        path = path.display()
    )]
    NoLoop {
        /// What was not there.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others took each device that was free.
    #[error("no loop device is free: others took each of them first")]
    Busy,
    /// Something else is mounted there.
    #[error("something else is mounted at {}", .0.display())]
    Taken(PathBuf),
    /// A system call failed.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Says of an error what it was about.
pub(crate) fn failed<E: Into<io::Error>>(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> Error {
    move |error| Error::Io {
        what,
        path: path.to_owned(),
        source: error.into(),
    }
}
