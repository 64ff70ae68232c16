//! System calls that have no safe wrapper. Nothing here takes or keeps a pointer of a caller.
#![allow(unsafe_code)]

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, IntoRawFd as _, OwnedFd};

use rustix::io::Errno;

type Result<T> = std::result::Result<T, Errno>;

fn last() -> Errno {
    Errno::from_raw_os_error(
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO),
    )
}

/// The calling thread gets a working directory and a file mode mask of its own.
pub(super) fn own_directory_and_mask() -> Result<()> {
    // SAFETY: takes no pointer; only CLONE_FS, so that descriptors stay shared.
    if unsafe { libc::unshare(libc::CLONE_FS) } == 0 {
        Ok(())
    } else {
        Err(last())
    }
}

/// The calling thread's user for files; `false` if the user has no place in the user namespace.
pub(super) fn set_fsuid(uid: u32) -> bool {
    // SAFETY: takes no pointer, never fails; -1 (never valid) only asks.
    unsafe {
        libc::setfsuid(uid);
        libc::setfsuid(u32::MAX).cast_unsigned() == uid
    }
}

/// As [`set_fsuid`], for the group.
pub(super) fn set_fsgid(gid: u32) -> bool {
    // SAFETY: takes no pointer, never fails; -1 (never valid) only asks.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsgid(u32::MAX).cast_unsigned() == gid
    }
}

/// Closes, and says what the file system says to it.
pub(super) fn close(fd: OwnedFd) -> Result<()> {
    // SAFETY: the descriptor was owned and isn't any more; it is closed once, whatever comes back.
    if unsafe { libc::close(fd.into_raw_fd()) } == 0 {
        Ok(())
    } else {
        Err(last())
    }
}

/// A range of a file, as in `struct flock`; `length` 0 goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: i64,
    pub(super) length: i64,
    /// `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
    pub(super) kind: i32,
}

impl Range {
    fn raw(self) -> Result<libc::flock> {
        // SAFETY: an all-zero flock is valid; the pid of an open file description lock must be 0.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = i16::try_from(self.kind).map_err(|_| Errno::INVAL)?;
        lock.l_whence = 0; // SEEK_SET
        lock.l_start = self.start;
        lock.l_len = self.length;
        Ok(lock)
    }
}

/// Locks or unlocks for the open file description, without waiting (`EAGAIN`).
pub(super) fn lock(fd: impl AsFd, range: Range) -> Result<()> {
    let raw = range.raw()?;
    // SAFETY: the flock lives during the call, which only reads it.
    let result = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &raw) };
    if result == 0 { Ok(()) } else { Err(last()) }
}

/// Who would be in the way of `range`.
pub(super) fn conflict(fd: impl AsFd, range: Range) -> Result<Option<Range>> {
    let mut raw = range.raw()?;
    // SAFETY: the flock lives during the call, which writes nothing else.
    let result = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_OFD_GETLK, &mut raw) };
    if result != 0 {
        return Err(last());
    }
    let kind = i32::from(raw.l_type);
    let found = Range {
        start: raw.l_start,
        length: raw.l_len,
        kind,
    };
    Ok((kind != libc::F_UNLCK).then_some(found))
}

/// Attributes of a mount (`mount_setattr(2)`), set in the whole tree if `recursive`.
pub(super) fn mount_attributes(mount: impl AsFd, set: u64, recursive: bool) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a constant, the structure lives during the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last()) }
}
