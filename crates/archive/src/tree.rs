//! Creates files in a tree, entry by entry, with as few system calls as each needs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::entry::{Entry, Time};
use crate::error::{Error, Result, failed, shown};
use crate::owner::Owners;
use crate::path::{Missing, file_type, open_dir_place, open_plain, resolve, stat};
use crate::remove::remove_tree;
use crate::xattr::{Carrier, OverlayAttrs, proc_path, set_all};

/// Directories that are held open. Archives list a directory's entries together, so few suffice.
const CACHED: usize = 16;

/// The attribute by which a directory hands access rules to whatever is created in it.
pub(crate) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Permissions of directories that the archive has entries below but none for.
const IMPLIED: u32 = 0o755;

/// How a tree is filled.
pub(crate) struct Settings {
    pub(crate) owners: Owners,
    /// Device nodes are made; otherwise they are skipped.
    pub(crate) devices: bool,
    /// The tree becomes an overlay's lower layer: whiteouts have a meaning.
    pub(crate) layer: Option<OverlayAttrs>,
    /// A directory is never replaced by something else, nor the other way round.
    pub(crate) keep_type: bool,
    /// The archive's entry for the root changes the root's owner, mode and time.
    pub(crate) root_entry: bool,
    /// Attributes that need privileges are skipped where the caller has none.
    pub(crate) lenient: bool,
    /// The tree may have anything in it already: don't count on what creating a file gives.
    pub(crate) exact: bool,
}

/// A tree that is being filled.
pub(crate) struct Tree<'a> {
    pub(crate) root: BorrowedFd<'a>,
    pub(crate) settings: Settings,
    pub(crate) dirs: Vec<Rc<Dir>>,
    pub(crate) next_slot: usize,
    /// Modes and times that directories get at the end, by real path.
    pub(crate) late: BTreeMap<Vec<u8>, Late>,
    /// Directories that the archive has no entry for so far.
    pub(crate) implied: BTreeSet<Vec<u8>>,
    /// Devices that were left out, so that hard links to them are too.
    pub(crate) left_out: HashSet<Vec<u8>>,
    umask: u32,
    owner: (u32, u32),
    pub(crate) bytes: u64,
    pub(crate) skipped_xattrs: u64,
}

/// An open directory.
pub(crate) struct Dir {
    /// As the archive has it.
    path: Vec<u8>,
    /// Without symbolic links.
    pub(crate) real: Vec<u8>,
    pub(crate) fd: OwnedFd,
    /// New files may get this group instead of the process's (setgid, or mounted with `grpid`).
    gid: u32,
}

