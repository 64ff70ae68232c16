//! Requests about names: looking up, making, removing, renaming.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, openat};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::caller::Worker;
use super::fs::{Fs, stat_fd};
use super::wire::{Args, Header, Reply, Result};

impl Fs {
    pub(super) fn lookup(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        let (id, stat) = self.look_up(header.node, args.name()?)?;
        Ok(self.entry(Reply::new(), id, &stat))
    }

    pub(super) fn mknod(
        &self,
        worker: &Worker,
        header: &Header,
        mut args: Args<'_>,
    ) -> Result<Reply> {
        let (mode, rdev, umask, _) = (args.u32()?, args.u32()?, args.u32()?, args.u32()?);
        let name = args.name()?;
        self.writable()?;
        let kind = match mode & libc::S_IFMT {
            0 | libc::S_IFREG => FileType::RegularFile,
            libc::S_IFIFO => FileType::Fifo,
            libc::S_IFSOCK => FileType::Socket,
            libc::S_IFCHR if self.options.devices || rdev == 0 => FileType::CharacterDevice,
            libc::S_IFBLK if self.options.devices => FileType::BlockDevice,
            libc::S_IFCHR | libc::S_IFBLK => return Err(Errno::PERM),
            _ => return Err(Errno::INVAL),
        };
        let major = (rdev & 0xf_ff00) >> 8;
        let minor = (rdev & 0xff) | ((rdev >> 12) & 0xf_ff00);
        let device = rustix::fs::makedev(major, minor);
        let directory = self.node(header.node)?;
        let acting = worker.act_for(header, umask)?;
        rustix::fs::mknodat(&*directory, name, kind, permissions(mode), device)?;
        drop(acting);
        self.made(header.node, name)
    }

    pub(super) fn mkdir(
        &self,
        worker: &Worker,
        header: &Header,
        mut args: Args<'_>,
    ) -> Result<Reply> {
        let (mode, umask) = (args.u32()?, args.u32()?);
        let name = args.name()?;
        self.writable()?;
        let directory = self.node(header.node)?;
        let acting = worker.act_for(header, umask)?;
        rustix::fs::mkdirat(&*directory, name, permissions(mode))?;
        drop(acting);
        self.made(header.node, name)
    }

    pub(super) fn symlink(
        &self,
        worker: &Worker,
        header: &Header,
        mut args: Args<'_>,
    ) -> Result<Reply> {
        let (name, target) = (args.name()?, args.string()?);
        self.writable()?;
        let directory = self.node(header.node)?;
        let acting = worker.act_for(header, 0)?;
        rustix::fs::symlinkat(target, &*directory, name)?;
        drop(acting);
        self.made(header.node, name)
    }

    pub(super) fn link(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        let old = args.u64()?;
        let name = args.name()?;
        self.writable()?;
        let (old, directory) = (self.node(old)?, self.node(header.node)?);
        let through = DecInt::from_fd(&*old);
        let flags = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(&*self.descriptors, through, &*directory, name, flags)?;
        self.made(header.node, name)
    }

    /// The reply for what was just made. That it is gone again would be for the next request to
    /// find out, but the guest must have an answer.
    fn made(&self, parent: u64, name: &CStr) -> Result<Reply> {
        let (id, stat) = self.look_up(parent, name)?;
        Ok(self.entry(Reply::new(), id, &stat))
    }

    pub(super) fn unlink(
        &self,
        header: &Header,
        mut args: Args<'_>,
        flags: AtFlags,
    ) -> Result<Reply> {
        let name = args.name()?;
        self.writable()?;
        let directory = self.node(header.node)?;
        self.pin(&directory, name);
        rustix::fs::unlinkat(&*directory, name, flags)?;
        Ok(Reply::new())
    }

    /// What is about to lose its name, and the guest knows, stays at hand: processes of the
    /// guest may still be in it.
    fn pin(&self, directory: &OwnedFd, name: &CStr) {
        let Ok((found, _)) = self.look_at(directory, name) else {
            return;
        };
        let id = self.nodes().known(&found);
        if let Some(id) = id
            && self.pinnable(id, directory, name).is_ok()
        {
            self.nodes().pin(id);
        }
    }

    fn pinnable(&self, id: u64, directory: &OwnedFd, name: &CStr) -> Result<()> {
        // Its last place may be another, of which it's gone already: this one is sure.
        let parent = self
            .nodes()
            .known(&self.identify_fd(directory)?)
            .ok_or(Errno::STALE)?;
        self.nodes().moved(id, parent, name);
        self.node(id).map(drop)
    }

