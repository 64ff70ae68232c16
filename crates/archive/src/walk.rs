//! Going through a tree that somebody else filled, however deep and whatever it does meanwhile.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

use crate::error::{Error, Result, failed, shown};
use crate::path::{join, open_plain, split};

/// Directories of one branch that are held open at a time.
pub(crate) const OPEN: usize = 64;

/// Flags to list a directory that isn't a symbolic link.
pub(crate) const LIST: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Everything that `stat` has, and the mount.
const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

/// Goes through a tree depth first, names in byte order, parents before their children. Never
/// follows a symbolic link.
pub struct Walker<'a> {
    root: BorrowedFd<'a>,
    /// The directories on the way to the current entry.
    levels: Vec<Level>,
    /// The path of the topmost level.
    path: Vec<u8>,
    /// The directory that the last step showed, unless it was skipped.
    descend: Option<(Vec<u8>, Id)>,
    /// The start has not been shown yet.
    fresh: bool,
}

/// Device and inode.
type Id = (u32, u32, u64);

struct Level {
    fd: Option<OwnedFd>,
    id: Id,
    names: std::vec::IntoIter<Vec<u8>>,
    /// Bytes that this directory's name adds to the path.
    added: usize,
}

/// One entry of a tree.
pub struct Step<'w> {
    /// Path relative to the root, empty for the start itself where that is the root.
    pub path: Vec<u8>,
    /// The directory that holds it; for the start, the start itself.
    pub dir: BorrowedFd<'w>,
    /// Status, with the mount id.
    pub stat: Statx,
    /// Where the last component starts, None for the start.
    base: Option<usize>,
}

impl<'w> Step<'w> {
    /// A single entry of `dir`, as a walk would show it at `path`.
    pub(crate) fn look(dir: BorrowedFd<'w>, path: Vec<u8>) -> Result<Step<'w>> {
        let base = split(&path).1;
        let name = path.get(base..).unwrap_or_default();
        let stat = status(dir, name).map_err(failed("stat", &path))?;
        Ok(Step {
            path,
            dir,
            stat,
            base: Some(base),
        })
    }

    /// What it is.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.stx_mode.into())
    }

    /// Its name in [`dir`](Step::dir): the last component, `.` for the start.
    pub fn name(&self) -> &[u8] {
        self.base
            .and_then(|base| self.path.get(base..))
            .unwrap_or(b".")
    }
}

fn id(stat: &Statx) -> Id {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}

pub(crate) fn status(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(dir, name, flags, WANTED)
}

