//! What is in volumes: where it is, parts of it, and how much it is.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use coracle_runtime::{Result, RuntimeError};
use coracle_spec::VolumeBacking;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Volumes;

impl Volumes {
    /// The directory of a whole volume. Only the daemon can write above it, unless it is
    /// the host's.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        let VolumeBacking::Bind { device, .. } = self.backing(name)? else {
            return Ok(self.data(name));
        };
        match fs::metadata(&device) {
            Ok(found) if found.is_dir() => Ok(device.into()),
            Ok(_) => Err(not_mounted(&self.data(name), &device, "not a directory")),
            Err(_) => Err(not_mounted(
                &self.data(name),
                &device,
                "no such file or directory",
            )),
        }
    }

    /// Opens (`O_PATH`) a volume, or what is in it by a path that no link leads out of. A container
    /// may change the links at any time, so what is found is good only as long as it is open.
    pub(crate) fn open_part(&self, name: &str, subpath: &str) -> Result<OwnedFd> {
        let failed = |errno: Errno| {
            RuntimeError::InvalidArgument(match errno {
                Errno::XDEV => {
                    format!("invalid volume subpath {subpath:?}: it leads out of the volume")
                }
                errno => format!(
                    "cannot access path {subpath:?} in volume {name}: {}",
                    io::Error::from(errno)
                ),
            })
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let directory = flags | OFlags::DIRECTORY;
        let data = rustix::fs::open(self.directory(name)?, directory, Mode::empty());
        let data = data.map_err(failed)?;
        if subpath.is_empty() {
            return Ok(data);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        // EAGAIN: something was renamed while `..` was resolved.
        let mut result = Err(Errno::AGAIN);
        for _ in 0..16 {
            result = rustix::fs::openat2(&data, subpath, flags, Mode::empty(), resolve);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        result.map_err(failed)
    }

    /// Bytes on disk, each inode once.
    pub(crate) fn size(&self, name: &str) -> u64 {
        if let Some(size) = self.image_size(name) {
            return size;
        }
        let mut seen = std::collections::HashSet::new();
        let mut total = 0_u64;
        let mut queue = vec![self.data(name)];
        while let Some(directory) = queue.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    queue.push(entry.path());
                } else if meta.nlink() == 1 || seen.insert(meta.ino()) {
                    total = total.saturating_add(meta.len());
                }
            }
        }
        total
    }
}

/// In Docker's words.
fn not_mounted(data: &Path, device: &str, why: &str) -> RuntimeError {
    let data = data.display();
    RuntimeError::InvalidArgument(format!(
        "error while mounting volume '{data}': failed to mount local volume: mount {device}:{data}, \
         flags: 0x1000: {why}"
    ))
}

/// Whether a subpath can be one: relative, and not above the volume by its own words.
pub(crate) fn is_local(subpath: &str) -> bool {
    let mut depth = 0_usize;
    Path::new(subpath).components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => depth.checked_sub(1).inspect(|up| depth = *up).is_some(),
        Component::RootDir | Component::Prefix(_) => false,
    })
}
