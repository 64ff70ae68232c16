//! What a container changed, as `docker diff` has it.
//!
//! Docker compares two mounted trees. The upper directory has everything that can differ, so this
//! walks just it, and looks up what was there before.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use coracle_archive::{Found, LowerView, Step, Walker, capability};
use rustix::fs::{FileType, Mode, OFlags};

use crate::container::ContainerFs;
use crate::error::{Result, failed};

/// How a path differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It differs, or something in it does (Docker's 0, `C`).
    Modified,
    /// The image doesn't have it (1, `A`).
    Added,
    /// The image has it (2, `D`).
    Deleted,
}

/// A path that differs from the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute, in the container.
    pub path: PathBuf,
    /// How.
    pub kind: ChangeKind,
}

/// Everything that differs from the image, sorted by path. Directories are listed as modified
/// where something in them changed; what was in a deleted directory isn't listed. The container
/// may be running.
///
/// # Errors
/// [`Error::Archive`](crate::Error::Archive), [`Error::Io`](crate::Error::Io).
pub fn changes(fs: &ContainerFs) -> Result<Vec<Change>> {
    let below = LowerView::open(&fs.lower, fs.attrs)?;
    let upper = File::open(&fs.upper).map_err(failed("open", &fs.upper))?;
    let mut walker = Walker::new(upper.as_fd());
    let mut found = Changes::default();
    while let Some(step) = walker.next_step()? {
        if step.path.is_empty() {
            continue;
        }
        let before = below.find(&step.path)?;
        if is_whiteout(fs, &step)? {
            if before.is_some() {
                found.add(&step.path, ChangeKind::Deleted);
            }
            continue;
        }
        let Some(before) = before else {
            found.add(&step.path, ChangeKind::Added);
            continue;
        };
        if differs(&step, &before)? {
            found.add(&step.path, ChangeKind::Modified);
        }
        if step.file_type().is_dir() && before.is_dir() && is_opaque(fs, &step)? {
            for name in below.names(&step.path)? {
                if !exists(&step, &name) {
                    found.add(&[&step.path[..], b"/", &name].concat(), ChangeKind::Deleted);
                }
            }
        }
    }
    Ok(found.sorted())
}

#[derive(Default)]
struct Changes(BTreeMap<Vec<u8>, ChangeKind>);

impl Changes {
    /// Notes a change, and that everything above it changed.
    fn add(&mut self, path: &[u8], kind: ChangeKind) {
        self.0.insert(path.to_vec(), kind);
        let mut rest = path;
        while let Some(slash) = rest.iter().rposition(|b| *b == b'/') {
            rest = rest.get(..slash).unwrap_or_default();
            if self.0.contains_key(rest) {
                break;
            }
            self.0.insert(rest.to_vec(), ChangeKind::Modified);
        }
    }

    fn sorted(self) -> Vec<Change> {
        let absolute =
            |path: Vec<u8>| PathBuf::from(OsString::from_vec([&b"/"[..], &path].concat()));
        self.0
            .into_iter()
            .map(|(path, kind)| Change {
                path: absolute(path),
                kind,
            })
            .collect()
    }
}

/// Docker's `statDifferent`: of directories neither size nor time count, and a time without
/// nanoseconds equals any in its second.
fn differs(step: &Step<'_>, before: &Found) -> Result<bool> {
    let (new, old) = (&step.stat, before.stat());
    let rdev = rustix::fs::makedev(new.stx_rdev_major, new.stx_rdev_minor);
    if u32::from(new.stx_mode) != old.st_mode
        || new.stx_uid != old.st_uid
        || new.stx_gid != old.st_gid
        || rdev != old.st_rdev
    {
        return Ok(true);
    }
    if !step.file_type().is_dir() {
        let (new_nanos, old_nanos) = (u64::from(new.stx_mtime.tv_nsec), old.st_mtime_nsec);
        let same_time = new.stx_mtime.tv_sec == old.st_mtime
            && (new_nanos == old_nanos || new_nanos == 0 || old_nanos == 0);
        if !same_time || new.stx_size != old.st_size as u64 {
            return Ok(true);
        }
    }
    let place = open(step, step.name())?;
    Ok(capability(place.as_fd(), &step.path)? != before.capability()?)
}

fn open(step: &Step<'_>, name: &[u8]) -> Result<std::os::fd::OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(step.dir, name, flags, Mode::empty()).map_err(|e| {
        failed(
            "open",
            &PathBuf::from(OsString::from_vec(step.path.clone())),
        )(e)
    })
}

/// Whether the upper directory has a name in the directory that a step shows.
fn exists(step: &Step<'_>, name: &[u8]) -> bool {
    let path = [step.name(), b"/", name].concat();
    rustix::fs::statat(step.dir, &path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn is_whiteout(fs: &ContainerFs, step: &Step<'_>) -> Result<bool> {
    let stat = &step.stat;
    match step.file_type() {
        FileType::CharacterDevice => Ok((stat.stx_rdev_major, stat.stx_rdev_minor) == (0, 0)),
        FileType::RegularFile if stat.stx_size == 0 => {
            attribute(step, fs.attrs.whiteout()).map(|value| value.is_some())
        }
        _ => Ok(false),
    }
}

fn is_opaque(fs: &ContainerFs, step: &Step<'_>) -> Result<bool> {
    Ok(attribute(step, fs.attrs.opaque())? == Some(b'y'))
}

/// The first byte of an attribute, 0 where it is empty.
fn attribute(step: &Step<'_>, name: &str) -> Result<Option<u8>> {
    let place = open(step, step.name())?;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&place));
    let mut value = [0u8; 1];
    match rustix::fs::getxattr(&path, name, &mut value[..]) {
        Ok(0) => Ok(Some(0)),
        Ok(_) => Ok(value.first().copied()),
        // Longer than what we look for.
        Err(rustix::io::Errno::RANGE) => Ok(Some(0)),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(e) => Err(failed("read an attribute of", path.as_ref())(e)),
    }
}
