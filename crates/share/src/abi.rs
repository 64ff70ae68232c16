//! Numbers of the FUSE protocol (`linux/fuse.h`), little more than names for them.

/// Largest data of one read or write, in bytes (`max_write`, `max_read`).
pub(crate) const MAX_DATA: usize = 1 << 20;
/// Largest message of either side: the data, and the headers and names around it.
pub(crate) const MAX_MESSAGE: usize = MAX_DATA + (16 << 10);
/// `struct fuse_in_header`.
pub(crate) const IN_HEADER: usize = 40;
/// `struct fuse_out_header`.
pub(crate) const OUT_HEADER: usize = 16;

#[cfg(feature = "serve")]
pub(crate) use host::*;

#[cfg(feature = "serve")]
mod host {
    pub(crate) const ROOT_ID: u64 = 1;

    pub(crate) mod op {
        pub(crate) const LOOKUP: u32 = 1;
        pub(crate) const FORGET: u32 = 2;
        pub(crate) const GETATTR: u32 = 3;
        pub(crate) const SETATTR: u32 = 4;
        pub(crate) const READLINK: u32 = 5;
        pub(crate) const SYMLINK: u32 = 6;
        pub(crate) const MKNOD: u32 = 8;
        pub(crate) const MKDIR: u32 = 9;
        pub(crate) const UNLINK: u32 = 10;
        pub(crate) const RMDIR: u32 = 11;
        pub(crate) const RENAME: u32 = 12;
        pub(crate) const LINK: u32 = 13;
        pub(crate) const OPEN: u32 = 14;
        pub(crate) const READ: u32 = 15;
        pub(crate) const WRITE: u32 = 16;
        pub(crate) const STATFS: u32 = 17;
        pub(crate) const RELEASE: u32 = 18;
        pub(crate) const FSYNC: u32 = 20;
        pub(crate) const SETXATTR: u32 = 21;
        pub(crate) const GETXATTR: u32 = 22;
        pub(crate) const LISTXATTR: u32 = 23;
        pub(crate) const REMOVEXATTR: u32 = 24;
        pub(crate) const FLUSH: u32 = 25;
        pub(crate) const INIT: u32 = 26;
        pub(crate) const OPENDIR: u32 = 27;
        pub(crate) const READDIR: u32 = 28;
        pub(crate) const RELEASEDIR: u32 = 29;
        pub(crate) const FSYNCDIR: u32 = 30;
        pub(crate) const GETLK: u32 = 31;
        pub(crate) const SETLK: u32 = 32;
        pub(crate) const SETLKW: u32 = 33;
        pub(crate) const ACCESS: u32 = 34;
        pub(crate) const CREATE: u32 = 35;
        pub(crate) const INTERRUPT: u32 = 36;
        pub(crate) const DESTROY: u32 = 38;
        pub(crate) const BATCH_FORGET: u32 = 42;
        pub(crate) const FALLOCATE: u32 = 43;
        pub(crate) const READDIRPLUS: u32 = 44;
        pub(crate) const RENAME2: u32 = 45;
        pub(crate) const LSEEK: u32 = 46;
        pub(crate) const COPY_FILE_RANGE: u32 = 47;
        pub(crate) const SYNCFS: u32 = 50;
        pub(crate) const TMPFILE: u32 = 51;
        pub(crate) const STATX: u32 = 52;
    }

    /// Flags of INIT: the lower and, from bit 32, the upper word.
    pub(crate) mod init {
        pub(crate) const ASYNC_READ: u64 = 1;
        pub(crate) const POSIX_LOCKS: u64 = 1 << 1;
        pub(crate) const ATOMIC_O_TRUNC: u64 = 1 << 3;
        pub(crate) const BIG_WRITES: u64 = 1 << 5;
        pub(crate) const DONT_MASK: u64 = 1 << 6;
        pub(crate) const FLOCK_LOCKS: u64 = 1 << 10;
        pub(crate) const AUTO_INVAL_DATA: u64 = 1 << 12;
        pub(crate) const DO_READDIRPLUS: u64 = 1 << 13;
        pub(crate) const READDIRPLUS_AUTO: u64 = 1 << 14;
        pub(crate) const ASYNC_DIO: u64 = 1 << 15;
        pub(crate) const PARALLEL_DIROPS: u64 = 1 << 18;
        pub(crate) const POSIX_ACL: u64 = 1 << 20;
        pub(crate) const MAX_PAGES: u64 = 1 << 22;
        pub(crate) const CACHE_SYMLINKS: u64 = 1 << 23;
        pub(crate) const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
        pub(crate) const SETXATTR_EXT: u64 = 1 << 29;
        pub(crate) const INIT_EXT: u64 = 1 << 30;
    }

    /// `valid` of SETATTR.
    pub(crate) mod attr {
        pub(crate) const MODE: u32 = 1;
        pub(crate) const UID: u32 = 1 << 1;
        pub(crate) const GID: u32 = 1 << 2;
        pub(crate) const SIZE: u32 = 1 << 3;
        pub(crate) const ATIME: u32 = 1 << 4;
        pub(crate) const MTIME: u32 = 1 << 5;
        pub(crate) const FH: u32 = 1 << 6;
        pub(crate) const ATIME_NOW: u32 = 1 << 7;
        pub(crate) const MTIME_NOW: u32 = 1 << 8;
        pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
    }

    /// GETATTR, STATX: the file handle is set.
    pub(crate) const GETATTR_FH: u32 = 1;
    /// Reply of OPEN: the guest's cached pages are still right.
    pub(crate) const FOPEN_KEEP_CACHE: u32 = 1 << 1;
    /// OPEN, CREATE: drop set-user-id and set-group-id while truncating.
    pub(crate) const OPEN_KILL_SUIDGID: u32 = 1;
    /// WRITE: drop set-user-id and set-group-id.
    pub(crate) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
    /// FSYNC: the data only.
    pub(crate) const FSYNC_DATA: u32 = 1;
    /// GETLK, SETLK, SETLKW: flock(2), not a range.
    pub(crate) const LK_FLOCK: u32 = 1;
    /// SETXATTR: an ACL is set by one who is not of the group.
    pub(crate) const SETXATTR_ACL_KILL_SGID: u32 = 1;
}
