//! Looking into the layers below one that was unpacked: for hard links to what they hold, and for
//! the attributes of directories that the layer doesn't describe.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::error::{Error, Result, failed, shown};
use crate::path::{
    file_type, join, open_dir_place, open_place, open_plain, open_root, push, split, stat,
};
use crate::tree::{chown, is_whiteout};
use crate::walk::LIST;
use crate::xattr::{Carrier, OverlayAttrs, is_overlay, proc_path};

/// The lower layers of an overlay, seen as overlayfs would show them.
pub struct LowerView {
    layers: Vec<OwnedFd>,
    attrs: OverlayAttrs,
}

/// Something found in a lower layer.
pub struct Found {
    dir: OwnedFd,
    name: Vec<u8>,
    stat: Stat,
}

impl LowerView {
    /// Looks into `layers`, topmost first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::Io`].
    pub fn open(layers: &[PathBuf], attrs: OverlayAttrs) -> Result<LowerView> {
        let layers = layers
            .iter()
            .map(|path| open_root(path))
            .collect::<Result<_>>()?;
        Ok(LowerView { layers, attrs })
    }

    /// Finds a normal path relative to the root (no `.`, no `..`, no empty components; empty for
    /// the root itself). Symbolic links aren't followed, not in the parents either.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn find(&self, path: &[u8]) -> Result<Option<Found>> {
        for layer in &self.layers {
            let search = self.find_in(layer.as_fd(), path)?;
            if search.found.is_some() || search.last {
                return Ok(search.found);
            }
        }
        Ok(None)
    }

    /// The names in the directory at a normal path, all layers' together; empty where there is no
    /// directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn names(&self, path: &[u8]) -> Result<BTreeSet<Vec<u8>>> {
        let mut names = BTreeSet::new();
        let mut hidden = BTreeSet::new();
        for layer in &self.layers {
            let search = self.find_in(layer.as_fd(), path)?;
            let found = match search.found {
                Some(found) if found.is_dir() => found,
                Some(_) => break,
                None if search.last => break,
                None => continue,
            };
            let dir = rustix::fs::openat(&found.dir, &found.name[..], LIST, Mode::empty())
                .map_err(failed("open", path))?;
            for entry in Dir::read_from(&dir).map_err(failed("list", path))? {
                let entry = entry.map_err(failed("list", path))?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." || hidden.contains(name) {
                    continue;
                }
                let stat = stat(dir.as_fd(), name).map_err(failed("stat", path))?;
                if self.is_hidden(dir.as_fd(), name, &stat)? {
                    hidden.insert(name.to_vec());
                } else if !names.contains(name) {
                    names.insert(name.to_vec());
                }
            }
            // A name that this layer shows can't be hidden for it by one further down.
            if search.last {
                break;
            }
        }
        Ok(names)
    }

    fn find_in(&self, layer: BorrowedFd<'_>, path: &[u8]) -> Result<Search> {
        let mut dir = open_place(layer, b".").map_err(failed("open", path))?;
        let mut last = false;
        let mut parts = path.split(|b| *b == b'/').peekable();
        if path.is_empty() {
            let stat = rustix::fs::fstat(&dir).map_err(failed("stat", path))?;
            return Ok(Search {
                found: Some(Found {
                    dir,
                    name: b".".to_vec(),
                    stat,
                }),
                last,
            });
        }
        while let Some(part) = parts.next() {
            let found = match stat(dir.as_fd(), part) {
                Ok(found) => found,
                Err(Errno::NOENT) => return Ok(Search { found: None, last }),
                Err(e) => return Err(failed("stat", path)(e)),
            };
            if self.is_hidden(dir.as_fd(), part, &found)? {
                return Ok(Search {
                    found: None,
                    last: true,
                });
            }
            let is_dir = file_type(&found) == FileType::Directory;
            if is_dir {
                let inside = open_dir_place(dir.as_fd(), part).map_err(failed("open", path))?;
                let mark = Carrier::Place(inside.as_fd()).get(self.attrs.opaque().as_bytes());
                last |= mark
                    .map_err(failed("read an attribute of", path))?
                    .as_deref()
                    == Some(b"y");
                if parts.peek().is_none() {
                    let found = Found {
                        dir,
                        name: part.to_vec(),
                        stat: found,
                    };
                    return Ok(Search {
                        found: Some(found),
                        last,
                    });
                }
                dir = inside;
            } else if parts.peek().is_none() {
                let found = Found {
                    dir,
                    name: part.to_vec(),
                    stat: found,
                };
                return Ok(Search {
                    found: Some(found),
                    last: true,
                });
            } else {
                return Ok(Search {
                    found: None,
                    last: true,
                });
            }
        }
        Ok(Search { found: None, last })
    }

    /// Whether a file is a whiteout: the device, or the form of it where devices can't be made.
    fn is_hidden(&self, dir: BorrowedFd<'_>, name: &[u8], found: &Stat) -> Result<bool> {
        if is_whiteout(found) {
            return Ok(true);
        }
        if file_type(found) != FileType::RegularFile || found.st_size != 0 {
            return Ok(false);
        }
        let fd = open_place(dir, name).map_err(failed("open", name))?;
        let mark = Carrier::Place(fd.as_fd()).get(self.attrs.whiteout().as_bytes());
        Ok(mark
            .map_err(failed("read an attribute of", name))?
            .is_some())
    }
}

