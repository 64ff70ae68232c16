//! Paths inside a container's root, which a hostile image has filled with links.
//!
//! Every path is resolved as the container would see it, with its own root as `/`, by `openat2` or
//! link by link, and never through the kernel's magic links (`/proc/PID/root` and the like). What
//! was found is used by its descriptor, so that nothing can be exchanged afterwards.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// As the kernel's own limit.
const MAX_LINKS: usize = 40;

/// The root directory of a container.
pub(crate) struct Root(OwnedFd);

/// What to make of a missing last component.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Make {
    Nothing,
    Dir,
    File,
}

impl Root {
    pub(crate) fn new(dir: OwnedFd) -> Root {
        Root(dir)
    }

    /// Opens something that exists, following links inside the root.
    pub(crate) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.openat2(path, flags, ResolveFlags::empty())
    }

    /// Opens something that exists, and to which no link leads.
    pub(crate) fn open_unlinked(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.openat2(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    fn openat2(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        // EAGAIN: something was renamed while `..` was resolved.
        for _ in 0..16 {
            match rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Opens a directory (`O_PATH`), making it and the directories above it where they are missing.
    pub(crate) fn ensure_dir(&self, path: &Path) -> Result<OwnedFd, Errno> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => self.walk(path, Make::Dir),
            found => found,
        }
    }

    /// Opens something that is no directory (`O_PATH`), making an empty file, and the directories
    /// above it, where they are missing.
    pub(crate) fn ensure_file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let found = match self.open(path, OFlags::PATH) {
            Err(Errno::NOENT) => self.walk(path, Make::File)?,
            found => found?,
        };
        if is_dir(&found)? {
            return Err(Errno::ISDIR);
        }
        Ok(found)
    }

    /// Opens the directory that a path is in, making it where it is missing, and tells the path's
    /// last component.
    pub(crate) fn ensure_parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((self.ensure_dir(parent)?, name))
    }

    /// Goes component by component, so that missing ones can be made, even behind a link that
    /// dangles, as `/etc/resolv.conf` often does.
    fn walk(&self, path: &Path, make: Make) -> Result<OwnedFd, Errno> {
        let mut todo = parts(path);
        // The directories from the root down to where we are; `..` goes up in it, never above.
        let mut way: Vec<OwnedFd> = vec![self.0.try_clone().map_err(|_| Errno::MFILE)?];
        let mut links = 0;
        // Whether the path, or a link at its end, asks for a directory.
        let mut directory = asks_for_directory(path.as_os_str());
        while let Some(name) = todo.pop_front() {
            let here = way.last().ok_or(Errno::NOENT)?.as_fd();
            if name == ".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let last = todo.is_empty();
            let next = match open_component(here, &name) {
                Err(Errno::NOENT) if last && make == Make::File && directory => {
                    return Err(Errno::ISDIR);
                }
                Err(Errno::NOENT) if last && make == Make::File => {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    rustix::fs::openat(here, &name, flags, Mode::from_raw_mode(0o644))?;
                    open_component(here, &name)?
                }
                Err(Errno::NOENT) if make != Make::Nothing => {
                    match rustix::fs::mkdirat(here, &name, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    open_component(here, &name)?
                }
                found => found?,
            };
            match kind(&next)? {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = rustix::fs::readlinkat(&next, "", Vec::new())?;
                    let target = OsString::from_vec(target.into_bytes());
                    directory |= last && asks_for_directory(&target);
                    if target.as_bytes().first() == Some(&b'/') {
                        way.truncate(1);
                    }
                    for part in parts(Path::new(&target)).into_iter().rev() {
                        todo.push_front(part);
                    }
                }
                FileType::Directory => way.push(next),
                _ if last && !directory => return Ok(next),
                _ => return Err(Errno::NOTDIR),
            }
        }
        way.pop().ok_or(Errno::NOENT)
    }
}