#[derive(Default)]
pub(crate) struct Late {
    mode: Option<u32>,
    mtime: Time,
    pub(crate) default_acl: Option<Vec<u8>>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, mut settings: Settings) -> Result<Tree<'a>> {
        let acl = Carrier::Place(root).get(DEFAULT_ACL);
        settings.exact |= acl
            .map_err(failed("read the default ACL of", b""))?
            .is_some();
        let owner = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Ok(Tree {
            root,
            settings,
            dirs: Vec::with_capacity(CACHED),
            next_slot: 0,
            late: BTreeMap::new(),
            implied: BTreeSet::new(),
            left_out: HashSet::new(),
            umask: umask(),
            owner,
            bytes: 0,
            skipped_xattrs: 0,
        })
    }

    /// How many devices were left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.len() as u64
    }

    /// The directory at a path, created where it is missing.
    pub(crate) fn parent(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        if let Some(dir) = self.dirs.iter().find(|dir| dir.path == path) {
            return Ok(Rc::clone(dir));
        }
        let (real, fd) = match open_plain(self.root, path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(fd) => (path.to_vec(), fd),
            // Missing, or with a symbolic link in it.
            Err(_) => {
                let root = self.root;
                let mut make =
                    |dir: BorrowedFd<'_>, name: &[u8], real: &[u8], found: Option<&Stat>| {
                        self.make_implied(dir, name, real, found)
                    };
                let place = resolve(root, path, true, Missing::Make(&mut make))?;
                let fd = place
                    .fd
                    .ok_or_else(|| Error::NotFound { path: shown(path) })?;
                (place.real, fd)
            }
        };
        let gid = rustix::fs::fstat(&fd)
            .map_err(failed("stat", &real))?
            .st_gid;
        let dir = Rc::new(Dir {
            path: path.to_vec(),
            real,
            fd,
            gid,
        });
        match self.dirs.get_mut(self.next_slot) {
            Some(slot) => *slot = Rc::clone(&dir),
            None => self.dirs.push(Rc::clone(&dir)),
        }
        self.next_slot = (self.next_slot + 1) % CACHED;
        Ok(dir)
    }

    /// A directory that the archive has no entry for (yet).
    fn make_implied(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        real: &[u8],
        found: Option<&Stat>,
    ) -> Result<OwnedFd> {
        let hidden = match found {
            Some(stat) if self.settings.layer.is_some() && is_whiteout(stat) => {
                rustix::fs::unlinkat(dir, name, AtFlags::empty())
                    .map_err(failed("remove", real))?;
                true
            }
            Some(_) => return Err(Error::NotADirectory { path: shown(real) }),
            None => false,
        };
        match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(IMPLIED)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed("create the directory", real)(e)),
        }
        let fd = open_dir_place(dir, name).map_err(failed("open", real))?;
        let (uid, gid) = self.settings.owners.of(real, 0, 0)?;
        let made = rustix::fs::fstat(&fd).map_err(failed("stat", real))?;
        if (made.st_uid, made.st_gid) != (uid, gid) {
            chown(fd.as_fd(), b"", uid, gid).map_err(failed("change the owner of", real))?;
        }
        if made.st_mode & 0o7777 != IMPLIED {
            rustix::fs::chmod(proc_path(&fd), Mode::from_raw_mode(IMPLIED))
                .map_err(failed("change the mode of", real))?;
        }
        if hidden {
            self.set_opaque(fd.as_fd(), real)?;
        }
        self.implied.insert(real.to_vec());
        Ok(fd)
    }

    /// Hides what lower layers have in a directory.
    pub(crate) fn set_opaque(&self, fd: BorrowedFd<'_>, real: &[u8]) -> Result<()> {
        let Some(attrs) = self.settings.layer else {
            return Ok(());
        };
        Carrier::Place(fd)
            .set(attrs.opaque().as_bytes(), b"y")
            .map_err(failed("make opaque", real))
    }

    /// Runs `make`, which creates the entry; what is in its way is removed first.
    pub(crate) fn create<T>(
        &mut self,
        dir: &Dir,
        name: &[u8],
        real: &[u8],
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make(dir.fd.as_fd(), name) {
            Err(Errno::EXIST) => {}
            other => return other.map_err(failed("create", real)),
        }
        let found = stat(dir.fd.as_fd(), name).map_err(failed("stat", real))?;
        if self.settings.keep_type && file_type(&found) == FileType::Directory {
            return Err(Error::DirectoryInTheWay { path: shown(real) });
        }
        self.clear(dir, name, real, &found)?;
        make(dir.fd.as_fd(), name).map_err(failed("create", real))
    }

    /// Removes what is at a name, whatever it is.
    pub(crate) fn clear(
        &mut self,
        dir: &Dir,
        name: &[u8],
        real: &[u8],
        found: &Stat,
    ) -> Result<()> {
        match file_type(found) {
            FileType::Directory => {
                remove_tree(dir.fd.as_fd(), name).map_err(failed("remove", real))?;
                self.forget(real);
            }
            kind => {
                rustix::fs::unlinkat(&dir.fd, name, AtFlags::empty())
                    .map_err(failed("remove", real))?;
                if kind == FileType::Symlink {
                    // Paths may have led through it.
                    self.dirs.clear();
                    self.next_slot = 0;
                }
            }
        }
        Ok(())
    }

    /// Drops everything known of a directory that is gone.
    fn forget(&mut self, real: &[u8]) {
        self.late.remove(real);
        self.implied.remove(real);
        // Everything below sorts between `real/` and `real0`.
        let below = [real, b"/"].concat()..[real, b"0"].concat();
        let late: Vec<Vec<u8>> = self
            .late
            .range(below.clone())
            .map(|(p, _)| p.clone())
            .collect();
        let implied: Vec<Vec<u8>> = self.implied.range(below).cloned().collect();
        for path in late {
            self.late.remove(&path);
        }
        for path in implied {
            self.implied.remove(&path);
        }
        self.dirs.clear();
        self.next_slot = 0;
    }

    /// Whether a new file in `dir` doesn't get this owner by itself.
    pub(crate) fn must_chown(&self, dir: &Dir, uid: u32, gid: u32) -> bool {
        self.settings.exact || (uid, gid) != self.owner || dir.gid != gid
    }

    /// Whether creating a file with these permissions doesn't give them.
    pub(crate) fn must_chmod(&self, mode: u32) -> bool {
        self.settings.exact || mode & (self.umask | 0o7000) != 0
    }

    /// Leaves a directory's mode and time to the end.
    pub(crate) fn be_late(&mut self, real: &[u8], entry: &Entry, with_mode: bool) {
        let late = self.late.entry(real.to_vec()).or_default();
        late.mtime = entry.mtime;
        late.mode = with_mode.then_some(entry.mode & 0o7777);
    }

    /// The directory at a path, which must exist.
    pub(crate) fn existing(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        if let Some(dir) = self.dirs.iter().find(|dir| dir.path == path) {
            return Ok(Rc::clone(dir));
        }
        let place = resolve(self.root, path, true, Missing::Fail)?;
        if place.kind != FileType::Directory {
            return Err(Error::NotADirectory { path: shown(path) });
        }
        // Resolving again with everything there makes nothing, and fills the cache.
        self.parent(path)
    }

    /// Sets what had to wait: modes and times of directories. Returns the directories that no
    /// entry described.
    pub(crate) fn finish(mut self) -> Result<Vec<Vec<u8>>> {
        self.dirs.clear();
        for (real, late) in &self.late {
            let fd = match open_plain(self.root, real, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(fd) => fd,
                // A tree in use: somebody removed it meanwhile.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if self.settings.exact => continue,
                Err(e) => return Err(failed("open", real)(e)),
            };
            if let Some(acl) = &late.default_acl {
                let acl = [(DEFAULT_ACL.to_vec(), acl.clone())];
                set_all(Carrier::Open(fd.as_fd()), &acl, self.settings.lenient, real)?;
            }
            if let Some(mode) = late.mode {
                rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))
                    .map_err(failed("change the mode of", real))?;
            }
            rustix::fs::futimens(&fd, &times(late.mtime))
                .map_err(failed("set the time of", real))?;
        }
        Ok(self.implied.into_iter().collect())
    }
}

/// Whether overlayfs takes a file for "nothing here".
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Changes the owner of a name in a directory, or with an empty name of the descriptor's object.
pub(crate) fn chown(
    dir: BorrowedFd<'_>,
    name: &[u8],
    uid: u32,
    gid: u32,
) -> rustix::io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    rustix::fs::chownat(
        dir,
        name,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
        flags,
    )
}

/// Both of a file's times from one.
pub(crate) fn times(time: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: time.secs,
        tv_nsec: time.nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// The process's umask, read without changing it. Where `/proc` doesn't tell, the worst.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(0o777)
}
