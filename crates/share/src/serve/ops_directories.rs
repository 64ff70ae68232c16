//! Requests about open directories.

use std::mem::MaybeUninit;

use rustix::fs::{FileType, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::fs::Fs;
use super::handles::{Directory, Entry, Position};
use super::wire::{Args, Header, Reply, Result};
use crate::abi::{FSYNC_DATA, MAX_DATA, ROOT_ID};

/// Bytes of entries read from the host at once.
const BATCH: usize = 8 << 10;
/// `struct fuse_dirent` and `struct fuse_entry_out`.
const DIRENT: usize = 24;
const ENTRY: usize = 128;

impl Fs {
    pub(super) fn opendir(&self, header: &Header) -> Result<Reply> {
        self.handles.room()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self.reopen(header.node, libc::S_IFDIR, flags)?;
        Ok(Reply::new()
            .u64(self.handles.add_directory(fd)?)
            .u32(0)
            .u32(0))
    }

    pub(super) fn releasedir(&self, mut args: Args<'_>) -> Result<Reply> {
        self.handles.close(args.u64()?)?;
        Ok(Reply::new())
    }

    pub(super) fn fsyncdir(&self, mut args: Args<'_>) -> Result<Reply> {
        let (handle, flags) = (args.u64()?, args.u32()?);
        let directory = self.handles.directory(handle)?;
        if flags & FSYNC_DATA != 0 {
            rustix::fs::fdatasync(&directory.fd)?;
        } else {
            rustix::fs::fsync(&directory.fd)?;
        }
        Ok(Reply::new())
    }

    /// READDIR, READDIRPLUS: as many entries as there is room for.
    pub(super) fn readdir(&self, header: &Header, mut args: Args<'_>, plus: bool) -> Result<Reply> {
        let (handle, offset, size) = (args.u64()?, args.u64()?, args.u32()? as usize);
        let size = size.min(MAX_DATA);
        let directory = self.handles.directory(handle)?;
        let device = self.nodes().device(header.node)?;
        let mut position = directory.position();
        if position.at != offset {
            position.entries.clear();
            rustix::fs::seek(&directory.fd, SeekFrom::Start(offset))?;
            position.at = offset;
        }
        let mut reply = Reply::with_room(size.min(BATCH * 2));
        loop {
            if position.entries.is_empty() && !fill(&directory, &mut position)? {
                return Ok(reply);
            }
            let Some(entry) = position.entries.front() else {
                return Ok(reply);
            };
            let name = entry.name.to_bytes();
            let padded = (DIRENT + name.len()).next_multiple_of(8);
            let room = padded + if plus { ENTRY } else { 0 };
            if reply.body() + room > size {
                // No room for even one is the asker's fault.
                return if reply.body() == 0 {
                    Err(Errno::INVAL)
                } else {
                    Ok(reply)
                };
            }
            if plus {
                reply = self.plus(reply, header.node, entry);
            }
            let inode = match (header.node, name) {
                // Where the source is on the host is nobody's business.
                (ROOT_ID, b"..") => 1,
                _ => self.inode(entry.inode, device),
            };
            reply = reply
                .u64(inode)
                .u64(entry.next)
                .u32(u32::try_from(name.len()).unwrap_or_default())
                .u32(entry.kind)
                .bytes(name)
                .zeros(padded - DIRENT - name.len());
            position.at = entry.next;
            position.entries.pop_front();
        }
    }

    /// What LOOKUP would say; nothing for `.` and `..`, and for what can't be looked at: the
    /// guest asks for it when it needs it.
    fn plus(&self, reply: Reply, parent: u64, entry: &Entry) -> Reply {
        if matches!(entry.name.to_bytes(), b"." | b"..") {
            return reply.zeros(ENTRY);
        }
        match self.look_up(parent, &entry.name) {
            Ok((id, stat)) => self.entry(reply, id, &stat),
            Err(_) => reply.zeros(ENTRY),
        }
    }
}

/// Reads the next entries; `false` at the end.
fn fill(directory: &Directory, position: &mut Position) -> Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); BATCH];
    let mut entries = RawDir::new(&directory.fd, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        position.entries.push_back(Entry {
            inode: entry.ino(),
            kind: match entry.file_type() {
                FileType::Unknown => 0,
                kind => kind.as_raw_mode() >> 12,
            },
            name: entry.file_name().into(),
            next: entry.next_entry_cookie(),
        });
        if entries.is_buffer_empty() {
            break;
        }
    }
    Ok(!position.entries.is_empty())
}
