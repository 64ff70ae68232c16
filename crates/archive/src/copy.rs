//! The Docker API's archive routes (`docker cp`) inside a root: `HEAD`, `GET` and `PUT
//! /containers/{id}/archive`.
//!
//! A root is a directory descriptor: of a detached mount, or of `/proc/<pid>/root`. All paths are
//! resolved inside it as in a chroot. Paths are taken as Docker takes them: relative ones from the
//! root, and a trailing `/` or `/.` asks for a directory.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::dump::{WriteOptions, write_tree};
use crate::entry::{Kind, Time};
use crate::error::{Error, Result, failed, shown};
use crate::limits::Limits;
use crate::owner::Owners;
use crate::path::{Missing, Name, Place, resolve, resolve_in_root, split};
use crate::reader::TarReader;
use crate::tree::{Settings, Tree};
use crate::write::TarWriter;

/// What Docker tells about a path (`X-Docker-Container-Path-Stat`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// The last component as asked for: `/` for the root, `.` where the path ends so.
    pub name: OsString,
    /// Size in bytes.
    pub size: u64,
    /// Go's `os.FileMode` bits.
    pub mode: u32,
    /// Time of the last modification.
    pub mtime: Time,
    /// Where a symbolic link leads, all links followed, absolute in the root; else empty.
    pub link_target: PathBuf,
}

impl PathStat {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & GO_DIR != 0
    }
}

const GO_DIR: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_PIPE: u32 = 1 << 25;
const GO_SOCKET: u32 = 1 << 24;
const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_CHAR_DEVICE: u32 = 1 << 21;
const GO_STICKY: u32 = 1 << 20;
const GO_IRREGULAR: u32 = 1 << 19;

/// `st_mode` as Go's `os.FileMode`.
pub fn go_mode(st_mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(st_mode) {
        FileType::RegularFile => 0,
        FileType::Directory => GO_DIR,
        FileType::Symlink => GO_SYMLINK,
        FileType::CharacterDevice => GO_DEVICE | GO_CHAR_DEVICE,
        FileType::BlockDevice => GO_DEVICE,
        FileType::Fifo => GO_PIPE,
        FileType::Socket => GO_SOCKET,
        _ => GO_IRREGULAR,
    };
    let mut mode = kind | st_mode & 0o777;
    for (bit, go) in [
        (0o4000, GO_SETUID),
        (0o2000, GO_SETGID),
        (0o1000, GO_STICKY),
    ] {
        if st_mode & bit != 0 {
            mode |= go;
        }
    }
    mode
}

/// Docker's form of a path: absolute, clean, with a trailing `/` or `/.` kept.
fn absolute(path: &Path) -> Vec<u8> {
    let raw = path.as_os_str().as_bytes();
    let mut clean: Vec<u8> = Vec::new();
    for part in raw.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => clean.truncate(clean.iter().rposition(|b| *b == b'/').unwrap_or(0)),
            _ => {
                clean.push(b'/');
                clean.extend_from_slice(part);
            }
        }
    }
    if raw.ends_with(b"/.") || raw == b"." {
        clean.extend_from_slice(b"/.");
    } else if raw.ends_with(b"/") || clean.is_empty() {
        clean.push(b'/');
    }
    clean
}

/// Go's `filepath.Base` of a path in that form.
fn base(absolute: &[u8]) -> &[u8] {
    let trimmed = absolute.strip_suffix(b"/").unwrap_or(absolute);
    match trimmed.get(split(trimmed).1..) {
        None | Some(b"") => b"/",
        Some(base) => base,
    }
}

/// Looks at a path. A symbolic link as its last component isn't followed, but
/// [`link_target`](PathStat::link_target) says where it leads.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::TooManyLinks`], [`Error::Io`].
pub fn stat(root: BorrowedFd<'_>, path: &Path) -> Result<PathStat> {
    Ok(look(root, path)?.0)
}

