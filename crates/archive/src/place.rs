//! Creates one entry of each kind in a [`Tree`].

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;

use crate::entry::{Entry, Kind};
use crate::error::{Error, Result, failed, shown};
use crate::path::{Name, file_type, join, open_dir_place, open_place, stat};
use crate::reader::TarReader;
use crate::tree::{DEFAULT_ACL, Dir, Tree, chown, is_whiteout, times};
use crate::xattr::{Carrier, proc_path, set_all};

impl Tree<'_> {
    /// Creates what an entry says, contents included. Hard links are [`Tree::hard_link`]'s.
    pub(crate) fn place<R: Read>(
        &mut self,
        name: &Name,
        entry: &Entry,
        tar: &mut TarReader<R>,
    ) -> Result<()> {
        if name.is_root() {
            return self.root_entry(entry);
        }
        let dir = self.parent(name.parent())?;
        let real = join(&dir.real, name.base());
        match entry.kind {
            Kind::File => self.file(&dir, name.base(), &real, entry, tar),
            Kind::Directory => self.directory(&dir, name.base(), &real, entry),
            Kind::Symlink => self.symlink(&dir, name.base(), &real, entry),
            Kind::CharDevice | Kind::BlockDevice if !self.settings.devices => {
                self.left_out.insert(real);
                Ok(())
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                self.special(&dir, name.base(), &real, entry)
            }
            Kind::HardLink => Ok(()),
        }
    }

    fn file<R: Read>(
        &mut self,
        dir: &Dir,
        name: &[u8],
        real: &[u8],
        entry: &Entry,
        tar: &mut TarReader<R>,
    ) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::NOCTTY;
        let fd = self.create(dir, name, real, |dir, name| {
            rustix::fs::openat(dir, name, flags, mode)
        })?;
        let mut file = File::from(fd);
        self.contents(&mut file, real, entry, tar)?;
        let (uid, gid) = self.settings.owners.of(real, entry.uid, entry.gid)?;
        if self.must_chown(dir, uid, gid) {
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(failed("change the owner of", real))?;
        }
        if self.must_chmod(entry.mode) {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode & 0o7777))
                .map_err(failed("change the mode of", real))?;
        }
        if !entry.xattrs.is_empty() {
            self.skipped_xattrs += set_all(
                Carrier::Open(file.as_fd()),
                &entry.xattrs,
                self.settings.lenient,
                real,
            )?;
        }
        rustix::fs::futimens(&file, &times(entry.mtime)).map_err(failed("set the time of", real))
    }

    fn contents<R: Read>(
        &mut self,
        file: &mut File,
        real: &[u8],
        entry: &Entry,
        tar: &mut TarReader<R>,
    ) -> Result<()> {
        let failed = |source| Error::Io {
            op: "write",
            path: shown(real),
            source,
        };
        let Some(segments) = &entry.sparse else {
            loop {
                let chunk = tar.chunk()?;
                if chunk.is_empty() {
                    return Ok(());
                }
                file.write_all(chunk).map_err(failed)?;
                self.bytes += chunk.len() as u64;
            }
        };
        // The stream has just the segments' bytes: its chunks and the segments overlap freely.
        let mut segments = segments.iter().copied();
        let mut current = segments.next();
        loop {
            let mut chunk = tar.chunk()?;
            if chunk.is_empty() {
                break;
            }
            self.bytes += chunk.len() as u64;
            while let Some(segment) = current.as_mut().filter(|_| !chunk.is_empty()) {
                let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
                let (now, later) = chunk.split_at(len.min(chunk.len()));
                file.write_all_at(now, segment.offset).map_err(failed)?;
                segment.offset += now.len() as u64;
                segment.len -= now.len() as u64;
                if segment.len == 0 {
                    current = segments.next();
                }
                chunk = later;
            }
        }
        file.set_len(entry.size).map_err(failed)
    }

    fn directory(&mut self, dir: &Dir, name: &[u8], real: &[u8], entry: &Entry) -> Result<()> {
        // Its owner needs to get in until everything is there.
        let first = entry.mode & 0o777 | 0o700;
        let mkdir = |dir: &Dir| rustix::fs::mkdirat(&dir.fd, name, Mode::from_raw_mode(first));
        let (uid, gid) = self.settings.owners.of(real, entry.uid, entry.gid)?;
        let mut merged = false;
        let mut hides = false;
        match mkdir(dir) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let found = stat(dir.fd.as_fd(), name).map_err(failed("stat", real))?;
                if file_type(&found) == FileType::Directory {
                    merged = true;
                } else if self.settings.keep_type {
                    return Err(Error::NonDirectoryInTheWay { path: shown(real) });
                } else {
                    hides = self.settings.layer.is_some() && is_whiteout(&found);
                    self.clear(dir, name, real, &found)?;
                    mkdir(dir).map_err(failed("create the directory", real))?;
                }
            }
            Err(e) => return Err(failed("create the directory", real)(e)),
        }
        if merged || self.must_chown(dir, uid, gid) {
            chown(dir.fd.as_fd(), name, uid, gid).map_err(failed("change the owner of", real))?;
            // Its group is remembered with its descriptor.
            self.dirs.retain(|dir| dir.real != real);
            self.next_slot = 0;
        }
        if hides || !entry.xattrs.is_empty() {
            let fd = open_dir_place(dir.fd.as_fd(), name).map_err(failed("open", real))?;
            if hides {
                self.set_opaque(fd.as_fd(), real)?;
            }
            self.dir_xattrs(fd.as_fd(), real, entry)?;
        }
        let as_made = !merged && first == entry.mode && !self.must_chmod(entry.mode);
        self.be_late(real, entry, !as_made);
        self.implied.remove(real);
        Ok(())
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Error::InvalidName {
                path: shown(&entry.path),
                reason: "the root must be a directory",
            });
        }
        if !self.settings.root_entry {
            return Ok(());
        }
        let (uid, gid) = self.settings.owners.of(b"", entry.uid, entry.gid)?;
        let found = rustix::fs::fstat(self.root).map_err(failed("stat", b""))?;
        if (found.st_uid, found.st_gid) != (uid, gid) {
            chown(self.root, b"", uid, gid).map_err(failed("change the owner of", b""))?;
            self.dirs.clear();
            self.next_slot = 0;
        }
        self.dir_xattrs(self.root, b"", entry)?;
        self.be_late(b"", entry, true);
        Ok(())
    }

    /// Sets a directory's attributes, but keeps the default ACL for later: it would change the
    /// modes of everything that is created inside.
    fn dir_xattrs(&mut self, fd: BorrowedFd<'_>, real: &[u8], entry: &Entry) -> Result<()> {
        let mut now = Vec::new();
        for (name, value) in &entry.xattrs {
            if name == DEFAULT_ACL {
                self.late.entry(real.to_vec()).or_default().default_acl = Some(value.clone());
            } else {
                now.push((name.clone(), value.clone()));
            }
        }
        self.skipped_xattrs += set_all(Carrier::Place(fd), &now, self.settings.lenient, real)?;
        Ok(())
    }

    fn symlink(&mut self, dir: &Dir, name: &[u8], real: &[u8], entry: &Entry) -> Result<()> {
        if entry.link.is_empty() || entry.link.contains(&0) {
            return Err(Error::InvalidName {
                path: shown(&entry.path),
                reason: "a symbolic link to nothing",
            });
        }
        self.create(dir, name, real, |dir, name| {
            rustix::fs::symlinkat(&entry.link[..], dir, name)
        })?;
        let (uid, gid) = self.settings.owners.of(real, entry.uid, entry.gid)?;
        if self.must_chown(dir, uid, gid) {
            chown(dir.fd.as_fd(), name, uid, gid).map_err(failed("change the owner of", real))?;
        }
        if !entry.xattrs.is_empty() {
            let fd = open_place(dir.fd.as_fd(), name).map_err(failed("open", real))?;
            self.skipped_xattrs += set_all(
                Carrier::Place(fd.as_fd()),
                &entry.xattrs,
                self.settings.lenient,
                real,
            )?;
        }
        rustix::fs::utimensat(
            &dir.fd,
            name,
            &times(entry.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(failed("set the time of", real))
    }

    /// Devices and pipes.
    fn special(&mut self, dir: &Dir, name: &[u8], real: &[u8], entry: &Entry) -> Result<()> {
        let kind = match entry.kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let (major, minor) = if kind == FileType::Fifo {
            (0, 0)
        } else {
            entry.device
        };
        let device = makedev(major, minor);
        self.create(dir, name, real, |dir, name| {
            rustix::fs::mknodat(dir, name, kind, mode, device)
        })?;
        let (uid, gid) = self.settings.owners.of(real, entry.uid, entry.gid)?;
        let fd = open_place(dir.fd.as_fd(), name).map_err(failed("open", real))?;
        self.attributes(fd.as_fd(), real, entry, (uid, gid), true)
    }

    /// Owner, mode, attributes and time by an `O_PATH` descriptor.
    fn attributes(
        &mut self,
        fd: BorrowedFd<'_>,
        real: &[u8],
        entry: &Entry,
        (uid, gid): (u32, u32),
        with_mode: bool,
    ) -> Result<()> {
        chown(fd, b"", uid, gid).map_err(failed("change the owner of", real))?;
        let path = proc_path(fd);
        if with_mode {
            rustix::fs::chmod(&path, Mode::from_raw_mode(entry.mode & 0o7777))
                .map_err(failed("change the mode of", real))?;
        }
        self.skipped_xattrs += set_all(
            Carrier::Place(fd),
            &entry.xattrs,
            self.settings.lenient,
            real,
        )?;
        rustix::fs::utimensat(
            rustix::fs::CWD,
            &path,
            &times(entry.mtime),
            AtFlags::empty(),
        )
        .map_err(failed("set the time of", real))
    }

    /// Gives an earlier entry another name. False where the target isn't in this tree.
    pub(crate) fn hard_link(&mut self, name: &Name, entry: &Entry, target: &Name) -> Result<bool> {
        if name.is_root() || target.is_root() {
            return Err(self.link_to_directory(name, target));
        }
        let from = match self.existing(target.parent()) {
            Ok(dir) => dir,
            Err(Error::NotFound { .. } | Error::NotADirectory { .. }) => return Ok(false),
            Err(e) => return Err(e),
        };
        let from_real = join(&from.real, target.base());
        if self.left_out.contains(&from_real) {
            let dir = self.parent(name.parent())?;
            self.left_out.insert(join(&dir.real, name.base()));
            return Ok(true);
        }
        let found = match stat(from.fd.as_fd(), target.base()) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(failed("stat", &from_real)(e)),
        };
        if self.settings.layer.is_some() && is_whiteout(&found) {
            return Ok(false);
        }
        if file_type(&found) == FileType::Directory {
            return Err(self.link_to_directory(name, target));
        }
        let dir = self.parent(name.parent())?;
        let real = join(&dir.real, name.base());
        if real == from_real {
            return Ok(true);
        }
        let linked = self.create(&dir, name.base(), &real, |dir, name| {
            rustix::fs::linkat(&from.fd, target.base(), dir, name, AtFlags::empty())
        });
        match linked {
            // The target was inside the directory that the link replaces.
            Err(Error::NotFound { .. }) => {
                return Err(Error::LinkTargetMissing {
                    path: shown(name.as_bytes()),
                    target: shown(target.as_bytes()),
                });
            }
            other => other?,
        }
        // As in every engine, the last entry's word on the shared attributes counts; nearly always
        // it says the same.
        let (uid, gid) = self.settings.owners.of(&real, entry.uid, entry.gid)?;
        let with_mode = file_type(&found) != FileType::Symlink;
        let same = (found.st_uid, found.st_gid) == (uid, gid)
            && (!with_mode || found.st_mode & 0o7777 == entry.mode)
            && (found.st_mtime, found.st_mtime_nsec as u32)
                == (entry.mtime.secs, entry.mtime.nanos);
        if !same {
            let fd = open_place(dir.fd.as_fd(), name.base()).map_err(failed("open", &real))?;
            self.attributes(fd.as_fd(), &real, entry, (uid, gid), with_mode)?;
        }
        Ok(true)
    }

    fn link_to_directory(&self, name: &Name, target: &Name) -> Error {
        Error::LinkToDirectory {
            path: shown(name.as_bytes()),
            target: shown(target.as_bytes()),
        }
    }
}
