//! Requests about open files.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags};
use std::io::IoSlice;
use std::time::{SystemTime, UNIX_EPOCH};

use super::caller::Worker;
use super::fs::{Fs, stat_fd};
use super::nodes::Stamp;
use super::ops_names::host_flags;
use super::sys;
use super::wire::{Args, Header, Reply, Result};
use crate::abi::WRITE_KILL_SUIDGID;
use crate::abi::{FOPEN_KEEP_CACHE, FSYNC_DATA, MAX_DATA, OPEN_KILL_SUIDGID, OUT_HEADER};

/// `RWF_NOAPPEND`: write where asked, though the file is open for appending.
const NO_APPEND: u32 = 0x20;
/// A copy is done in parts, so that one request doesn't take a thread for long.
const MAX_COPY: u64 = 64 << 20;
/// A file changed this long ago, in seconds, shows another time when it changes again, whatever
/// the file system's clock.
const SETTLED: i64 = 3;

impl Fs {
    pub(super) fn open(
        &self,
        worker: &Worker,
        header: &Header,
        mut args: Args<'_>,
    ) -> Result<Reply> {
        let (flags, kill) = (OFlags::from_bits_retain(args.u32()?), args.u32()?);
        self.handles.room()?;
        let fd = self.open_file(worker, header.node, flags, kill)?;
        self.opened(Reply::new(), header.node, fd, flags)
    }

    pub(super) fn open_file(
        &self,
        worker: &Worker,
        id: u64,
        flags: OFlags,
        kill: u32,
    ) -> Result<OwnedFd> {
        let host = host_flags(flags);
        if host & OFlags::RWMODE != OFlags::RDONLY || host.contains(OFlags::TRUNC) {
            self.writable()?;
        }
        let kill = kill & OPEN_KILL_SUIDGID != 0 && host.contains(OFlags::TRUNC);
        let _acting = worker.drop_set_ids(kill)?;
        self.reopen(id, libc::S_IFREG, host)
    }

    /// `struct fuse_open_out` for an open file.
    pub(super) fn opened(
        &self,
        reply: Reply,
        id: u64,
        fd: OwnedFd,
        flags: OFlags,
    ) -> Result<Reply> {
        let keep = if self.unchanged(id, &fd)? {
            FOPEN_KEEP_CACHE
        } else {
            0
        };
        let handle = self.handles.add_file(fd, flags.contains(OFlags::APPEND))?;
        Ok(reply.u64(handle).u32(keep).u32(0))
    }

