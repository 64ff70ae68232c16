//! Copying in and out of containers.

use jiff::Timestamp;

use crate::io::ByteStream;

/// A path inside, as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathStat {
    /// Base name.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Mode bits as Go's `os.FileMode` has them (Docker's API).
    pub mode: u32,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Where a symbolic link points; empty for others.
    pub link_target: String,
}

/// A tar stream of a path inside.
pub struct PathArchive {
    /// The path itself.
    pub stat: PathStat,
    /// The tar.
    pub tar: ByteStream,
}

/// How to extract into a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtractOptions {
    /// Refuse to replace a directory by something else, or the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Everything belongs to the container's user, as its own files have their ids. Without it, and
    /// for a container without a user, the archive's owners stay.
    pub copy_uid_gid: bool,
}
