//! The host directory or file that is shared: a detached copy of its mount.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::sys;

/// `MOUNT_ATTR_*` of `linux/mount.h`.
const READ_ONLY: u64 = 0x1;
const NO_SET_USER_ID: u64 = 0x2;
const NO_DEVICES: u64 = 0x4;
const NO_EXECUTION: u64 = 0x8;

/// What requests are answered from.
pub(super) struct Source {
    pub(super) root: OwnedFd,
    /// Whether mounts below the root may be entered. In a copy of the mount there are only those
    /// that may.
    pub(super) cross: bool,
}

impl Source {
    /// Copies the mount of `source` as a bind mount does, so that mounts below are there (as
    /// with `rbind`) or not, later mounts of the host don't show, the host may unmount, and the
    /// kernel itself refuses changes of a read-only share. Without the privilege to copy (or if
    /// `source` is such a copy already) the source is used as it is.
    pub(super) fn new(source: OwnedFd, read_only: bool, recursive: bool) -> Source {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        if recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let Ok(root) = open_tree(&source, c"", flags) else {
            return Source {
                root: source,
                cross: recursive,
            };
        };
        let harden = NO_SET_USER_ID | NO_DEVICES | NO_EXECUTION;
        let read_only = if read_only { READ_ONLY } else { 0 };
        // A second line only: the server refuses all this by itself.
        let _ = sys::mount_attributes(&root, harden | read_only, recursive);
        Source { root, cross: true }
    }
}

/// `/proc/self/fd`, through which a descriptor is opened again with other rights.
pub(super) fn descriptors() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(rustix::fs::CWD, c"/proc/self/fd", flags, Mode::empty()).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(
            error.kind(),
            format!("a share needs /proc mounted: {error}"),
        )
    })
}