    pub(super) fn rename(
        &self,
        header: &Header,
        mut args: Args<'_>,
        with_flags: bool,
    ) -> Result<Reply> {
        let to = args.u64()?;
        let flags = if with_flags {
            (args.u32()?, args.u32()?).0
        } else {
            0
        };
        let (old, new) = (args.name()?, args.name()?);
        self.writable()?;
        let flags = RenameFlags::from_bits_retain(flags);
        let known = RenameFlags::NOREPLACE | RenameFlags::EXCHANGE | RenameFlags::WHITEOUT;
        if !known.contains(flags) {
            return Err(Errno::INVAL);
        }
        let (source, target) = (self.node(header.node)?, self.node(to)?);
        if !flags.intersects(RenameFlags::NOREPLACE | RenameFlags::EXCHANGE) {
            self.pin(&target, new);
        }
        rustix::fs::renameat_with(&*source, old, &*target, new, flags)?;
        self.renamed(&target, to, new);
        if flags.contains(RenameFlags::EXCHANGE) {
            self.renamed(&source, header.node, old);
        }
        Ok(Reply::new())
    }

    fn renamed(&self, directory: &OwnedFd, parent: u64, name: &CStr) {
        if let Ok((found, _)) = self.look_at(directory, name) {
            let mut nodes = self.nodes();
            if let Some(id) = nodes.known(&found) {
                nodes.moved(id, parent, name);
            }
        }
    }

    /// CREATE: make and open, or open what is there.
    pub(super) fn create(
        &self,
        worker: &Worker,
        header: &Header,
        mut args: Args<'_>,
    ) -> Result<Reply> {
        let (flags, mode, umask, kill) = (args.u32()?, args.u32()?, args.u32()?, args.u32()?);
        let name = args.name()?;
        self.writable()?;
        self.handles.room()?;
        let directory = self.node(header.node)?;
        let asked = OFlags::from_bits_retain(flags);
        let host = host_flags(asked);
        let make = host.difference(OFlags::TRUNC)
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let acting = worker.act_for(header, umask)?;
        let made = self.patient(|| openat(&*directory, name, make, permissions(mode)));
        drop(acting);
        match made {
            Ok(fd) => {
                let stat = stat_fd(&fd)?;
                let id = self
                    .nodes()
                    .seen(self.identify_fd(&fd)?, header.node, name)?;
                self.opened(self.entry(Reply::new(), id, &stat), id, fd, asked)
            }
            Err(Errno::EXIST) if !asked.contains(OFlags::EXCL) => {
                let (id, _) = self.look_up(header.node, name)?;
                let opened = self.open_file(worker, id, asked, kill).and_then(|fd| {
                    // Looked at after it was truncated.
                    let stat = stat_fd(&fd)?;
                    self.opened(self.entry(Reply::new(), id, &stat), id, fd, asked)
                });
                if opened.is_err() {
                    let closed = self.nodes().forget(id, 1);
                    drop(closed);
                }
                opened
            }
            Err(error) => Err(error),
        }
    }

    /// TMPFILE: a file without a name.
    pub(super) fn tmpfile(
        &self,
        worker: &Worker,
        header: &Header,
        mut args: Args<'_>,
    ) -> Result<Reply> {
        let (flags, mode, umask, _) = (args.u32()?, args.u32()?, args.u32()?, args.u32()?);
        self.writable()?;
        self.handles.room()?;
        let directory = self.node(header.node)?;
        let asked = OFlags::from_bits_retain(flags);
        let make = host_flags(asked) | OFlags::TMPFILE | (asked & OFlags::EXCL) | OFlags::CLOEXEC;
        let acting = worker.act_for(header, umask)?;
        let fd = self.patient(|| openat(&*directory, c".", make, permissions(mode)))?;
        drop(acting);
        let through = DecInt::from_fd(&fd);
        let path = OFlags::PATH | OFlags::CLOEXEC;
        let node = openat(&*self.descriptors, through, path, Mode::empty())?;
        let (found, stat) = (self.identify_fd(&fd)?, stat_fd(&fd)?);
        let closed = {
            let mut nodes = self.nodes();
            let id = nodes.seen(found, header.node, c"")?;
            let (_, closed) = nodes.keep(id, node);
            nodes.pin(id);
            (id, closed)
        };
        let (id, _) = closed;
        self.opened(self.entry(Reply::new(), id, &stat), id, fd, asked)
    }
}

/// Flags of the guest's open that mean something here. Alignment is the guest's affair
/// (`O_DIRECT`); appending and truncating are done as asked.
pub(super) fn host_flags(flags: OFlags) -> OFlags {
    flags
        & (OFlags::RWMODE
            | OFlags::APPEND
            | OFlags::TRUNC
            | OFlags::SYNC
            | OFlags::DSYNC
            | OFlags::NOATIME)
}

pub(super) fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}
