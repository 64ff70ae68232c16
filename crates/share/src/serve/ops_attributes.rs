//! Requests about what is known of a file: attributes, links' targets, the file system.

use rustix::fs::{AtFlags, Gid, OFlags, Statx, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::caller::Worker;
use super::fs::{Fs, stat_fd};
use super::ops_names::permissions;
use super::wire::{Args, Header, Reply, Result};
use crate::abi::{GETATTR_FH, attr};

/// `struct fuse_setattr_in`, without what nobody can set.
struct Changes {
    valid: u32,
    handle: u64,
    size: u64,
    accessed: (u64, u32),
    modified: (u64, u32),
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Changes {
    fn parse(mut args: Args<'_>) -> Result<Changes> {
        let (valid, _) = (args.u32()?, args.u32()?);
        let (handle, size, _owner) = (args.u64()?, args.u64()?, args.u64()?);
        let (accessed, modified, _) = (args.u64()?, args.u64()?, args.u64()?);
        let (accessed_part, modified_part, _) = (args.u32()?, args.u32()?, args.u32()?);
        let (mode, _) = (args.u32()?, args.u32()?);
        let (uid, gid) = (args.u32()?, args.u32()?);
        Ok(Changes {
            valid,
            handle,
            size,
            accessed: (accessed, accessed_part),
            modified: (modified, modified_part),
            mode,
            uid,
            gid,
        })
    }

    fn has(&self, flag: u32) -> bool {
        self.valid & flag != 0
    }

    fn time(&self, set: u32, now: u32, (seconds, part): (u64, u32)) -> Result<Timespec> {
        let tv_nsec = match () {
            () if !self.has(set) => UTIME_OMIT,
            () if self.has(now) => UTIME_NOW,
            () if part < 1_000_000_000 => part.into(),
            () => return Err(Errno::INVAL),
        };
        Ok(Timespec {
            tv_sec: seconds.cast_signed(),
            tv_nsec,
        })
    }
}

impl Fs {
    pub(super) fn getattr(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        let (flags, _, handle) = (args.u32()?, args.u32()?, args.u64()?);
        let stat = self.stat(header.node, (flags & GETATTR_FH != 0).then_some(handle))?;
        Ok(self.attr_reply(&stat))
    }

    fn stat(&self, node: u64, handle: Option<u64>) -> Result<Statx> {
        if let Some(handle) = handle
            && let Ok(file) = self.handles.file(handle)
        {
            return stat_fd(&file.fd);
        }
        stat_fd(&*self.node(node)?)
    }

    /// `struct fuse_attr_out`.
    fn attr_reply(&self, stat: &Statx) -> Reply {
        let (seconds, nanoseconds) = self.validity();
        self.attributes(Reply::new().u64(seconds).u32(nanoseconds).u32(0), stat)
    }

    pub(super) fn setattr(
        &self,
        worker: &Worker,
        header: &Header,
        args: Args<'_>,
    ) -> Result<Reply> {
        let changes = Changes::parse(args)?;
        self.writable()?;
        let node = self.node(header.node)?;
        let through = || DecInt::from_fd(&*node);
        if changes.has(attr::UID | attr::GID) {
            // -1 means "leave it" to the host, and is nobody.
            let id = |flag, id| match id {
                _ if !changes.has(flag) => Ok(None),
                u32::MAX => Err(Errno::INVAL),
                id => Ok(Some(id)),
            };
            let uid = id(attr::UID, changes.uid)?.map(Uid::from_raw);
            let gid = id(attr::GID, changes.gid)?.map(Gid::from_raw);
            rustix::fs::chownat(&*node, c"", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        // After the owner, since a change of the owner drops set-user-id.
        if changes.has(attr::MODE) {
            if self.nodes().kind(header.node)? == libc::S_IFLNK {
                return Err(Errno::OPNOTSUPP);
            }
            let mode = permissions(changes.mode);
            rustix::fs::chmodat(&*self.descriptors, through(), mode, AtFlags::empty())?;
        }
        if changes.has(attr::SIZE) {
            let _acting = worker.drop_set_ids(changes.has(attr::KILL_SUIDGID))?;
            self.truncate(header.node, &changes)?;
        }
        if changes.has(attr::ATIME | attr::MTIME) {
            let times = Timestamps {
                last_access: changes.time(attr::ATIME, attr::ATIME_NOW, changes.accessed)?,
                last_modification: changes.time(attr::MTIME, attr::MTIME_NOW, changes.modified)?,
            };
            rustix::fs::utimensat(&*self.descriptors, through(), &times, AtFlags::empty())?;
        }
        Ok(self.attr_reply(&stat_fd(&*node)?))
    }

    fn truncate(&self, node: u64, changes: &Changes) -> Result<()> {
        if changes.has(attr::FH)
            && let Ok(file) = self.handles.file(changes.handle)
        {
            return rustix::fs::ftruncate(&file.fd, changes.size);
        }
        let fd = self.reopen(node, libc::S_IFREG, OFlags::WRONLY)?;
        rustix::fs::ftruncate(fd, changes.size)
    }

    /// STATX: as GETATTR, and when the file was born.
    pub(super) fn statx(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        let (flags, _, handle) = (args.u32()?, args.u32()?, args.u64()?);
        let stat = self.stat(header.node, (flags & GETATTR_FH != 0).then_some(handle))?;
        let device = self.nodes().device(header.node)?;
        let (seconds, nanoseconds) = self.validity();
        let time = |reply: Reply, seconds: i64, part: u32| {
            reply.u64(seconds.cast_unsigned()).u32(part).u32(0)
        };
        let reply = Reply::new()
            .u64(seconds)
            .u32(nanoseconds)
            .u32(0)
            .u64(0)
            .u64(0);
        // struct fuse_statx: as struct statx, up to the devices.
        let reply = reply
            .u32(stat.stx_mask & 0xfff)
            .u32(stat.stx_blksize)
            .u64(0)
            .u32(stat.stx_nlink)
            .u32(stat.stx_uid)
            .u32(stat.stx_gid)
            .u16(stat.stx_mode)
            .u16(0)
            .u64(self.inode(stat.stx_ino, device))
            .u64(stat.stx_size)
            .u64(stat.stx_blocks)
            .u64(0);
        let reply = time(reply, stat.stx_atime.tv_sec, stat.stx_atime.tv_nsec);
        let reply = time(reply, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec);
        let reply = time(reply, stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec);
        let reply = time(reply, stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec);
        Ok(reply
            .u32(stat.stx_rdev_major)
            .u32(stat.stx_rdev_minor)
            .u32(stat.stx_dev_major)
            .u32(stat.stx_dev_minor)
            .zeros(14 * 8))
    }

    pub(super) fn readlink(&self, header: &Header) -> Result<Reply> {
        if self.nodes().kind(header.node)? != libc::S_IFLNK {
            return Err(Errno::INVAL);
        }
        let target = rustix::fs::readlinkat(&*self.node(header.node)?, c"", Vec::new())?;
        Ok(Reply::new().bytes(target.to_bytes()))
    }

    pub(super) fn statfs(&self, header: &Header) -> Result<Reply> {
        let stat = rustix::fs::fstatvfs(&*self.node(header.node)?)?;
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Reply::new()
            .u64(stat.f_blocks)
            .u64(stat.f_bfree)
            .u64(stat.f_bavail)
            .u64(stat.f_files)
            .u64(stat.f_ffree)
            .u32(small(stat.f_bsize))
            .u32(small(stat.f_namemax))
            .u32(small(stat.f_frsize))
            .zeros(7 * 4))
    }

    /// ACCESS: the guest's kernel looks at modes itself and doesn't ask.
    pub(super) fn access(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        if args.u32()? & libc::W_OK.cast_unsigned() != 0 {
            self.writable()?;
        }
        self.node(header.node)?;
        Ok(Reply::new())
    }

    /// SYNCFS: the host's file system below the node.
    pub(super) fn syncfs(&self, header: &Header) -> Result<Reply> {
        let flags = OFlags::RDONLY;
        let kind = self.nodes().kind(header.node)?;
        rustix::fs::syncfs(self.reopen(header.node, kind, flags)?)?;
        Ok(Reply::new())
    }
}
