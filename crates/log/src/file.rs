//! A log file with its rotated siblings: `path` (the newest), `path.1`, `path.2`, …, each of
//! those perhaps with `.gz` at the end.
//!
//! Order of a rotation: the oldest is removed, the others move up by renaming, then the new
//! file is created. A compressed file is complete when its name appears; until its original is
//! gone both are there, with the same content.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::config::LogConfig;
use crate::sibling;

/// The newest file, open for appending.
#[derive(Debug)]
pub(crate) struct RotatedFile {
    path: PathBuf,
    max_size: Option<u64>,
    max_file: u32,
    compress: bool,
    file: File,
    size: u64,
    compressing: Option<JoinHandle<io::Result<()>>>,
}

impl RotatedFile {
    /// Opens the newest file, or creates it.
    pub(crate) fn open(config: &LogConfig) -> io::Result<Self> {
        let file = open(&config.path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: config.path.clone(),
            max_size: config.max_size,
            max_file: config.max_file.max(1),
            compress: config.compress,
            file,
            size,
            compressing: None,
        })
    }

    /// The bytes in the newest file.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The newest file itself.
    pub(crate) const fn get_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// How many bytes may be appended before the file is to be rotated; at least 1 entry of any
    /// length may, as in Docker.
    pub(crate) fn room(&self) -> u64 {
        self.max_size
            .map_or(u64::MAX, |max| max.saturating_sub(self.size))
    }

    /// Appends whole entries. After an error nothing of them is in the file.
    pub(crate) fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        match self.file.write_all(entries) {
            Ok(()) => {
                self.size += entries.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A torn entry would be skipped by readers anyway.
                let _ = self.file.set_len(self.size);
                Err(error)
            }
        }
    }

    /// Cuts the newest file.
    pub(crate) fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.file.set_len(size)?;
        self.size = size;
        Ok(())
    }

    /// Begins a new file. After an error the old one goes on, and is tried again later.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        self.settle()?;
        if self.max_file == 1 {
            // A new file instead of an emptied one: a reader finishes the old one first.
            remove(&self.path)?;
        } else {
            let last = self.max_file - 1;
            remove(&sibling(&self.path, last, false))?;
            remove(&sibling(&self.path, last, true))?;
            for index in (1..last).rev() {
                for gz in [false, true] {
                    let from = sibling(&self.path, index, gz);
                    rename(&from, &sibling(&self.path, index + 1, gz))?;
                }
            }
            rename(&self.path, &sibling(&self.path, 1, false))?;
        }
        self.file = open(&self.path)?;
        self.size = self.file.metadata()?.len();
        if self.compress && self.max_file > 1 {
            let from = sibling(&self.path, 1, false);
            let to = sibling(&self.path, 1, true);
            let work = move || compress(&from, &to);
            self.compressing = Some(
                std::thread::Builder::new()
                    .name("log-gzip".into())
                    .spawn(work)?,
            );
        }
        Ok(())
    }

    /// Waits for the compression of the last rotated file. If that failed the file stays as it
    /// was.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        match self.compressing.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(_)) => Err(io::Error::other("the compression of a log file failed")),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .read(true)
        .mode(0o640)
        .open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    ignore_missing(fs::remove_file(path))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    ignore_missing(fs::rename(from, to))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let temporary = to.with_extension("gz.tmp");
    let result = (|| {
        let mut source = File::open(from)?;
        let target = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(&temporary)?;
        let mut encoder = GzEncoder::new(target, Compression::default());
        io::copy(&mut source, &mut encoder)?;
        encoder.finish()?;
        fs::rename(&temporary, to)?;
        fs::remove_file(from)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}
