//! What can go wrong with a cgroup.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an operation on a cgroup failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no cgroup file system mounted.
    #[error("no cgroup file system is mounted: mount cgroup2 at /sys/fs/cgroup")]
    NotMounted,
    /// A parent or name that isn't a plain path.
    #[error("{0:?} is not a valid cgroup path")]
    BadPath(String),
    /// There are processes where a new cgroup should be made, or one should be removed.
    #[error("cgroup {} is in use by {processes} processes", path.display())]
    InUse {
        /// Its directory.
        path: PathBuf,
        /// How many processes are in it.
        processes: usize,
    },
    /// A limit whose controller (or file) this host doesn't have.
    #[error("{limit} can't be set: the {controller} cgroup controller is not available here")]
    Unavailable {
        /// The limit, by its name in the OCI runtime specification.
        limit: String,
        /// The missing controller.
        controller: &'static str,
    },
    /// The kernel doesn't account swap. dockerd warns and drops the limit.
    #[error(
        "memory.swap can't be set: Your kernel does not support swap limit capabilities or the \
         cgroup is not mounted"
    )]
    NoSwapLimit,
    /// A limit that is refused, whatever the host.
    #[error("{limit} is not supported: {reason}")]
    Unsupported {
        /// The limit, by its name in the OCI runtime specification.
        limit: String,
        /// Why not.
        reason: &'static str,
    },
    /// A value that makes no sense, by our own check or the kernel's.
    #[error("{limit} can't be set to {value:?}: {reason}")]
    Invalid {
        /// The limit, by its name in the OCI runtime specification.
        limit: String,
        /// The value that was asked for.
        value: String,
        /// Why not.
        reason: String,
    },
    /// Processes didn't freeze, thaw or end in time.
    #[error("cgroup {} did not become {state} within {limit:?}", path.display())]
    TimedOut {
        /// Its directory.
        path: PathBuf,
        /// What was waited for: `frozen`, `thawed`, `empty`.
        state: &'static str,
        /// For how long.
        limit: Duration,
    },
    /// A system call failed.
    #[error("{action} {} failed: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Error {
        Error::Io {
            action,
            path: path.into(),
            source: source.into(),
        }
    }

    pub(crate) fn invalid(
        limit: &str,
        value: impl std::fmt::Display,
        reason: impl Into<String>,
    ) -> Error {
        Error::Invalid {
            limit: limit.to_owned(),
            value: value.to_string(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(limit: &str, reason: &'static str) -> Error {
        Error::Unsupported {
            limit: limit.to_owned(),
            reason,
        }
    }

    pub(crate) fn unavailable(limit: &str, controller: &'static str) -> Error {
        Error::Unavailable {
            limit: limit.to_owned(),
            controller,
        }
    }

    /// Whether the user may not do this (as opposed to nobody can).
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Error::Io { source, .. } => is_permission(source),
            _ => false,
        }
    }
}

/// `EACCES`, `EPERM` or `EROFS`.
pub(crate) fn is_permission(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}
