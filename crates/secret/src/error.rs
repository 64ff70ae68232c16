//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

use crate::Kind;

/// What the vault answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request failed. The texts of what a user did wrong are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing has that id or name.
    #[error("{kind} {name} not found")]
    NotFound {
        /// Of what kind it should have been.
        kind: Kind,
        /// What was asked for.
        name: String,
    },
    /// A prefix of several ids.
    #[error("{kind} {name} is ambiguous ({count} matches found)")]
    Ambiguous {
        /// Of what kind.
        kind: Kind,
        /// What was asked for.
        name: String,
        /// How many ids begin with it.
        count: usize,
    },
    /// The name is taken.
    #[error("{kind} {name} already exists")]
    AlreadyExists {
        /// Of what kind.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Others could read it, or write to it.
    #[error("{} {problem}", path.display())]
    Exposed {
        /// The key, or its directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// It can't be decrypted.
    #[error("{kind} {name} can't be opened: {why}")]
    Damaged {
        /// Of what kind.
        kind: Kind,
        /// Its name, or its file's.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Some values could not be put under the new key; the old one stays for them.
    #[error("not everything is under the new key, and the old one is kept: {0}")]
    Unfinished(String),
    /// The file system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The system has no random numbers, or the cipher refuses to work.
    #[error("the cipher failed")]
    Cipher,
}

impl Error {
    pub(crate) fn io<E: Into<io::Error>>(
        what: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            what,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}
