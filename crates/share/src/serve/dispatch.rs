//! From a request to its reply.

use std::sync::atomic::Ordering;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::caller::Worker;
use super::fs::Fs;
use super::wire::{Args, Header, Reply, Result};
use crate::abi::{MAX_DATA, init, op};

/// Requests that the guest's kernel may have under way in the background.
const BACKGROUND: u16 = 32;

impl Fs {
    /// Does what a request asks, and says what came of it.
    pub(super) fn answer(&self, worker: &Worker, header: &Header, body: &[u8]) -> Result<Reply> {
        // Extensions follow the arguments; there is none that this server asks for.
        let length = body
            .len()
            .checked_sub(header.extensions)
            .ok_or(Errno::INVAL)?;
        let args = Args(body.get(..length).ok_or(Errno::INVAL)?);
        if header.opcode == op::INIT {
            return self.init(args);
        }
        if self.features.load(Ordering::Relaxed) == u64::MAX {
            return Err(Errno::IO);
        }
        match header.opcode {
            op::LOOKUP => self.lookup(header, args),
            op::GETATTR => self.getattr(header, args),
            op::SETATTR => self.setattr(worker, header, args),
            op::READLINK => self.readlink(header),
            op::SYMLINK => self.symlink(worker, header, args),
            op::MKNOD => self.mknod(worker, header, args),
            op::MKDIR => self.mkdir(worker, header, args),
            op::UNLINK => self.unlink(header, args, AtFlags::empty()),
            op::RMDIR => self.unlink(header, args, AtFlags::REMOVEDIR),
            op::RENAME => self.rename(header, args, false),
            op::RENAME2 => self.rename(header, args, true),
            op::LINK => self.link(header, args),
            op::OPEN => self.open(worker, header, args),
            op::CREATE => self.create(worker, header, args),
            op::TMPFILE => self.tmpfile(worker, header, args),
            op::READ => self.read(args),
            op::WRITE => self.write(worker, args),
            op::STATFS => self.statfs(header),
            op::STATX => self.statx(header, args),
            op::RELEASE => self.release(header, args),
            op::FSYNC => self.fsync(args),
            op::FLUSH => self.flush(header, args),
            op::FALLOCATE => self.fallocate(worker, header, args),
            op::LSEEK => self.lseek(args),
            op::COPY_FILE_RANGE => self.copy_file_range(worker, header, args),
            op::SETXATTR => self.setxattr(worker, header, args),
            op::GETXATTR => self.getxattr(header, args),
            op::LISTXATTR => self.listxattr(header, args),
            op::REMOVEXATTR => self.removexattr(header, args),
            op::OPENDIR => self.opendir(header),
            op::READDIR => self.readdir(header, args, false),
            op::READDIRPLUS => self.readdir(header, args, true),
            op::RELEASEDIR => self.releasedir(args),
            op::FSYNCDIR => self.fsyncdir(args),
            op::GETLK => self.get_lock(header, args),
            op::SETLK | op::SETLKW => self.set_lock(header, args),
            op::ACCESS => self.access(header, args),
            op::SYNCFS => self.syncfs(header),
            op::DESTROY => Ok(Reply::new()),
            _ => Err(Errno::NOSYS),
        }
    }

    fn init(&self, mut args: Args<'_>) -> Result<Reply> {
        let (major, minor, readahead) = (args.u32()?, args.u32()?, args.u32()?);
        let mut offered = u64::from(args.u32()?);
        if offered & init::INIT_EXT != 0 {
            offered |= u64::from(args.u32()?) << 32;
        }
        if major != 7 || minor < 31 {
            return Err(Errno::PROTO);
        }
        let mut wanted = init::ASYNC_READ
            | init::POSIX_LOCKS
            | init::ATOMIC_O_TRUNC
            | init::BIG_WRITES
            | init::DONT_MASK
            | init::FLOCK_LOCKS
            | init::AUTO_INVAL_DATA
            | init::DO_READDIRPLUS
            | init::READDIRPLUS_AUTO
            | init::ASYNC_DIO
            | init::PARALLEL_DIROPS
            | init::MAX_PAGES
            | init::CACHE_SYMLINKS
            | init::HANDLE_KILLPRIV_V2
            | init::SETXATTR_EXT
            | init::INIT_EXT;
        if self.options.acl {
            wanted |= init::POSIX_ACL;
        }
        let features = offered & wanted;
        // Once only: what was settled holds.
        if self
            .features
            .compare_exchange(u64::MAX, features, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return Err(Errno::INVAL);
        }
        let low = u32::try_from(features & u64::from(u32::MAX)).unwrap_or_default();
        let high = u32::try_from(features >> 32).unwrap_or_default();
        let pages = u16::try_from(MAX_DATA / 4096).unwrap_or(u16::MAX);
        let data = u32::try_from(MAX_DATA).unwrap_or_default();
        // struct fuse_init_out
        Ok(Reply::new()
            .u32(7)
            .u32(minor.min(40))
            .u32(readahead.min(data))
            .u32(low)
            .u16(BACKGROUND)
            .u16(BACKGROUND * 3 / 4)
            .u32(data)
            .u32(1)
            .u16(pages)
            .u16(0)
            .u32(high)
            .zeros(7 * 4))
    }
}