    /// Whether the file is as it was when the guest last opened it, so that what the guest has
    /// cached is right. Not said of a file that changed just then: another change might show the
    /// same time.
    fn unchanged(&self, id: u64, fd: &OwnedFd) -> Result<bool> {
        let stat = stat_fd(fd)?;
        let stamp = Stamp {
            size: stat.stx_size,
            modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let settled = now.saturating_sub(stamp.changed.0) >= SETTLED;
        let before = self.nodes().stamp(id, settled.then_some(stamp));
        Ok(settled && before == Some(stamp))
    }

    pub(super) fn read(&self, mut args: Args<'_>) -> Result<Reply> {
        let (handle, offset, size) = (args.u64()?, args.u64()?, args.u32()? as usize);
        let file = self.handles.file(handle)?;
        let size = size.min(MAX_DATA);
        let mut reply = Reply::with_room(size);
        let buffer = reply.buffer();
        rustix::io::pread(&file.fd, spare_capacity(buffer), offset)?;
        // There may be more room than was asked for.
        buffer.truncate(OUT_HEADER + size);
        Ok(reply)
    }

    pub(super) fn write(&self, worker: &Worker, mut args: Args<'_>) -> Result<Reply> {
        let (handle, offset, size) = (args.u64()?, args.u64()?, args.u32()? as usize);
        let (kill, _owner, flags, _) = (args.u32()?, args.u64()?, args.u32()?, args.u32()?);
        let data = args.data(size)?;
        self.writable()?;
        let file = self.handles.file(handle)?;
        let append = OFlags::from_bits_retain(flags).contains(OFlags::APPEND);
        let _acting = worker.drop_set_ids(kill & WRITE_KILL_SUIDGID != 0)?;
        // Whether to append may have been changed since the file was opened.
        let written = match (append, file.append) {
            (true, false) => {
                let flags = ReadWriteFlags::APPEND;
                rustix::io::pwritev2(&file.fd, &[IoSlice::new(data)], offset, flags)
            }
            (false, true) => {
                let flags = ReadWriteFlags::from_bits_retain(NO_APPEND);
                rustix::io::pwritev2(&file.fd, &[IoSlice::new(data)], offset, flags)
            }
            _ => rustix::io::pwrite(&file.fd, data, offset),
        }?;
        Ok(Reply::new()
            .u32(u32::try_from(written).unwrap_or_default())
            .u32(0))
    }

    pub(super) fn flush(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        let (handle, _, owner) = (args.u64()?, args.u64()?, args.u64()?);
        self.locks.close(header.node, owner);
        let file = self.handles.file(handle)?;
        // Closing is when some file systems say that writing failed.
        sys::close(rustix::io::fcntl_dupfd_cloexec(&file.fd, 0)?)?;
        Ok(Reply::new())
    }

    pub(super) fn release(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        let (handle, _, owner) = (args.u64()?, args.u64()?, args.u64()?);
        self.handles.close(handle)?;
        self.locks.close(header.node, owner);
        // A flock(2) went with the file.
        self.locks.changed.notify_waiters();
        Ok(Reply::new())
    }

    pub(super) fn fsync(&self, mut args: Args<'_>) -> Result<Reply> {
        let (handle, flags) = (args.u64()?, args.u32()?);
        let file = self.handles.file(handle)?;
        if flags & FSYNC_DATA != 0 {
            rustix::fs::fdatasync(&file.fd)?;
        } else {
            rustix::fs::fsync(&file.fd)?;
        }
        Ok(Reply::new())
    }

    pub(super) fn fallocate(
        &self,
        worker: &Worker,
        header: &Header,
        mut args: Args<'_>,
    ) -> Result<Reply> {
        let (handle, offset, length) = (args.u64()?, args.u64()?, args.u64()?);
        let mode = FallocateFlags::from_bits_retain(args.u32()?);
        self.writable()?;
        let known =
            FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE;
        if !known.contains(mode) {
            return Err(Errno::OPNOTSUPP);
        }
        let file = self.handles.file(handle)?;
        let _acting = worker.drop_set_ids(ordinary(header))?;
        rustix::fs::fallocate(&file.fd, mode, offset, length)?;
        Ok(Reply::new())
    }

    pub(super) fn lseek(&self, mut args: Args<'_>) -> Result<Reply> {
        let (handle, offset, whence) = (args.u64()?, args.u64()?, args.u32()?.cast_signed());
        let file = self.handles.file(handle)?;
        let from = match whence {
            libc::SEEK_DATA => SeekFrom::Data(offset),
            libc::SEEK_HOLE => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        Ok(Reply::new().u64(rustix::fs::seek(&file.fd, from)?))
    }

    pub(super) fn copy_file_range(
        &self,
        worker: &Worker,
        header: &Header,
        mut args: Args<'_>,
    ) -> Result<Reply> {
        let (from, mut at, _node) = (args.u64()?, args.u64()?, args.u64()?);
        let (to, mut onto, length, flags) = (args.u64()?, args.u64()?, args.u64()?, args.u64()?);
        self.writable()?;
        if flags != 0 {
            return Err(Errno::INVAL);
        }
        let (from, to) = (self.handles.file(from)?, self.handles.file(to)?);
        let length = usize::try_from(length.min(MAX_COPY)).map_err(|_| Errno::INVAL)?;
        let _acting = worker.drop_set_ids(ordinary(header))?;
        let copied =
            rustix::fs::copy_file_range(&from.fd, Some(&mut at), &to.fd, Some(&mut onto), length)?;
        Ok(Reply::new()
            .u32(u32::try_from(copied).unwrap_or_default())
            .u32(0))
    }
}

/// Whether who asks isn't root, and so may not keep set-user-id. Here the protocol doesn't tell,
/// and the guest's kernel leaves it to the server.
fn ordinary(header: &Header) -> bool {
    header.uid != 0
}
