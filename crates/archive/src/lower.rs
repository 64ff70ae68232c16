//! Looking into the layers below one that was unpacked: for hard links to what they hold, and for
//! the attributes of directories that the layer doesn't describe.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::error::{Error, Result, failed};
use crate::path::{join, open_dir_place, open_place, open_plain, open_root, push, split, stat};
use crate::tree::{chown, is_whiteout};
use crate::xattr::{Carrier, OverlayAttrs, is_overlay, proc_path};

/// The layers below, topmost first, seen as overlayfs would show them.
pub(crate) struct Below {
    layers: Vec<OwnedFd>,
    attrs: OverlayAttrs,
}

/// Something found in a lower layer.
pub(crate) struct Found {
    dir: OwnedFd,
    name: Vec<u8>,
    stat: Stat,
}

impl Below {
    pub(crate) fn open(layers: &[PathBuf], attrs: OverlayAttrs) -> Result<Below> {
        let layers = layers
            .iter()
            .map(|path| open_root(path))
            .collect::<Result<_>>()?;
        Ok(Below { layers, attrs })
    }

    /// Finds a normal path. Symbolic links aren't followed: what a link in another layer leads to
    /// is for the overlay to decide, and nobody's hard links go through one.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Option<Found>> {
        for layer in &self.layers {
            match self.find_in(layer.as_fd(), path)? {
                Search::Found(found) => return Ok(Some(found)),
                Search::Hidden => return Ok(None),
                Search::Below => {}
            }
        }
        Ok(None)
    }

    fn find_in(&self, layer: BorrowedFd<'_>, path: &[u8]) -> Result<Search> {
        let mut dir = open_place(layer, b".").map_err(failed("open", path))?;
        let mut opaque = false;
        let mut parts = path.split(|b| *b == b'/').peekable();
        while let Some(part) = parts.next() {
            let found = match stat(dir.as_fd(), part) {
                Ok(found) => found,
                Err(Errno::NOENT) => {
                    return Ok(if opaque {
                        Search::Hidden
                    } else {
                        Search::Below
                    });
                }
                Err(e) => return Err(failed("stat", path)(e)),
            };
            if is_whiteout(&found) || self.is_marked_whiteout(dir.as_fd(), part, &found)? {
                return Ok(Search::Hidden);
            }
            if parts.peek().is_none() {
                return Ok(Search::Found(Found {
                    dir,
                    name: part.to_vec(),
                    stat: found,
                }));
            }
            if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
                return Ok(Search::Hidden);
            }
            dir = open_dir_place(dir.as_fd(), part).map_err(failed("open", path))?;
            let mark = Carrier::Place(dir.as_fd()).get(self.attrs.opaque().as_bytes());
            opaque |= mark
                .map_err(failed("read an attribute of", path))?
                .as_deref()
                == Some(b"y");
        }
        Ok(Search::Below)
    }

    /// The form of whiteouts where devices can't be made.
    fn is_marked_whiteout(&self, dir: BorrowedFd<'_>, name: &[u8], found: &Stat) -> Result<bool> {
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || found.st_size != 0 {
            return Ok(false);
        }
        let fd = open_place(dir, name).map_err(failed("open", name))?;
        let mark = Carrier::Place(fd.as_fd()).get(self.attrs.whiteout().as_bytes());
        Ok(mark
            .map_err(failed("read an attribute of", name))?
            .is_some())
    }
}

enum Search {
    Found(Found),
    /// Deleted here: layers further down don't matter.
    Hidden,
    /// Not here: look further down.
    Below,
}

impl Found {
    pub(crate) fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    /// Gives a directory or file the attributes of the one found.
    pub(crate) fn copy_attributes(&self, to: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        let from = open_place(self.dir.as_fd(), &self.name).map_err(failed("open", path))?;
        chown(to, b"", self.stat.st_uid, self.stat.st_gid)
            .map_err(failed("change the owner of", path))?;
        let to_path = proc_path(to);
        if FileType::from_raw_mode(self.stat.st_mode) != FileType::Symlink {
            rustix::fs::chmod(&to_path, Mode::from_raw_mode(self.stat.st_mode & 0o7777))
                .map_err(failed("change the mode of", path))?;
        }
        let names = Carrier::Place(from.as_fd()).names();
        for name in names.map_err(failed("list the attributes of", path))? {
            if is_overlay(&name) {
                continue;
            }
            let value = Carrier::Place(from.as_fd()).get(&name);
            if let Some(value) = value.map_err(failed("read an attribute of", path))? {
                match Carrier::Place(to).set(&name, &value) {
                    Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                    Err(e) => return Err(failed("set an extended attribute of", path)(e)),
                }
            }
        }
        let time = Timespec {
            tv_sec: self.stat.st_mtime,
            tv_nsec: self.stat.st_mtime_nsec as _,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(rustix::fs::CWD, &to_path, &times, AtFlags::empty())
            .map_err(failed("set the time of", path))
    }

    /// Copies a non-directory to `name` in `dir`, as overlayfs does before something is written.
    pub(crate) fn copy_up(&self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<()> {
        let kind = FileType::from_raw_mode(self.stat.st_mode);
        match kind {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let from = rustix::fs::openat(&self.dir, &self.name[..], flags, Mode::empty())
                    .map_err(failed("open", path))?;
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let to = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
                    .map_err(failed("create", path))?;
                std::io::copy(&mut File::from(from), &mut File::from(to)).map_err(|source| {
                    Error::Io {
                        op: "copy",
                        path: crate::error::shown(path),
                        source,
                    }
                })?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&self.dir, &self.name[..], Vec::new())
                    .map_err(failed("read the link", path))?;
                rustix::fs::symlinkat(&target, dir, name).map_err(failed("create", path))?;
            }
            _ => {
                let mode = Mode::from_raw_mode(self.stat.st_mode & 0o777);
                rustix::fs::mknodat(dir, name, kind, mode, self.stat.st_rdev)
                    .map_err(failed("create", path))?;
            }
        }
        let to = open_place(dir, name).map_err(failed("open", path))?;
        self.copy_attributes(to.as_fd(), path)
    }
}

