//! What can go wrong.

use std::io;
use std::path::Path;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. The texts are for users.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a name that a kernel can have.
    #[error(
        "invalid kernel name {0:?}: use letters, digits, '_', '.' and '-', starting with a letter \
         or digit, at most 64 of them, and not \"default\""
    )]
    InvalidName(String),
    /// The name is taken.
    #[error("there is a kernel named {0:?} already: remove it first, or choose another name")]
    AlreadyExists(String),
    /// No such kernel.
    #[error("no such kernel: {0}")]
    NotFound(String),
    /// Nothing is installed.
    #[error("no guest kernel is installed: install one with \"coracle system kernel install\"")]
    NoDefault,
    /// The default kernel can't be removed while there are others.
    #[error("kernel {0:?} is the default: make another the default first")]
    IsDefault(String),
    /// Not a Debian package, or one without a kernel in it.
    #[error("{path}: not a usable kernel package: {reason}")]
    Package {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Not a kernel image.
    #[error("not a usable kernel image: {0}")]
    Image(String),
    /// The kernel can't serve as a guest's.
    #[error("the kernel lacks what a guest needs: {}", .0.join(", "))]
    Lacking(Vec<String>),
    /// A module is damaged.
    #[error("module {name}: {reason}")]
    Module {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The program can't serve as PID 1.
    #[error("{path} cannot be a guest's init: {reason}")]
    Init {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Something is larger than is taken.
    #[error("{what} is larger than {limit} MiB")]
    TooLarge {
        /// What it is.
        what: String,
        /// The bound, in MiB.
        limit: u64,
    },
    /// What was to be installed can't be read.
    #[error("cannot read {path}: {source}")]
    Source {
        /// The file or folder.
        path: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// What the store holds is not as it was written.
    #[error("kernel {name:?} is damaged ({reason}): remove it and install it again")]
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The file system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// To be used with `map_err`: an error while `doing` something with `path`.
    pub(crate) fn io<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
        move |source| Error::Io {
            doing: format!("{doing} {}", path.display()),
            source,
        }
    }

    /// The same, for what was to be installed.
    pub(crate) fn source(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Source {
            path: path.display().to_string(),
            source,
        }
    }

    pub(crate) fn module(name: &str, reason: impl Into<String>) -> Error {
        Error::Module {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }
}
