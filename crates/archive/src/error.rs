//! What can go wrong with an archive.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::io::Errno;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A bound of [`Limits`](crate::Limits) that an archive exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Number of headers.
    Entries,
    /// Bytes of the uncompressed stream.
    Bytes,
    /// Bytes in one path.
    Path,
    /// Bytes in one PAX or GNU extension header.
    Extension,
    /// Segments of one sparse file.
    Segments,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Entries => "entries",
            Limit::Bytes => "bytes",
            Limit::Path => "bytes in a path",
            Limit::Extension => "bytes in an extension header",
            Limit::Segments => "segments in a sparse file",
        })
    }
}

/// An archive that can't be read, written or unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream ended inside a header or a file's contents.
    #[error("the archive ends early, {expected} was expected at byte {offset}")]
    Truncated {
        /// Where in the uncompressed stream.
        offset: u64,
        /// What should have followed.
        expected: &'static str,
    },
    /// A header that isn't tar, or contradicts itself.
    #[error("the archive's header at byte {offset} is malformed: {reason}")]
    Malformed {
        /// Where in the uncompressed stream the header starts.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry of a kind that can't be unpacked (GNU volume labels, multi-volume parts, …).
    #[error("entry {} is of the unsupported type {:?}", path.display(), char::from(*type_flag))]
    UnsupportedEntry {
        /// The entry's name.
        path: PathBuf,
        /// The header's type flag.
        type_flag: u8,
    },
    /// A compression that is recognised but not supported.
    #[error("{0} compression isn't supported, use gzip or zstd")]
    UnsupportedCompression(&'static str),
    /// A name or hard link that points outside the root.
    #[error("{} leads outside the archive's root", path.display())]
    Breakout {
        /// The offending name.
        path: PathBuf,
    },
    /// A name that can't be a file's.
    #[error("{} isn't a usable name: {reason}", path.display())]
    InvalidName {
        /// The offending name.
        path: PathBuf,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The archive is larger than allowed.
    #[error("the archive has more than {max} {limit}")]
    LimitExceeded {
        /// Which bound.
        limit: Limit,
        /// Its value.
        max: u64,
    },
    /// A hard link to something that isn't there.
    #[error("hard link {} points to {}, which doesn't exist", path.display(), target.display())]
    LinkTargetMissing {
        /// The link.
        path: PathBuf,
        /// What it should link to.
        target: PathBuf,
    },
    /// A hard link to a directory.
    #[error("hard link {} points to {}, which is a directory", path.display(), target.display())]
    LinkToDirectory {
        /// The link.
        path: PathBuf,
        /// What it should link to.
        target: PathBuf,
    },
    /// An owner that the user namespace's mapping doesn't contain.
    #[error("{} is owned by id {id}, which isn't mapped; add subordinate ids", path.display())]
    UnmappedId {
        /// The entry.
        path: PathBuf,
        /// The user or group id in the archive.
        id: u32,
    },
    /// A path component that is something else than a directory.
    #[error("{} isn't a directory", path.display())]
    NotADirectory {
        /// The path, relative to the root.
        path: PathBuf,
    },
    /// Nothing has that name.
    #[error("{} doesn't exist", path.display())]
    NotFound {
        /// The path, relative to the root.
        path: PathBuf,
    },
    /// Symbolic links that lead to each other, or too many of them.
    #[error("too many symbolic links in {}", path.display())]
    TooManyLinks {
        /// The path, relative to the root.
        path: PathBuf,
    },
    /// A directory would be replaced by something else, and the caller asked to refuse that.
    #[error("cannot overwrite directory {} with non-directory", path.display())]
    DirectoryInTheWay {
        /// The path, relative to the root.
        path: PathBuf,
    },
    /// A non-directory would be replaced by a directory, and the caller asked to refuse that.
    #[error("cannot overwrite non-directory {} with directory", path.display())]
    NonDirectoryInTheWay {
        /// The path, relative to the root.
        path: PathBuf,
    },
    /// The source of the archive failed (network, decompression, cancellation).
    #[error("can't read the archive: {0}")]
    Read(#[source] io::Error),
    /// The sink of the archive failed.
    #[error("can't write the archive: {0}")]
    Write(#[source] io::Error),
    /// The kernel refused an operation on the tree.
    #[error("can't {op} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        op: &'static str,
        /// On which path, relative to the root.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// A path from bytes, for messages.
pub(crate) fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(if path.is_empty() {
        b"/".to_vec()
    } else {
        path.to_vec()
    }))
}

/// Makes an [`Error::Io`] of a system call's error.
pub(crate) fn failed(op: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
    let path = shown(path);
    move |errno| match errno {
        Errno::NOTDIR => Error::NotADirectory { path },
        Errno::NOENT => Error::NotFound { path },
        Errno::LOOP => Error::TooManyLinks { path },
        _ => Error::Io {
            op,
            path,
            source: errno.into(),
        },
    }
}