fn names(fd: BorrowedFd<'_>) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        if !is_dots(entry.file_name()) {
            names.push(entry.file_name().to_bytes().to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

pub(crate) fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

impl<'a> Walker<'a> {
    /// Starts with `root` itself.
    pub fn new(root: BorrowedFd<'a>) -> Walker<'a> {
        Walker::below(root, Vec::new())
    }

    /// Starts with a normal path without symbolic links; it must be a directory.
    pub(crate) fn below(root: BorrowedFd<'a>, start: Vec<u8>) -> Walker<'a> {
        Walker {
            root,
            levels: Vec::new(),
            path: start,
            descend: None,
            fresh: true,
        }
    }

    /// The next entry, None at the end. Entries that vanish meanwhile are passed over.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::NotADirectory`] or [`Error::NotFound`] where the tree was
    /// rearranged above the current entry.
    pub fn next_step(&mut self) -> Result<Option<Step<'_>>> {
        if self.fresh {
            self.fresh = false;
            let fd = open_plain(self.root, &self.path, LIST).map_err(failed("open", &self.path))?;
            let stat = status(fd.as_fd(), b".").map_err(failed("stat", &self.path))?;
            let id = id(&stat);
            let names = names(fd.as_fd())
                .map_err(failed("list", &self.path))?
                .into_iter();
            self.levels.push(Level {
                fd: Some(fd),
                id,
                names,
                added: 0,
            });
            // For the start, the directory itself stands for the one that holds it.
            let dir = self.top().unwrap_or(self.root);
            return Ok(Some(Step {
                path: self.path.clone(),
                dir,
                stat,
                base: None,
            }));
        }
        if let Some((name, id)) = self.descend.take() {
            self.enter(&name, id)?;
        }
        let (path, stat) = loop {
            let Some(level) = self.levels.last_mut() else {
                return Ok(None);
            };
            let Some(name) = level.names.next() else {
                let added = level.added;
                self.levels.pop();
                self.path.truncate(self.path.len().saturating_sub(added));
                continue;
            };
            self.reopen()?;
            let path = join(&self.path, &name);
            match status(self.top().unwrap_or(self.root), &name) {
                Ok(stat) => {
                    if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory {
                        self.descend = Some((name, id(&stat)));
                    }
                    break (path, stat);
                }
                Err(Errno::NOENT) => {}
                Err(e) => return Err(failed("stat", &path)(e)),
            }
        };
        let base = Some(split(&path).1);
        Ok(Some(Step {
            path,
            dir: self.top().unwrap_or(self.root),
            stat,
            base,
        }))
    }

    /// Doesn't go into the directory that the last step showed.
    pub fn skip(&mut self) {
        self.descend = None;
    }

    fn top(&self) -> Option<BorrowedFd<'_>> {
        self.levels
            .last()
            .and_then(|level| level.fd.as_ref())
            .map(AsFd::as_fd)
    }

    /// Goes into a directory, if it is still there and the same.
    fn enter(&mut self, name: &[u8], expected: Id) -> Result<()> {
        self.reopen()?;
        let path = join(&self.path, name);
        let dir = self.top().unwrap_or(self.root);
        let fd = match rustix::fs::openat(dir, name, LIST, Mode::empty()) {
            Ok(fd) => fd,
            // It went away, or something else took its name.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(e) => return Err(failed("open", &path)(e)),
        };
        if id(&status(fd.as_fd(), b".").map_err(failed("stat", &path))?) != expected {
            return Ok(());
        }
        let names = names(fd.as_fd())
            .map_err(failed("list", &path))?
            .into_iter();
        let added = path.len() - self.path.len();
        self.path = path;
        self.levels.push(Level {
            fd: Some(fd),
            id: expected,
            names,
            added,
        });
        if let Some(far) = self.levels.len().checked_sub(OPEN)
            && let Some(level) = self.levels.get_mut(far)
        {
            level.fd = None;
        }
        Ok(())
    }

    /// Opens the topmost level again, where it was closed for being far up.
    fn reopen(&mut self) -> Result<()> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        if level.fd.is_some() {
            return Ok(());
        }
        let fd = open_deep(self.root, &self.path).map_err(failed("open", &self.path))?;
        let stat = status(fd.as_fd(), b".").map_err(failed("stat", &self.path))?;
        if id(&stat) != level.id {
            return Err(Error::NotFound {
                path: shown(&self.path),
            });
        }
        level.fd = Some(fd);
        Ok(())
    }
}

/// Opens a directory for listing by a path that may be longer than the kernel takes at once.
fn open_deep(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    const AT_ONCE: usize = 3800;
    let mut rest = path;
    let mut at: Option<OwnedFd> = None;
    while rest.len() > AT_ONCE {
        // Components have at most 255 bytes.
        let slash = rest
            .get(..AT_ONCE)
            .and_then(|s| s.iter().rposition(|b| *b == b'/'));
        let Some(slash) = slash else {
            return Err(Errno::NAMETOOLONG);
        };
        let (head, tail) = rest.split_at(slash);
        let from = at.as_ref().map_or(root, AsFd::as_fd);
        at = Some(open_plain(from, head, OFlags::PATH | OFlags::DIRECTORY)?);
        rest = tail.get(1..).unwrap_or_default();
    }
    open_plain(at.as_ref().map_or(root, AsFd::as_fd), rest, LIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::open_root;
    use crate::remove::remove_tree;

    /// Directories in each other, deeper than any path can say.
    fn deep(root: BorrowedFd<'_>, depth: usize) {
        let mut at = root.try_clone_to_owned().unwrap();
        for i in 0..depth {
            rustix::fs::mkdirat(&at, "a-directory-name-of-some-length", Mode::RWXU).unwrap();
            if i % 100 == 0 {
                rustix::fs::mkdirat(&at, "b", Mode::RWXU).unwrap();
            }
            at = rustix::fs::openat(&at, "a-directory-name-of-some-length", LIST, Mode::empty())
                .unwrap();
        }
        rustix::fs::mkdirat(&at, "bottom", Mode::RWXU).unwrap();
    }

    #[test]
    fn deep_trees_are_walked_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_root(dir.path()).unwrap();
        rustix::fs::mkdirat(&root, "deep", Mode::RWXU).unwrap();
        let top = rustix::fs::openat(&root, "deep", LIST, Mode::empty()).unwrap();
        deep(top.as_fd(), 1000);
        let mut walker = Walker::new(root.as_fd());
        let mut paths = Vec::new();
        while let Some(step) = walker.next_step().unwrap() {
            paths.push(step.path);
        }
        assert_eq!(paths.len(), 2 + 1000 + 10 + 1);
        assert!(
            paths
                .iter()
                .any(|p| p.len() > 30_000 && p.ends_with(b"/bottom"))
        );
        assert!(paths.is_sorted());
        remove_tree(root.as_fd(), b"deep").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        remove_tree(root.as_fd(), b"deep").unwrap();
    }

    #[test]
    fn skipped_directories_are_shown_but_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::create_dir_all(dir.path().join("c/d")).unwrap();
        let root = open_root(dir.path()).unwrap();
        let mut walker = Walker::new(root.as_fd());
        let mut seen = Vec::new();
        while let Some(step) = walker.next_step().unwrap() {
            let skip = step.name() == b"a";
            seen.push(String::from_utf8(step.path).unwrap());
            if skip {
                walker.skip();
            }
        }
        assert_eq!(seen, ["", "a", "c", "c/d"]);
    }
}
