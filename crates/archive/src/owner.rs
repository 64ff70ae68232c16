//! Whose the unpacked files become.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result, shown};

/// A run of ids, as a line of `/proc/<pid>/uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id in the archive (inside the user namespace).
    pub inside: u32,
    /// The id that it becomes.
    pub outside: u32,
    /// How many.
    pub len: u32,
}

/// Ids in the archive to ids on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMap {
    /// User ids.
    pub uids: Vec<IdRange>,
    /// Group ids.
    pub gids: Vec<IdRange>,
}

/// Who owns what is unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Owners {
    /// The ids in the archive.
    #[default]
    Archived,
    /// The ids in the archive, mapped; an id outside the map is
    /// [`Error::UnmappedId`](crate::Error::UnmappedId).
    Mapped(IdMap),
    /// One owner for everything.
    Fixed {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl Owners {
    /// The owner on disk of what `uid` and `gid` own in an archive. `path` is for messages.
    ///
    /// # Errors
    /// [`Error::UnmappedId`].
    pub fn on_disk(&self, path: &Path, uid: u32, gid: u32) -> Result<(u32, u32)> {
        self.of(path.as_os_str().as_bytes(), uid, gid)
    }

    /// As [`Owners::on_disk`], with the path as archives have it.
    pub(crate) fn of(&self, path: &[u8], uid: u32, gid: u32) -> Result<(u32, u32)> {
        match self {
            Owners::Archived => Ok((uid, gid)),
            Owners::Fixed { uid, gid } => Ok((*uid, *gid)),
            Owners::Mapped(map) => Ok((
                outside(&map.uids, path, uid)?,
                outside(&map.gids, path, gid)?,
            )),
        }
    }
}

fn outside(ranges: &[IdRange], path: &[u8], id: u32) -> Result<u32> {
    ranges
        .iter()
        .find_map(|range| {
            let distance = id.checked_sub(range.inside)?;
            (distance < range.len).then(|| range.outside.checked_add(distance))?
        })
        .ok_or_else(|| Error::UnmappedId {
            path: shown(path),
            id,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_mapped_by_range() {
        let map = IdMap {
            uids: vec![
                IdRange {
                    inside: 0,
                    outside: 1000,
                    len: 1,
                },
                IdRange {
                    inside: 1,
                    outside: 100_000,
                    len: 65_535,
                },
            ],
            gids: vec![IdRange {
                inside: 0,
                outside: 7,
                len: 10,
            }],
        };
        let owners = Owners::Mapped(map);
        assert_eq!(owners.of(b"x", 0, 0).unwrap(), (1000, 7));
        assert_eq!(owners.of(b"x", 5, 9).unwrap(), (100_004, 16));
        assert!(matches!(
            owners.of(b"x", 65_536, 0),
            Err(Error::UnmappedId { id: 65_536, .. })
        ));
        assert!(matches!(
            owners.of(b"x", 0, 10),
            Err(Error::UnmappedId { id: 10, .. })
        ));
    }
}
