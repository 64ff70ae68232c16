//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

/// The crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a machine could not be started, changed or copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request contradicts itself or its machine.
    #[error("{0}")]
    Invalid(String),
    /// This VMM, or this machine, can't do it.
    #[error("{0}")]
    Unsupported(String),
    /// There is no VMM program.
    #[error(
        "{0} is not installed, or not on PATH; install QEMU (on Debian: qemu-system-x86 or qemu-system-arm)"
    )]
    NotInstalled(String),
    /// The template can't be used: boot the machine instead and make the template anew.
    #[error("template {}: {why}", dir.display())]
    Template {
        /// The template's directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The process could not be set up and started.
    #[error("starting the machine's process: {0}")]
    Start(String),
    /// The machine ended before it was running. Holds the VMM's last words.
    #[error("the machine ended: {0}")]
    Ended(String),
    /// The VMM refused a command.
    #[error("{command}: {message}")]
    Refused {
        /// Which command.
        command: String,
        /// The VMM's reason.
        message: String,
    },
    /// The VMM or the guest did not answer in time.
    #[error("{0} took too long")]
    Timeout(String),
    /// The VMM said what it must not say; the machine can't be trusted any more.
    #[error("the VMM's control channel: {0}")]
    Protocol(String),
    /// No such disk or network card.
    #[error("the machine has no {0}")]
    NotFound(String),
    /// A disk's server can't be reached, or doesn't have the disk.
    #[error("the disk's server: {0}")]
    Server(String),
    /// A file or a system call.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system answered.
        source: io::Error,
    },
}

impl Error {
    /// An error of the system's while doing `what`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    /// As [`Error::io`], of an [`rustix::io::Errno`].
    pub(crate) fn os(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Error {
        let what = what.into();
        move |errno| Error::Io {
            what,
            source: errno.into(),
        }
    }

    pub(crate) fn template(dir: &Path, why: impl Into<String>) -> Error {
        Error::Template {
            dir: dir.into(),
            why: why.into(),
        }
    }
}