/// Keeps a directory's time while something is put into it.
struct Kept<'a> {
    dir: BorrowedFd<'a>,
    times: Timestamps,
}

impl<'a> Kept<'a> {
    fn new(dir: BorrowedFd<'a>, path: &[u8]) -> Result<Kept<'a>> {
        let stat = rustix::fs::fstat(dir).map_err(failed("stat", path))?;
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let times = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec as _),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
        };
        Ok(Kept { dir, times })
    }

    fn restore(self, path: &[u8]) -> Result<()> {
        rustix::fs::utimensat(
            rustix::fs::CWD,
            proc_path(self.dir),
            &self.times,
            AtFlags::empty(),
        )
        .map_err(failed("set the time of", path))
    }
}

/// Gives directories that the layer doesn't describe the attributes that they have below.
pub(crate) fn adopt(root: BorrowedFd<'_>, below: &Below, implied: &[Vec<u8>]) -> Result<()> {
    for path in implied {
        let fd = match open_plain(root, path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(e) => return Err(failed("open", path)(e)),
        };
        let attrs = Carrier::Place(fd.as_fd()).get(below.attrs.opaque().as_bytes());
        if attrs
            .map_err(failed("read an attribute of", path))?
            .as_deref()
            == Some(b"y")
        {
            continue;
        }
        if let Some(found) = below.find(path)?.filter(Found::is_dir) {
            found.copy_attributes(fd.as_fd(), path)?;
        }
    }
    Ok(())
}

/// Makes hard link `path` to `target`, which is copied up from below if it isn't there yet.
pub(crate) fn link(root: BorrowedFd<'_>, below: &Below, path: &[u8], target: &[u8]) -> Result<()> {
    let missing = || Error::LinkTargetMissing {
        path: crate::error::shown(path),
        target: crate::error::shown(target),
    };
    let (to_dir, to) = match open_parent(root, path) {
        Ok(found) => found,
        // The archive replaced the directory later on.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(e) => return Err(failed("open", path)(e)),
    };
    if stat(to_dir.as_fd(), &to).is_ok() {
        return Ok(());
    }
    let (from_dir, from) = parents(root, below, target)?;
    match stat(from_dir.as_fd(), &from) {
        Ok(found) if is_whiteout(&found) => return Err(missing()),
        Ok(_) => {}
        Err(Errno::NOENT) => {
            let found = below.find(target)?.ok_or_else(missing)?;
            if found.is_dir() {
                return Err(Error::LinkToDirectory {
                    path: crate::error::shown(path),
                    target: crate::error::shown(target),
                });
            }
            let kept = Kept::new(from_dir.as_fd(), target)?;
            found.copy_up(from_dir.as_fd(), &from, target)?;
            kept.restore(target)?;
        }
        Err(e) => return Err(failed("stat", target)(e)),
    }
    let kept = Kept::new(to_dir.as_fd(), path)?;
    rustix::fs::linkat(&from_dir, &from, &to_dir, &to, AtFlags::empty())
        .map_err(failed("link", path))?;
    kept.restore(path)
}

fn open_parent(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<(OwnedFd, Vec<u8>)> {
    let (end, start) = split(path);
    let parent = path.get(..end).unwrap_or_default();
    let dir = open_plain(root, parent, OFlags::PATH | OFlags::DIRECTORY)?;
    Ok((dir, path.get(start..).unwrap_or_default().to_vec()))
}

/// Opens the parent of a path, with directories created as they are below.
fn parents(root: BorrowedFd<'_>, below: &Below, path: &[u8]) -> Result<(OwnedFd, Vec<u8>)> {
    let (end, start) = split(path);
    let name = path.get(start..).unwrap_or_default().to_vec();
    let mut dir = open_place(root, b".").map_err(failed("open", path))?;
    let mut here = Vec::new();
    let parent = path.get(..end).unwrap_or_default();
    for part in parent.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        push(&mut here, part);
        let kept = Kept::new(dir.as_fd(), &here)?;
        match rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                kept.restore(&here)?;
                let made = open_dir_place(dir.as_fd(), part).map_err(failed("open", &here))?;
                if let Some(found) = below.find(&here)?.filter(Found::is_dir) {
                    found.copy_attributes(made.as_fd(), &here)?;
                }
                dir = made;
            }
            Err(Errno::EXIST) => {
                dir = open_dir_place(dir.as_fd(), part).map_err(failed("open", &here))?;
            }
            Err(e) => return Err(failed("create the directory", &here)(e)),
        }
    }
    Ok((dir, join(b"", &name)))
}