/// Opens (`O_PATH`) what a path inside a directory leads to, following links unless they lead out.
pub(crate) fn open_beneath(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..16 {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Whether a path ends with a slash or a dot: it leads to a directory then or nowhere
/// (path_resolution(7)), which its components don't tell.
fn asks_for_directory(path: &OsStr) -> bool {
    let path = path.as_bytes();
    path.ends_with(b"/") || path == b"." || path.ends_with(b"/.")
}

fn open_component(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// What sort of file a descriptor is of.
pub(crate) fn kind(fd: &OwnedFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

pub(crate) fn is_dir(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(kind(fd)? == FileType::Directory)
}

/// The state of a name in a directory, not following a link.
pub(crate) fn stat_in(dir: &OwnedFd, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root(dir: &Path) -> Root {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Root(rustix::fs::open(dir, flags, Mode::empty()).unwrap())
    }

    #[test]
    fn missing_things_are_made_inside() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        let dir = inside.path();
        symlink(outside.path(), dir.join("absolute")).unwrap();
        symlink("../../../../../../../..", dir.join("up")).unwrap();
        symlink("run/there/file", dir.join("dangling")).unwrap();
        let root = root(dir);
        root.ensure_dir(Path::new("/absolute/new")).unwrap();
        root.ensure_dir(Path::new("/up/../made/deep")).unwrap();
        root.ensure_file(Path::new("/dangling")).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        let copy = dir.join(outside.path().strip_prefix("/").unwrap());
        assert!(copy.join("new").is_dir());
        assert!(dir.join("made/deep").is_dir());
        assert!(dir.join("run/there/file").is_file());
    }

    #[test]
    fn loops_and_wrong_kinds_are_refused() {
        let inside = tempfile::tempdir().unwrap();
        let dir = inside.path();
        symlink("loop", dir.join("loop")).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        let root = root(dir);
        assert_eq!(
            root.ensure_dir(Path::new("loop/x")).unwrap_err(),
            Errno::LOOP
        );
        assert_eq!(
            root.walk(Path::new("loop/x"), Make::Dir).unwrap_err(),
            Errno::LOOP
        );
        assert_eq!(
            root.ensure_dir(Path::new("/file")).unwrap_err(),
            Errno::NOTDIR
        );
        assert_eq!(
            root.ensure_dir(Path::new("/file/x")).unwrap_err(),
            Errno::NOTDIR
        );
        assert_eq!(root.ensure_file(Path::new("/")).unwrap_err(), Errno::ISDIR);
        let missing = root.walk(Path::new("/missing"), Make::Nothing);
        assert_eq!(missing.unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn a_link_can_ask_for_a_directory() {
        let inside = tempfile::tempdir().unwrap();
        let dir = inside.path();
        fs::write(dir.join("file"), "").unwrap();
        symlink("file/.", dir.join("wrong")).unwrap();
        symlink("new/", dir.join("missing")).unwrap();
        let root = root(dir);
        for path in ["wrong", "file/", "file/."] {
            let walked = root.walk(Path::new(path), Make::Nothing);
            assert_eq!(walked.unwrap_err(), Errno::NOTDIR, "{path}");
        }
        let made = root.ensure_file(Path::new("missing"));
        assert_eq!(made.unwrap_err(), Errno::ISDIR);
        assert!(!dir.join("new").exists());
        root.ensure_dir(Path::new("missing")).unwrap();
        assert!(dir.join("new").is_dir());
    }

    #[test]
    fn magic_links_are_not_followed() {
        let inside = tempfile::tempdir().unwrap();
        symlink("/proc/self/root/etc", inside.path().join("etc")).unwrap();
        let root = root(Path::new("/"));
        let link = inside.path().join("etc/passwd");
        assert_eq!(root.open(&link, OFlags::PATH).unwrap_err(), Errno::LOOP);
    }

    /// A tree of links, files and directories, given by names and what they are.
    fn plant(dir: &Path, plan: &[(String, u8, String)]) {
        for (name, what, target) in plan {
            let path = dir.join(name);
            // Names may come twice, or below a file: what can't be made is left out.
            let _ = match what {
                0 => fs::create_dir_all(path),
                1 => fs::write(path, ""),
                _ => symlink(target, path),
            };
        }
    }

    const NAME: &str = "[ab](/[ab]){0,2}";
    const TARGET: &str = "/{0,1}((\\.\\.|[ab])/){0,3}(\\.\\.|\\.|[ab])/{0,1}";

    proptest::proptest! {
        #[test]
        fn the_walk_ends_where_the_kernel_does(
            plan in proptest::collection::vec((NAME, 0u8..4, TARGET), 0..9),
            path in TARGET,
        ) {
            let inside = tempfile::tempdir().unwrap();
            plant(inside.path(), &plan);
            let root = root(inside.path());
            let identity = |found: Result<OwnedFd, Errno>| {
                found.map(|fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)))
            };
            let path = Path::new(&path);
            let walked = identity(root.walk(path, Make::Nothing));
            let opened = identity(root.open(path, OFlags::PATH));
            proptest::prop_assert_eq!(walked, opened);
        }
    }
}
