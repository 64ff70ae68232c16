//! Names, and finding what they name without leaving a root.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result, failed, shown};

/// The kernel's own bound on symbolic links in one path.
const MAX_LINKS: u32 = 40;

/// A name from an archive, made relative and lexically normal: no empty components, no `.`, no
/// `..`. Empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    bytes: Vec<u8>,
    /// Where the last component starts.
    base: usize,
}

impl Name {
    /// Normalises as Go's `filepath.Clean` does. Absolute names become relative to the root.
    ///
    /// # Errors
    /// [`Error::Breakout`] where `..` leads above the root, [`Error::InvalidName`] for NULs.
    pub(crate) fn clean(raw: &[u8]) -> Result<Name> {
        if raw.contains(&0) {
            return Err(Error::InvalidName {
                path: shown(raw),
                reason: "it has a NUL in it",
            });
        }
        let mut bytes = Vec::with_capacity(raw.len());
        for part in raw.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    if bytes.is_empty() {
                        return Err(Error::Breakout { path: shown(raw) });
                    }
                    bytes.truncate(split(&bytes).0);
                }
                _ => push(&mut bytes, part),
            }
        }
        Ok(Name::of(bytes))
    }

    /// A path that is known to be normal.
    pub(crate) fn of(bytes: Vec<u8>) -> Name {
        let base = split(&bytes).1;
        Name { bytes, base }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn parent(&self) -> &[u8] {
        self.bytes
            .get(..self.base.saturating_sub(1))
            .unwrap_or_default()
    }

    pub(crate) fn base(&self) -> &[u8] {
        self.bytes.get(self.base..).unwrap_or_default()
    }

    /// The same name below `prefix`, a normal path.
    pub(crate) fn below(self, prefix: &[u8]) -> Name {
        if prefix.is_empty() {
            return self;
        }
        let mut bytes = prefix.to_vec();
        if !self.bytes.is_empty() {
            push(&mut bytes, &self.bytes);
        }
        Name::of(bytes)
    }
}

/// Appends a component to a normal path.
pub(crate) fn push(path: &mut Vec<u8>, part: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(part);
}

/// A normal path and a component.
pub(crate) fn join(path: &[u8], part: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + part.len() + 1);
    joined.extend_from_slice(path);
    push(&mut joined, part);
    joined
}

/// Where the parent ends and where the last component starts.
pub(crate) fn split(path: &[u8]) -> (usize, usize) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (slash, slash + 1),
        None => (0, 0),
    }
}

/// Flags for a descriptor that stands for a place, not for its contents.
const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Opens a path that has no symbolic links in it, in one call. Normal paths only.
pub(crate) fn open_plain(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Opens one component without following it.
pub(crate) fn open_place(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, PLACE, Mode::empty())
}

/// Opens a directory by one component, as a place.
pub(crate) fn open_dir_place(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, PLACE | OFlags::DIRECTORY, Mode::empty())
}

