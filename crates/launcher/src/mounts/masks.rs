//! Masked and read-only paths.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::options::Attributes;
use super::{attach, clone_device, new_filesystem};
use crate::error::{Context, Stage, Step};
use crate::path::{self, Root};
use crate::sys;

/// What masks are made of, taken from the host: the container's own /dev/null is the image's to
/// tamper with.
pub(crate) struct Masks {
    null: Option<Mask>,
}

/// A mount to be put on many places. The first gets the mount itself, the others copies of it:
/// kernels before 6.15 copy only what is attached.
struct Mask {
    mount: OwnedFd,
    attached: bool,
}

impl Mask {
    fn put(&mut self, place: &OwnedFd) -> Result<(), Errno> {
        if self.attached {
            return attach(&clone_of(&self.mount, false)?, place);
        }
        self.attached = true;
        attach(&self.mount, place)
    }
}

impl Masks {
    pub(crate) fn prepare(masked: &[String]) -> Step<Masks> {
        if masked.is_empty() {
            return Ok(Masks { null: None });
        }
        let mount =
            clone_device(Path::new("/dev/null")).during(Stage::Mounts, || "clone /dev/null")?;
        Ok(Masks {
            null: Some(Mask {
                mount,
                attached: false,
            }),
        })
    }

    /// Hides `masked` and makes `readonly` read-only, as far as they exist.
    pub(crate) fn apply(self, masked: &[String], readonly: &[String], root: &Root) -> Step<()> {
        let mut null = self.null;
        let mut empty = None;
        for masked in masked {
            let what = || format!("mask {masked}");
            let Some(place) = find(root, masked).during(Stage::Mounts, what)? else {
                continue;
            };
            let is_dir = path::is_dir(&place).during(Stage::Mounts, what)?;
            let mask = match (&mut null, &mut empty) {
                (Some(null), _) if !is_dir => null,
                (_, Some(empty)) => empty,
                (_, none) => none.insert(empty_dir().during(Stage::Mounts, what)?),
            };
            mask.put(&place).during(Stage::Mounts, what)?;
        }
        for readonly in readonly {
            let what = || format!("make {readonly} read-only");
            let Some(place) = find(root, readonly).during(Stage::Mounts, what)? else {
                continue;
            };
            let copy = clone_of(&place, true).during(Stage::Mounts, what)?;
            let set = libc::MOUNT_ATTR_RDONLY;
            sys::mount_setattr(copy.as_fd(), true, set, 0, libc::MS_PRIVATE)
                .during(Stage::Mounts, what)?;
            attach(&copy, &place).during(Stage::Mounts, what)?;
        }
        Ok(())
    }
}

fn find(root: &Root, path: &str) -> Result<Option<OwnedFd>, Errno> {
    match root.open(Path::new(path), OFlags::PATH) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// One empty, read-only file system serves all masked directories.
fn empty_dir() -> Result<Mask, Errno> {
    let attributes = Attributes {
        set: libc::MOUNT_ATTR_RDONLY,
        clear: 0,
    };
    let data = ["mode=755".to_owned(), "nr_inodes=1".to_owned()];
    let mount = new_filesystem("tmpfs", Some(Path::new("tmpfs")), &data, attributes)?;
    Ok(Mask {
        mount,
        attached: false,
    })
}

fn clone_of(mount: &OwnedFd, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(mount, "", flags)
}
