//! What QEMU and the guest write: both bounded.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::pipe::PipeFlags;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::error::{Error, Result};

/// The console's log is renamed to `NAME.1`, and begun anew, at this size.
const MAX_LOG: u64 = 1 << 20;

/// How much of standard error is kept.
const LAST_WORDS: usize = 4 << 10;

/// A pipe: our end, and the one to hand on.
pub(super) fn pipe() -> Result<(Receiver, OwnedFd)> {
    let (read, write) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::os("making a pipe"))?;
    let read = Receiver::from_owned_fd(read).map_err(Error::io("making a pipe"))?;
    Ok((read, write))
}

/// The console's log: which file it is can be told later.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Option<Place>>>);

struct Place {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Log {
    /// A log in this file; an empty path is none.
    pub(super) fn create(path: &Path) -> Result<Log> {
        let log = Log::default();
        if !path.as_os_str().is_empty() {
            log.begin(path)?;
        }
        Ok(log)
    }

    /// Writes to this file from now on.
    pub(super) fn begin(&self, path: &Path) -> Result<()> {
        let place = Place {
            path: path.into(),
            file: create(path).map_err(Error::io(format!("making {}", path.display())))?,
            length: 0,
        };
        *self.place() = Some(place);
        Ok(())
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what comes, until nothing does any more.
    ///
    /// Writes of a console's few lines into the page cache don't block, so no thread is kept for
    /// them. What can't be written is lost: a full disk must not stop the machine.
    pub(super) async fn follow(self, mut from: Receiver) {
        let mut buffer = vec![0; 4 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            if let Some(place) = &mut *self.place() {
                place.write(buffer.get(..count).unwrap_or_default());
            }
        }
    }
}

impl Place {
    fn write(&mut self, bytes: &[u8]) {
        if self.length >= MAX_LOG {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            let renamed = std::fs::rename(&self.path, &old);
            match renamed.and_then(|()| create(&self.path)) {
                Ok(file) => self.file = file,
                Err(_) => return,
            }
            self.length = 0;
        }
        let _ = self.file.write_all(bytes);
        self.length += bytes.len() as u64;
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Reads until the end; the last of it.
pub(super) async fn last_words(mut from: Receiver) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 1 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if kept.len() > LAST_WORDS {
            kept.drain(..kept.len() - LAST_WORDS);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_talkative_guest_fills_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        let (read, write) = pipe().unwrap();
        let log = Log::create(&path).unwrap();
        let follower = tokio::spawn(log.follow(read));
        tokio::task::spawn_blocking(move || {
            let mut writer = File::from(write);
            for _ in 0..5000 {
                writer.write_all(&[b'x'; 1000]).unwrap();
            }
        })
        .await
        .unwrap();
        follower.await.unwrap();
        let sizes: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().sum::<u64>() < 2 * MAX_LOG + 16384);
    }

    #[tokio::test]
    async fn the_last_words_are_the_last() {
        let (read, write) = pipe().unwrap();
        let writer = tokio::task::spawn_blocking(move || {
            let mut file = File::from(write);
            file.write_all(&[b'a'; 50_000]).unwrap();
            file.write_all(b"the end").unwrap();
        });
        let words = last_words(read).await;
        writer.await.unwrap();
        assert_eq!(words.len(), LAST_WORDS);
        assert!(words.ends_with("athe end"));
    }
}
