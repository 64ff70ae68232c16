//! Files written so that a crash leaves the old one or the new one.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::fs::flock;
use rustix::io::Errno;

use crate::StoreError;

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|file| file.sync_all())
        .map_err(StoreError::io("synchronising", dir))
}

/// Replaces `dir/name` by `bytes`, durably.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = dir.join(name);
    let temporary = dir.join(format!("{name}.new"));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)
    };
    write().map_err(StoreError::io("writing", &path))?;
    sync_dir(dir)
}

/// Reads a whole file of at most `limit` bytes; `None` if there is none.
pub(crate) fn read(path: &Path, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!("more than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// A file that is locked until this is dropped.
///
/// Closing it would not do: a process forked meanwhile for a program to be started has a copy of
/// the descriptor until it gets to `exec`, and the lock would last as long.
pub(crate) struct LockedFile(File);

impl LockedFile {
    /// Locks `file`, unless somebody else has it locked: then [`None`].
    pub(crate) fn try_lock(file: File) -> Result<Option<Self>, Errno> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.0
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // The only failure is a descriptor that isn't open, and it is.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
