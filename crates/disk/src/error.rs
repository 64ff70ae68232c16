//! What can go wrong with a disk image.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An image that can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer that can't be read or unpacked.
    #[error(transparent)]
    Archive(#[from] coracle_archive::Error),
    /// A layer's stream can't be had.
    #[error("can't open layer {layer}: {source}")]
    Open {
        /// Which one, 0 is the lowest.
        layer: usize,
        /// Why.
        source: io::Error,
    },
    /// A layer that was opened twice had other contents the second time.
    #[error("layer {layer} changed while it was being read")]
    Changed {
        /// Which one, 0 is the lowest.
        layer: usize,
    },
    /// A device number that Linux doesn't have.
    #[error("{} has device number {major}:{minor}, which is out of range", path.display())]
    Device {
        /// The entry.
        path: PathBuf,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A file, with its holes, that no file system would hold.
    #[error("{} is larger than {max} bytes", path.display())]
    FileTooLarge {
        /// The entry.
        path: PathBuf,
        /// The bound.
        max: u64,
    },
    /// An extended attribute that Linux refuses, or that doesn't fit.
    #[error("extended attribute {} of {} is refused: {reason}", name.display(), path.display())]
    Attribute {
        /// The entry.
        path: PathBuf,
        /// The attribute.
        name: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// Directories nested deeper than anything can name.
    #[error("{} is nested too deeply, at most {max} directories are allowed", path.display())]
    TooDeep {
        /// The last part of the path.
        path: PathBuf,
        /// The bound.
        max: u32,
    },
    /// The image would exceed [`ErofsOptions::max_bytes`](crate::ErofsOptions::max_bytes), or what
    /// the format can hold.
    #[error("the image would be larger than {max} bytes")]
    TooLarge {
        /// The bound.
        max: u64,
    },
    /// Names and attributes exceed [`ErofsOptions::max_memory`](crate::ErofsOptions::max_memory).
    #[error("the layers' names and attributes take more than {max} bytes of memory")]
    TooMuchMetadata {
        /// The bound.
        max: u64,
    },
    /// An ext4 of a size that isn't supported.
    #[error("{bytes} bytes is no size for a disk, it must be between {min} and {max}")]
    Size {
        /// What was asked for.
        bytes: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A journal of a size that isn't supported.
    #[error("{bytes} bytes is no size for a journal, it must be between {min} and {max}")]
    Journal {
        /// What was asked for.
        bytes: u64,
        /// The least.
        min: u64,
        /// The most for a file system of this size.
        max: u64,
    },
    /// The image's file can't be written.
    #[error("can't write the image: {0}")]
    Write(#[source] io::Error),
}

/// A path from bytes, for messages.
pub(crate) fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(if path.is_empty() {
        b"/".to_vec()
    } else {
        path.to_vec()
    }))
}