pub(crate) fn stat(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Stat> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Creates what is missing (or in the way) in a path's parents: directory, name, real path, and
/// what is there if anything is.
pub(crate) type Maker<'a> =
    dyn FnMut(BorrowedFd<'_>, &[u8], &[u8], Option<&Stat>) -> Result<OwnedFd> + 'a;

/// What to do about components that don't exist.
pub(crate) enum Missing<'a> {
    /// [`Error::NotFound`].
    Fail,
    /// Keep the rest of the path as it is.
    Keep,
    /// Have them made.
    Make(&'a mut Maker<'a>),
}

/// Where a path led.
pub(crate) struct Place {
    /// The path from the root without any symbolic link in it.
    pub(crate) real: Vec<u8>,
    /// A place descriptor; None where a component is missing.
    pub(crate) fd: Option<OwnedFd>,
    /// What is there.
    pub(crate) kind: FileType,
}

/// Follows a path one component at a time, symbolic links as in a chroot to `root`. Nothing is
/// followed by the kernel, so that a tree that is being changed meanwhile can't lead outside.
///
/// A trailing `/` or `/.` asks for a directory, and has a link in front of it followed.
pub(crate) fn resolve(
    root: BorrowedFd<'_>,
    path: &[u8],
    follow_last: bool,
    mut missing: Missing<'_>,
) -> Result<Place> {
    let must_be_dir = path.ends_with(b"/") || path.ends_with(b"/.") || path == b".";
    let follow_last = follow_last || must_be_dir;
    let mut pending: Vec<Vec<u8>> = parts(path);
    let mut real: Vec<u8> = Vec::new();
    let reopen = |real: &[u8]| {
        open_plain(root, real, OFlags::PATH | OFlags::DIRECTORY).map_err(failed("open", real))
    };
    let mut current = reopen(b"")?;
    let mut kind = FileType::Directory;
    let mut links = 0;
    while let Some(part) = pending.pop() {
        if part == b".." {
            real.truncate(split(&real).0);
            current = reopen(&real)?;
            continue;
        }
        let here = join(&real, &part);
        let next = match open_place(current.as_fd(), &part) {
            Ok(next) => next,
            Err(Errno::NOENT) => match &mut missing {
                Missing::Fail => return Err(Error::NotFound { path: shown(path) }),
                Missing::Keep => return Ok(keep(here, pending)),
                Missing::Make(make) => {
                    current = make(current.as_fd(), &part, &here, None)?;
                    real = here;
                    continue;
                }
            },
            Err(e) => return Err(failed("open", &here)(e)),
        };
        let stat = rustix::fs::fstat(&next).map_err(failed("stat", &here))?;
        match file_type(&stat) {
            FileType::Directory => {
                current = next;
                real = here;
            }
            FileType::Symlink if follow_last || !pending.is_empty() => {
                links += 1;
                let target = rustix::fs::readlinkat(&next, "", Vec::new())
                    .map_err(failed("read the link", &here))?
                    .into_bytes();
                if links > MAX_LINKS || pending.len() > 4096 {
                    return Err(Error::TooManyLinks { path: shown(path) });
                }
                if target.starts_with(b"/") {
                    real.clear();
                    current = reopen(b"")?;
                }
                pending.extend(parts(&target));
            }
            found if pending.is_empty() && !matches!(missing, Missing::Make(_)) => {
                if must_be_dir {
                    return Err(Error::NotADirectory { path: shown(path) });
                }
                current = next;
                real = here;
                kind = found;
            }
            _ => match &mut missing {
                Missing::Make(make) => {
                    current = make(current.as_fd(), &part, &here, Some(&stat))?;
                    real = here;
                }
                _ => return Err(Error::NotADirectory { path: shown(&here) }),
            },
        }
    }
    Ok(Place {
        real,
        fd: Some(current),
        kind,
    })
}

/// The components of a path, last first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.rsplit(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

fn keep(mut real: Vec<u8>, mut pending: Vec<Vec<u8>>) -> Place {
    while let Some(part) = pending.pop() {
        if part == b".." {
            real.truncate(split(&real).0);
        } else {
            push(&mut real, &part);
        }
    }
    Place {
        real,
        fd: None,
        kind: FileType::Unknown,
    }
}

/// A path inside a root, see [`resolve_in_root`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Absolute within the root, without symbolic links (up to the first missing component).
    pub path: PathBuf,
    /// Whether all of it exists.
    pub exists: bool,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Follows every symbolic link of `path` inside `root`, the last one too, as far as things exist.
///
/// # Errors
/// [`Error::TooManyLinks`], [`Error::NotADirectory`], [`Error::Io`].
pub fn resolve_in_root(root: BorrowedFd<'_>, path: &Path) -> Result<Resolved> {
    let place = resolve(root, path.as_os_str().as_bytes(), true, Missing::Keep)?;
    let mut path = b"/".to_vec();
    path.extend_from_slice(&place.real);
    Ok(Resolved {
        path: PathBuf::from(OsString::from_vec(path)),
        exists: place.fd.is_some(),
        is_dir: place.fd.is_some() && place.kind == FileType::Directory,
    })
}

/// Opens a directory inside `root` for reading, following symbolic links inside it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::TooManyLinks`], [`Error::Io`].
pub fn open_dir_in_root(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let bytes = path.as_os_str().as_bytes();
    let place = resolve(root, bytes, true, Missing::Fail)?;
    if place.kind != FileType::Directory {
        return Err(Error::NotADirectory {
            path: path.to_owned(),
        });
    }
    let fd = place.fd.ok_or_else(|| Error::NotFound {
        path: path.to_owned(),
    })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(fd, ".", flags, Mode::empty()).map_err(failed("open", bytes))
}

/// Opens a root by its path in the caller's own root.
pub(crate) fn open_root(root: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(root, flags, Mode::empty())
        .map_err(failed("open", root.as_os_str().as_bytes()))
}

/// Bytes as a path.
pub(crate) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    fn clean(raw: &str) -> String {
        String::from_utf8(Name::clean(raw.as_bytes()).unwrap().bytes).unwrap()
    }

    #[test]
    fn names_are_normalised() {
        assert_eq!(clean("./a//b/./c/"), "a/b/c");
        assert_eq!(clean("/etc/passwd"), "etc/passwd");
        assert_eq!(clean("a/../b"), "b");
        assert_eq!(clean("a/b/../../c"), "c");
        assert_eq!(clean("./"), "");
        assert_eq!(clean("/"), "");
        assert_eq!(clean("..."), "...");
        let name = Name::clean(b"a/b/c").unwrap();
        assert_eq!((name.parent(), name.base()), (&b"a/b"[..], &b"c"[..]));
        let name = Name::clean(b"c").unwrap();
        assert_eq!((name.parent(), name.base()), (&b""[..], &b"c"[..]));
    }

    #[test]
    fn escapes_are_refused() {
        for bad in ["..", "../a", "/..", "a/../../b", "./.././a"] {
            assert!(
                matches!(Name::clean(bad.as_bytes()), Err(Error::Breakout { .. })),
                "{bad}"
            );
        }
        assert!(matches!(
            Name::clean(b"a\0b"),
            Err(Error::InvalidName { .. })
        ));
    }

    #[test]
    fn links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        std::fs::create_dir_all(at("usr/lib")).unwrap();
        symlink("/usr/lib", at("lib")).unwrap();
        symlink("../../../../usr", at("usr/up")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("/nowhere/else", at("broken")).unwrap();
        std::fs::write(at("usr/lib/file"), "x").unwrap();
        let root = open_root(dir.path()).unwrap();
        let real = |p: &str| resolve_in_root(root.as_fd(), Path::new(p)).unwrap();
        assert_eq!(real("lib/file").path, Path::new("/usr/lib/file"));
        assert!(real("lib/").is_dir);
        assert_eq!(
            real("usr/up/lib/../lib/file").path,
            Path::new("/usr/lib/file")
        );
        assert_eq!(real("../../../usr").path, Path::new("/usr"));
        let broken = real("broken/x/../y");
        assert_eq!(
            (broken.path.as_path(), broken.exists),
            (Path::new("/nowhere/else/y"), false)
        );
        assert!(matches!(
            resolve_in_root(root.as_fd(), Path::new("loop")),
            Err(Error::TooManyLinks { .. })
        ));
        assert!(matches!(
            resolve_in_root(root.as_fd(), Path::new("usr/lib/file/")),
            Err(Error::NotADirectory { .. })
        ));
        assert!(matches!(
            open_dir_in_root(root.as_fd(), Path::new("usr/lib/file/x")),
            Err(Error::NotADirectory { .. })
        ));
    }

    proptest! {
        #[test]
        fn clean_never_escapes(raw in "[a./]{0,40}") {
            if let Ok(name) = Name::clean(raw.as_bytes()) {
                prop_assert!(!name.bytes.starts_with(b"/"));
                for part in name.bytes.split(|b| *b == b'/') {
                    prop_assert!(part != b".." && part != b".");
                    prop_assert!(!part.is_empty() || name.bytes.is_empty());
                }
            }
        }
    }
}