/// What one layer says about a path.
struct Search {
    found: Option<Found>,
    /// Layers further down have no say: the path, or a parent of it, is deleted or replaced here.
    last: bool,
}

impl Found {
    /// Its status.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// What it is.
    pub fn file_type(&self) -> FileType {
        file_type(&self.stat)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Its file capabilities (`security.capability`), as stored.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn capability(&self) -> Result<Option<Vec<u8>>> {
        let fd = open_place(self.dir.as_fd(), &self.name).map_err(failed("open", &self.name))?;
        capability(fd.as_fd(), &self.name)
    }

    /// Gives the file or directory at `to` (may be `O_PATH`) its owner, mode, extended attributes
    /// and time. `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn copy_attributes(&self, to: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        let from = open_place(self.dir.as_fd(), &self.name).map_err(failed("open", path))?;
        chown(to, b"", self.stat.st_uid, self.stat.st_gid)
            .map_err(failed("change the owner of", path))?;
        let to_path = proc_path(to);
        if self.file_type() != FileType::Symlink {
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
    fn copy_up(&self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<()> {
        let kind = self.file_type();
        match kind {
            // Named only when it is complete, and on disk: a layer that was interrupted here is
            // taken up again.
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let from = rustix::fs::openat(&self.dir, &self.name[..], flags, Mode::empty())
                    .map_err(failed("open", path))?;
                let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
                // The directory is an O_PATH descriptor.
                let to = rustix::fs::openat(dir, ".", flags, Mode::RUSR | Mode::WUSR)
                    .map_err(failed("create", path))?;
                let mut to = File::from(to);
                std::io::copy(&mut File::from(from), &mut to).map_err(|source| Error::Io {
                    op: "copy",
                    path: shown(path),
                    source,
                })?;
                self.copy_attributes(to.as_fd(), path)?;
                rustix::fs::fsync(&to).map_err(failed("synchronise", path))?;
                return rustix::fs::linkat(
                    rustix::fs::CWD,
                    proc_path(&to),
                    dir,
                    name,
                    AtFlags::SYMLINK_FOLLOW,
                )
                .map_err(failed("create", path));
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
pub(crate) fn adopt(root: BorrowedFd<'_>, below: &LowerView, implied: &[Vec<u8>]) -> Result<()> {
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
pub(crate) fn link(
    root: BorrowedFd<'_>,
    below: &LowerView,
    path: &[u8],
    target: &[u8],
) -> Result<()> {
    let missing = || Error::LinkTargetMissing {
        path: shown(path),
        target: shown(target),
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
                    path: shown(path),
                    target: shown(target),
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
fn parents(root: BorrowedFd<'_>, below: &LowerView, path: &[u8]) -> Result<(OwnedFd, Vec<u8>)> {
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

/// A file's capabilities (`security.capability`), by an `O_PATH` descriptor. `path` is for
/// messages.
///
/// # Errors
/// [`Error::Io`].
pub fn capability(fd: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Vec<u8>>> {
    let value = Carrier::Place(fd).get(b"security.capability");
    value.map_err(failed("read an attribute of", path))
}
