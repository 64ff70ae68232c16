//! Which files a log consists of, while a writer may be rotating them.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::source::Source;
use crate::config::Driver;
use crate::config::LogConfig;
use crate::sibling;

/// An open log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) file: File,
    pub(crate) gzip: bool,
    /// Whether it had the newest file's name when it was opened.
    pub(crate) newest: bool,
}

impl LogFile {
    fn inode(&self) -> io::Result<(u64, u64)> {
        let meta = self.file.metadata()?;
        Ok((meta.dev(), meta.ino()))
    }
}

/// Opens all files of a log, the oldest first.
///
/// A writer only moves files to higher numbers, so going upwards misses none; one that is met
/// twice is left out, also if it was compressed meanwhile.
pub(crate) fn open_all(config: &LogConfig) -> io::Result<Vec<LogFile>> {
    let mut found: Vec<LogFile> = Vec::new();
    if let Some(file) = open(&config.path)? {
        found.push(LogFile {
            file,
            gzip: false,
            newest: true,
        });
    }
    let mut gap = false;
    for index in 1..config.max_file.max(1) {
        let plain = open(&sibling(&config.path, index, false))?.map(|file| (file, false));
        let file = match plain {
            Some(plain) => Some(plain),
            None => open(&sibling(&config.path, index, true))?.map(|file| (file, true)),
        };
        let Some((file, gzip)) = file else {
            // A rotation under way leaves one number free.
            if gap {
                break;
            }
            gap = true;
            continue;
        };
        gap = false;
        let file = LogFile {
            file,
            gzip,
            newest: false,
        };
        if !is_repeat(config.driver, found.last(), &file)? {
            found.push(file);
        }
    }
    found.reverse();
    Ok(found)
}

fn is_repeat(driver: Driver, before: Option<&LogFile>, file: &LogFile) -> io::Result<bool> {
    let Some(before) = before else {
        return Ok(false);
    };
    if before.inode()? == file.inode()? {
        return Ok(true);
    }
    if before.gzip || !file.gzip {
        return Ok(false);
    }
    let mark = Source::mark(driver, &file.file, true)?;
    Ok(mark.is_some() && mark == Source::mark(driver, &before.file, false)?)
}

/// The files that were begun after `current`, the oldest first. If `current` is not among them
/// any more these are all there are.
pub(crate) fn open_after(config: &LogConfig, current: &Source) -> io::Result<Vec<LogFile>> {
    let mut files = open_all(config)?;
    let mut at = None;
    for (index, file) in files.iter().enumerate() {
        if file.inode()? == current.inode {
            at = Some(index);
        }
    }
    if at.is_none()
        && let Some(file) = current.plain()
        && let Some(mark) = Source::mark(config.driver, file, false)?
    {
        for (index, file) in files.iter().enumerate() {
            if file.gzip && Source::mark(config.driver, &file.file, true)? == Some(mark) {
                at = Some(index);
            }
        }
    }
    if let Some(at) = at {
        files.drain(..=at);
    }
    Ok(files)
}

/// Whether the newest file is another one than `current`.
pub(crate) fn is_rotated(config: &LogConfig, current: &Source) -> io::Result<bool> {
    match std::fs::metadata(&config.path) {
        Ok(meta) => Ok((meta.dev(), meta.ino()) != current.inode),
        // It will be there soon, and that is seen.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