fn look(root: BorrowedFd<'_>, path: &Path) -> Result<(PathStat, Place, Vec<u8>)> {
    let absolute = absolute(path);
    let place = resolve(root, &absolute, false, Missing::Fail)?;
    let fd = place.fd.as_ref().ok_or_else(|| Error::NotFound {
        path: path.to_owned(),
    })?;
    let stat = rustix::fs::fstat(fd).map_err(failed("stat", &absolute))?;
    let link_target = if place.kind == FileType::Symlink {
        resolve_in_root(root, path)?.path
    } else {
        PathBuf::new()
    };
    let stat = PathStat {
        name: OsStr::from_bytes(base(&absolute)).to_owned(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: go_mode(stat.st_mode),
        mtime: Time {
            secs: stat.st_mtime,
            nanos: stat.st_mtime_nsec as u32,
        },
        link_target,
    };
    Ok((stat, place, absolute))
}

/// Something that is about to be copied out, see [`read`].
pub struct Source {
    /// What it is.
    pub stat: PathStat,
    root: OwnedFd,
    real: Vec<u8>,
    rename: Vec<u8>,
}

/// Finds what to copy out: a directory with everything in it, or a single file (a symbolic link
/// itself, unless the path ends in `/`). The archive's names start with the path's last component.
///
/// # Errors
/// As [`stat`].
pub fn read(root: BorrowedFd<'_>, path: &Path) -> Result<Source> {
    let (stat, place, absolute) = look(root, path)?;
    let rename = base(&absolute).to_vec();
    let root = root.try_clone_to_owned().map_err(|source| Error::Io {
        op: "open",
        path: shown(b""),
        source,
    })?;
    Ok(Source {
        stat,
        root,
        real: place.real,
        rename,
    })
}

impl Source {
    /// Writes the archive.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Io`], and [`Error::NotFound`] where it is gone by now.
    pub fn write_to(&self, out: impl Write) -> Result<()> {
        let mut out = TarWriter::new(out);
        let opts = WriteOptions {
            rename: self.rename.clone(),
            ..WriteOptions::default()
        };
        write_tree(self.root.as_fd(), &self.real, &mut out, &opts)?;
        out.finish()?;
        Ok(())
    }
}

/// How an archive is unpacked into a container.
#[derive(Debug, Clone)]
pub struct ExtractOptions {
    /// Bounds on the archive.
    pub limits: Limits,
    /// Whose the files become. Docker keeps the archive's ids (mapped, with user namespaces); with
    /// `copyUIDGID` everything belongs to the container's user, if it has one configured.
    pub owners: Owners,
    /// Refuse to replace a directory by something else or the other way round
    /// (`noOverwriteDirNonDir`).
    pub no_overwrite_dir_non_dir: bool,
    /// Device nodes are made, else left out.
    pub devices: bool,
}

/// Unpacks a plain tar stream (see [`Decompressor`](crate::Decompressor)) into the directory
/// `path`, which must exist; symbolic links to it are followed. Names like `.wh.x` have no special
/// meaning here. Attributes that the caller's privileges don't allow are left out.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotADirectory`] for the path, and any [`Error`] that
/// [`apply_layer`](crate::apply_layer) has. Entries before the offending one stay.
pub fn extract_into(
    root: BorrowedFd<'_>,
    path: &Path,
    reader: impl Read,
    opts: &ExtractOptions,
) -> Result<()> {
    let absolute = absolute(path);
    let place = resolve(root, &absolute, true, Missing::Fail)?;
    if place.kind != FileType::Directory {
        return Err(Error::NotADirectory {
            path: path.to_owned(),
        });
    }
    let prefix = place.real;
    let settings = Settings {
        owners: opts.owners.clone(),
        devices: opts.devices,
        layer: None,
        keep_type: opts.no_overwrite_dir_non_dir,
        root_entry: false,
        lenient: true,
        exact: true,
    };
    let mut tree = Tree::new(root, settings)?;
    let mut tar = TarReader::new(reader, opts.limits.clone());
    while let Some(entry) = tar.next_entry()? {
        let name = Name::clean(&entry.path)?;
        if name.is_root() {
            if entry.kind != Kind::Directory {
                return Err(Error::InvalidName {
                    path: shown(&entry.path),
                    reason: "the root must be a directory",
                });
            }
            // As in Docker, the directory that is copied into keeps what it has.
            continue;
        }
        let name = name.below(&prefix);
        if entry.kind != Kind::HardLink {
            tree.place(&name, &entry, &mut tar)?;
            continue;
        }
        let target = Name::clean(&entry.link)?.below(&prefix);
        if !tree.hard_link(&name, &entry, &target)? {
            return Err(Error::LinkTargetMissing {
                path: shown(name.as_bytes()),
                target: PathBuf::from(OsString::from_vec(entry.link)),
            });
        }
    }
    tree.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_dockers() {
        for (path, expected, name) in [
            ("a/b", "/a/b", "b"),
            ("/a/b/", "/a/b/", "b"),
            ("/a/b/.", "/a/b/.", "."),
            ("/", "/", "/"),
            (".", "/.", "."),
            ("", "/", "/"),
            ("../../a", "/a", "a"),
            ("/a/..", "/", "/"),
        ] {
            let found = absolute(Path::new(path));
            assert_eq!(found, expected.as_bytes(), "{path}");
            assert_eq!(base(&found), name.as_bytes(), "{path}");
        }
    }

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o040_755), 0x8000_01ed);
        assert_eq!(go_mode(0o104_755), (1 << 23) | 0o755);
        assert_eq!(go_mode(0o041_777), (1 << 31) | (1 << 20) | 0o777);
        assert_eq!(go_mode(0o020_666), (1 << 26) | (1 << 21) | 0o666);
        assert_eq!(go_mode(0o120_777), (1 << 27) | 0o777);
    }
}
