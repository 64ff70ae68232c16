//! Layers reach the disk in the background, after the work that everybody waits for.
//!
//! A layer that isn't known to be on disk carries the boot id in a file. As long as that boot
//! lasts the page cache has the layer, whatever became of the process; a layer of another boot was
//! cut off by a crash of the machine and may have holes, so it is dropped.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Result, failed};
use crate::worker::Worker;

/// The marker in a layer's directory.
const MARKER: &str = "unsynced";

/// Writes layers to disk, and knows which were.
pub(crate) struct Sync {
    boot: String,
    worker: Worker<Vec<PathBuf>>,
}

/// What a layer's marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is on disk.
    Synced,
    /// It is in this boot's page cache.
    Cached,
    /// It is of an earlier boot, and nobody knows what of it reached the disk.
    Lost,
}

impl Sync {
    pub(crate) fn new(root: &Path) -> Result<Sync> {
        let boot_id = Path::new("/proc/sys/kernel/random/boot_id");
        let boot = fs::read_to_string(boot_id).map_err(failed("read", boot_id))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd: OwnedFd =
            rustix::fs::open(root, flags, Mode::empty()).map_err(failed("open", root))?;
        let worker = Worker::new("sync", move |layers: Vec<PathBuf>| {
            if let Err(error) = rustix::fs::syncfs(&fd) {
                tracing::warn!(%error, "can't write the layers to disk");
                return;
            }
            for layer in layers {
                // A layer may be gone by now.
                let _ = fs::remove_file(layer.join(MARKER));
            }
        });
        Ok(Sync {
            boot: boot.trim().to_owned(),
            worker,
        })
    }

    /// Marks a directory that becomes a layer.
    pub(crate) fn mark(&self, dir: &Path) -> Result<()> {
        let path = dir.join(MARKER);
        fs::write(&path, &self.boot).map_err(failed("write", &path))
    }

    pub(crate) fn state(&self, dir: &Path) -> Result<State> {
        let path = dir.join(MARKER);
        match fs::read_to_string(&path) {
            Ok(boot) if boot == self.boot => Ok(State::Cached),
            Ok(_) => Ok(State::Lost),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(State::Synced),
            Err(e) => Err(failed("read", &path)(e)),
        }
    }

    /// Has these layers written to disk and their markers removed.
    pub(crate) fn start(&self, layers: Vec<PathBuf>) {
        if !layers.is_empty() {
            self.worker.push(layers);
        }
    }

    pub(crate) fn wait(&self) {
        self.worker.wait();
    }
}
