//! Fills a new tmpfs with what the image has at its place.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::error::{Context, Failure, Stage, Step};
use crate::path::stat_in;

/// As deep as this the tree is followed: each level takes two descriptors.
const MAX_DEPTH: usize = 100;

/// Copies the directory `from` (`O_PATH`) into the directory `to`: files, links, devices, owners,
/// modes and times. The size is the tmpfs's to limit.
pub(crate) fn copy(from: &OwnedFd, to: &OwnedFd) -> Step<()> {
    let from = open_dir(from, OsStr::new(".")).during(Stage::Mounts, || "open its place")?;
    copy_dir(&from, to, 0)?;
    let stat = rustix::fs::fstat(&from).during(Stage::Mounts, || "look at its place")?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))
        .or_else(|_| chmod_by_name(to, &stat))
        .during(Stage::Mounts, || "set its mode")
}

/// A mount's descriptor is O_PATH, which fchmod refuses.
fn chmod_by_name(to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    rustix::fs::chmodat(to, ".", mode, AtFlags::empty())
}

fn open_dir(at: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn copy_dir(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Step<()> {
    if depth > MAX_DEPTH {
        return Err(Failure::new(
            Stage::Mounts,
            format!("more than {MAX_DEPTH} directories deep: too deep to be copied"),
        ));
    }
    for entry in Dir::read_from(from).during(Stage::Mounts, || "list a directory")? {
        let entry = entry.during(Stage::Mounts, || "list a directory")?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let what = || format!("copy {}", name.display());
        let stat = stat_in(from, name).during(Stage::Mounts, what)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::RWXU).during(Stage::Mounts, what)?;
                let from = open_dir(from, name).during(Stage::Mounts, what)?;
                let to = open_dir(to, name).during(Stage::Mounts, what)?;
                copy_dir(&from, &to, depth + 1)?;
            }
            FileType::RegularFile => copy_file(from, to, name).during(Stage::Mounts, what)?,
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(from, name, Vec::new()).during(Stage::Mounts, what)?;
                rustix::fs::symlinkat(&target, to, name).during(Stage::Mounts, what)?;
            }
            // A socket is of no use without the process that listens on it.
            FileType::Socket => continue,
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)
                    .during(Stage::Mounts, what)?;
            }
        }
        keep_properties(to, name, &stat).during(Stage::Mounts, what)?;
    }
    Ok(())
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(to, name, flags, Mode::RUSR)?);
    io::copy(&mut source, &mut copy).map(drop)
}

fn keep_properties(to: &OwnedFd, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    match rustix::fs::chownat(to, name, Some(uid), Some(gid), flags) {
        // An id that isn't mapped in the user namespace.
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
    }
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(stat.st_atime as _, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime as _, stat.st_mtime_nsec as _),
    };
    rustix::fs::utimensat(to, name, &times, flags)
}
