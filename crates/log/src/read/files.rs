//! Which files a log consists of, while a writer may be rotating them.

use std::collections::BTreeMap;
use std::collections::HashMap;
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

/// So many numbers without a file, one after the other, end a log. A rotation under way leaves
/// one free; one more is met for each further rotation that gets ahead of the reader.
const GAPS: u32 = 8;

/// Opens all files of a log, the oldest first.
///
/// A writer only moves files to higher numbers, so going upwards misses none of those that were
/// there at the beginning. If it rotates faster than this looks, some are met again, and among
/// them newer ones that have overtaken: who was met last is older than all who were met before.
pub(crate) fn open_all(config: &LogConfig) -> io::Result<Vec<LogFile>> {
    let mut found = Found::default();
    if let Some(file) = open(&config.path)? {
        found.meet(config.driver, file, false, true)?;
    }
    let mut gaps = 0;
    for index in 1..config.max_file.max(1) {
        let plain = open(&sibling(&config.path, index, false))?.map(|file| (file, false));
        let file = match plain {
            Some(plain) => Some(plain),
            None => open(&sibling(&config.path, index, true))?.map(|file| (file, true)),
        };
        if let Some((file, gzip)) = file {
            gaps = 0;
            found.meet(config.driver, file, gzip, false)?;
        } else {
            gaps += 1;
            if gaps == GAPS {
                break;
            }
        }
    }
    Ok(found.files.into_values().rev().collect())
}

/// The files that were met, each under the number of its last meeting.
#[derive(Default)]
struct Found {
    files: BTreeMap<usize, LogFile>,
    inodes: HashMap<(u64, u64), usize>,
    /// By the marks of those that aren't compressed, taken when they are first needed.
    marks: HashMap<u64, usize>,
    unmarked: Vec<usize>,
    count: usize,
}

impl Found {
    fn meet(&mut self, driver: Driver, file: File, gzip: bool, newest: bool) -> io::Result<()> {
        let file = LogFile { file, gzip, newest };
        let inode = file.inode()?;
        let number = self.count;
        self.count += 1;
        // While a file is open no other one gets its inode.
        let mut before = self.inodes.insert(inode, number);
        if before.is_none()
            && gzip
            && let Some(mark) = Source::mark(driver, &file.file, true)?
        {
            self.mark_all(driver)?;
            before = self.marks.remove(&mark);
        }
        if let Some(old) = before.and_then(|before| self.files.remove(&before)) {
            let old = old.inode()?;
            if old != inode {
                self.inodes.remove(&old);
            }
        }
        if !gzip {
            self.unmarked.push(number);
        }
        self.files.insert(number, file);
        Ok(())
    }

    fn mark_all(&mut self, driver: Driver) -> io::Result<()> {
        for number in std::mem::take(&mut self.unmarked) {
            let Some(plain) = self.files.get(&number) else {
                continue;
            };
            match Source::mark(driver, &plain.file, false)? {
                Some(mark) => {
                    self.marks.insert(mark, number);
                }
                // Still empty.
                None => self.unmarked.push(number),
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;

    use super::*;

    /// What a reader meets that is slower than a writer that rotates: files that it has already
    /// seen, newer ones that have overtaken it, and numbers without a file.
    #[test]
    fn files_met_again_are_in_order_once() {
        let dir = tempfile::tempdir().unwrap();
        let config = LogConfig {
            driver: Driver::JsonFile,
            path: dir.path().join("log"),
            max_size: Some(100),
            max_file: 50,
            compress: true,
            attrs: Default::default(),
        };
        let line = |name: &str| {
            format!(
                "{{\"log\":\"{name}\",\"stream\":\"stdout\",\"time\":\"2024-01-01T00:00:00Z\"}}\n"
            )
        };
        let path = |index| sibling(&config.path, index, false);
        let gzip = |index, name: &str| {
            let file = File::create(sibling(&config.path, index, true)).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, Default::default());
            encoder.write_all(line(name).as_bytes()).unwrap();
            encoder.finish().unwrap();
        };
        std::fs::write(&config.path, line("d")).unwrap();
        std::fs::write(path(1), line("c")).unwrap();
        gzip(2, "b");
        // Overtaken by two rotations.
        gzip(3, "e");
        std::fs::hard_link(&config.path, path(4)).unwrap();
        // 5, 6 and 7 are free; then a compressed one that was met before it was.
        gzip(8, "c");
        std::fs::hard_link(
            sibling(&config.path, 2, true),
            sibling(&config.path, 9, true),
        )
        .unwrap();
        gzip(10, "a");
        let names: Vec<_> = open_all(&config)
            .unwrap()
            .iter()
            .map(|file| {
                assert!(
                    !file.newest,
                    "no more is written to those that were rotated"
                );
                let mut text = String::new();
                if file.gzip {
                    flate2::read::GzDecoder::new(&file.file)
                        .read_to_string(&mut text)
                        .unwrap();
                } else {
                    (&file.file).read_to_string(&mut text).unwrap();
                }
                text.chars().nth(8).unwrap()
            })
            .collect();
        assert_eq!(names, ['a', 'b', 'c', 'd', 'e']);
    }
}
