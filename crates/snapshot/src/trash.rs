//! Removal: out of sight by one rename, gone from disk later.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use coracle_archive::remove_tree;
use rustix::fs::{Mode, OFlags};

use crate::error::{Result, failed};
use crate::worker::Worker;

/// The directory of things that are being deleted.
pub(crate) struct Trash {
    dir: PathBuf,
    next: AtomicU64,
    worker: Worker<String>,
}

impl Trash {
    /// Starts deleting what is left from earlier on.
    pub(crate) fn open(dir: PathBuf) -> Result<Trash> {
        fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd: OwnedFd =
            rustix::fs::open(&dir, flags, Mode::empty()).map_err(failed("open", &dir))?;
        let worker = Worker::new("trash", move |name: String| {
            if let Err(error) = remove_tree(fd.as_fd(), name.as_bytes()) {
                tracing::warn!(%error, name, "can't delete a directory in the trash");
            }
        });
        let mut last = 0;
        for entry in fs::read_dir(&dir).map_err(failed("list", &dir))? {
            let entry = entry.map_err(failed("list", &dir))?;
            if let Ok(name) = entry.file_name().into_string() {
                last = last.max(name.parse().unwrap_or(0));
                worker.push(name);
            }
        }
        Ok(Trash {
            dir,
            next: AtomicU64::new(last + 1),
            worker,
        })
    }

    /// Moves a file or directory away and has it deleted. It is no error if it doesn't exist.
    pub(crate) fn take(&self, path: &Path) -> Result<()> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        match fs::rename(path, self.dir.join(&name)) {
            Ok(()) => self.worker.push(name),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("remove", path)(e)),
        }
        Ok(())
    }

    pub(crate) fn wait(&self) {
        self.worker.wait();
    }
}
