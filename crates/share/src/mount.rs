//! The mount in the guest.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::MountFlags;

use crate::abi::MAX_DATA;

/// A mounted share's end of `/dev/fuse`. Dropping it ends the share: whoever uses a file of it
/// gets `ENOTCONN`; the mount itself stays until it is unmounted.
#[derive(Debug)]
pub struct Fuse {
    fd: OwnedFd,
}

impl Fuse {
    /// Takes an already mounted end of `/dev/fuse`, opened with `O_NONBLOCK`.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Fuse {
        Fuse { fd }
    }
}

impl AsFd for Fuse {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Fuse {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Mounts a share at `target`: a directory if `root_is_dir`, else a file. Nothing of it can be
/// used before [`relay`](crate::relay()) runs; whoever tries waits.
///
/// # Errors
/// `ENOENT`/`ENODEV` without `/dev/fuse` or without FUSE in the kernel, `EPERM` without
/// `CAP_SYS_ADMIN`, `ENOTDIR` if the kinds of `target` and root differ.
pub fn mount(target: &Path, root_is_dir: bool, read_only: bool) -> io::Result<Fuse> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = open("/dev/fuse", flags, Mode::empty())?;
    let root = if root_is_dir { "40000" } else { "100000" };
    let data = format!(
        "fd={},rootmode={root},user_id=0,group_id=0,default_permissions,allow_other,max_read={MAX_DATA}",
        fd.as_raw_fd()
    );
    let data = CString::new(data)?;
    let flags = if read_only {
        MountFlags::RDONLY
    } else {
        MountFlags::empty()
    };
    rustix::mount::mount("share", target, "fuse", flags, data.as_c_str())?;
    Ok(Fuse { fd })
}
