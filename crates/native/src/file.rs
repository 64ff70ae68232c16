//! Files inside of a container.

use coracle_runtime::archive::PathStat;
use coracle_runtime::container as domain;
use jiff::Timestamp;

use crate::wire::answer;

answer! {
    /// A path that differs from the image.
    pub struct FileChange {
        /// Absolute path inside.
        path: String,
        /// `modified`, `added`, `deleted`.
        kind: String,
    }

    /// What a path inside is.
    pub struct FileInfo {
        /// Base name.
        name: String,
        /// Bytes.
        size: i64,
        /// Permissions, as Go's `os.FileMode` has them.
        mode: u32,
        /// Last change of content.
        modified_at: Timestamp,
        /// Where a symbolic link points; empty for others.
        link_target: String,
    }
}

impl From<domain::Change> for FileChange {
    fn from(change: domain::Change) -> Self {
        let kind = match change.kind {
            domain::ChangeKind::Modified => "modified",
            domain::ChangeKind::Added => "added",
            domain::ChangeKind::Deleted => "deleted",
        };
        Self {
            path: change.path,
            kind: kind.to_owned(),
        }
    }
}

impl From<PathStat> for FileInfo {
    fn from(stat: PathStat) -> Self {
        Self {
            name: stat.name,
            size: stat.size,
            mode: stat.mode,
            modified_at: stat.mtime,
            link_target: stat.link_target,
        }
    }
}
