//! Extended attributes, those of overlayfs in particular.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::error::{Result, failed};

/// The largest value that Linux takes (`XATTR_SIZE_MAX`), and the largest list of names.
const MAX: usize = 64 << 10;

/// Which attributes overlayfs reads: those that only the host's root may set, or, mounted with
/// `userxattr`, those that the owner may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OverlayAttrs {
    /// `trusted.overlay.*`.
    #[default]
    Trusted,
    /// `user.overlay.*`, for mounts inside a user namespace.
    User,
}

impl OverlayAttrs {
    /// Marks a directory that hides the lower layers' (`y`), or has whiteouts in the form of
    /// attributes in it (`x`).
    pub fn opaque(self) -> &'static str {
        match self {
            OverlayAttrs::Trusted => "trusted.overlay.opaque",
            OverlayAttrs::User => "user.overlay.opaque",
        }
    }

    /// Marks an empty regular file that is a whiteout (kernels from 6.7).
    pub fn whiteout(self) -> &'static str {
        match self {
            OverlayAttrs::Trusted => "trusted.overlay.whiteout",
            OverlayAttrs::User => "user.overlay.whiteout",
        }
    }
}

/// Whether an attribute belongs to overlayfs. Archives have no say in these: a redirect in a layer
/// would let it graft directories of its choice.
pub(crate) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Something that can carry attributes.
#[derive(Clone, Copy)]
pub(crate) enum Carrier<'a> {
    /// A descriptor opened for reading or writing.
    Open(BorrowedFd<'a>),
    /// An `O_PATH` descriptor, which the attribute calls refuse: they get it by way of
    /// `/proc/self/fd`, which leads to the very same object, be it a symbolic link.
    Place(BorrowedFd<'a>),
}

/// The path by which system calls that take no `O_PATH` descriptor reach one's object.
pub(crate) fn proc_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

impl Carrier<'_> {
    pub(crate) fn set(self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        match self {
            Carrier::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Carrier::Place(fd) => {
                rustix::fs::setxattr(proc_path(fd), name, value, XattrFlags::empty())
            }
        }
    }

    /// None where it isn't set, or the file system has no attributes.
    pub(crate) fn get(self, name: &[u8]) -> rustix::io::Result<Option<Vec<u8>>> {
        // Most values are short.
        let mut value = vec![0; 256];
        loop {
            let got = match self {
                Carrier::Open(fd) => rustix::fs::fgetxattr(fd, name, &mut value[..]),
                Carrier::Place(fd) => rustix::fs::getxattr(proc_path(fd), name, &mut value[..]),
            };
            match got {
                Ok(len) => {
                    value.truncate(len);
                    return Ok(Some(value));
                }
                Err(Errno::RANGE) if value.len() < MAX => value.resize(MAX, 0),
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }

    /// The names of all attributes; empty where the file system has none.
    pub(crate) fn names(self) -> rustix::io::Result<Vec<Vec<u8>>> {
        let mut list = vec![0; 256];
        loop {
            let got = match self {
                Carrier::Open(fd) => rustix::fs::flistxattr(fd, &mut list[..]),
                Carrier::Place(fd) => rustix::fs::listxattr(proc_path(fd), &mut list[..]),
            };
            match got {
                Ok(0) => return Ok(Vec::new()),
                Ok(len) => {
                    let names = list.get(..len).unwrap_or_default().split(|b| *b == 0);
                    return Ok(names
                        .filter(|n| !n.is_empty())
                        .map(<[u8]>::to_vec)
                        .collect());
                }
                Err(Errno::RANGE) if list.len() < MAX => list.resize(MAX, 0),
                Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
                Err(e) => return Err(e),
            }
        }
    }
}

/// Sets an entry's attributes but overlayfs's. Returns how many couldn't be set because the file
/// system has none of the kind, or because the caller isn't privileged enough and `lenient`.
pub(crate) fn set_all(
    carrier: Carrier<'_>,
    xattrs: &[(Vec<u8>, Vec<u8>)],
    lenient: bool,
    path: &[u8],
) -> Result<u64> {
    let mut skipped = 0;
    for (name, value) in xattrs {
        if is_overlay(name) {
            skipped += 1;
            continue;
        }
        match carrier.set(name, value) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => skipped += 1,
            // The kernel has user attributes on files and directories only.
            Err(Errno::PERM) if lenient || name.starts_with(b"user.") => skipped += 1,
            Err(e) => return Err(failed("set an extended attribute of", path)(e)),
        }
    }
    Ok(skipped)
}
