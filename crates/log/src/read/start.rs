//! Where to begin: finding the last entries from the end, and a time without reading all that
//! is before it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;

use super::decode::MAX_ENTRY;
use super::decode::decode;
use super::files::LogFile;
use super::source::Next;
use super::source::Source;
use crate::config::Driver;

const BLOCK: u64 = 64 << 10;

/// A place in a log: the file's index, and where in that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) file: usize,
    /// The offset in a plain file.
    pub(crate) offset: u64,
    /// Entries to pass over, in a compressed or damaged one.
    pub(crate) entries: usize,
}

/// Where the last `count` entries begin.
pub(crate) fn tail(driver: Driver, files: &[LogFile], count: usize) -> io::Result<Start> {
    let mut left = count;
    for (index, file) in files.iter().enumerate().rev() {
        let size = file.file.metadata()?.len();
        let found = match (file.gzip, driver) {
            (true, _) => None,
            (false, Driver::Local) => local_back(&file.file, size, left)?,
            (false, _) => Some(lines_back(&file.file, size, left)?),
        };
        match found {
            Some((0, offset)) => {
                return Ok(Start {
                    file: index,
                    offset,
                    entries: 0,
                });
            }
            Some((more, _)) => left = more,
            None => {
                let there = count_entries(driver, file)?;
                if there >= left {
                    return Ok(Start {
                        file: index,
                        offset: 0,
                        entries: there - left,
                    });
                }
                left -= there;
            }
        }
    }
    Ok(Start {
        file: 0,
        offset: 0,
        entries: 0,
    })
}

/// Goes back `count` lines from the end: how many are still to go, and where the first begins.
/// What follows the last newline is no line.
fn lines_back(file: &File, size: u64, count: usize) -> io::Result<(usize, u64)> {
    // The newline before the first wanted line is the (count + 1)th from the end.
    let mut newlines = 0;
    let mut end = size;
    let mut block = vec![0; BLOCK as usize];
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let Some(bytes) = block.get_mut(..(end - start) as usize) else {
            break;
        };
        file.read_exact_at(bytes, start)?;
        for (index, byte) in bytes.iter().enumerate().rev() {
            if *byte == b'\n' {
                newlines += 1;
                if newlines == count + 1 {
                    return Ok((0, start + index as u64 + 1));
                }
            }
        }
        end = start;
    }
    Ok((count - newlines, 0))
}

/// As [`lines_back`], by the lengths after entries; `None` if they are no help.
fn local_back(file: &File, size: u64, count: usize) -> io::Result<Option<(usize, u64)>> {
    let mut end = size;
    // One more than wanted, to see that this is where an entry ends.
    for done in 0..=count {
        if end == 0 {
            return Ok(Some((count - done, 0)));
        }
        let Some(at) = end.checked_sub(4) else {
            return Ok(None);
        };
        let mut suffix = [0; 4];
        file.read_exact_at(&mut suffix, at)?;
        let len = u64::from(u32::from_be_bytes(suffix));
        let Some(start) = end.checked_sub(len + 8) else {
            return Ok(None);
        };
        let mut prefix = [0; 4];
        file.read_exact_at(&mut prefix, start)?;
        if prefix != suffix || len > MAX_ENTRY as u64 {
            return Ok(None);
        }
        if done == count {
            return Ok(Some((0, end)));
        }
        end = start;
    }
    Ok(None)
}

fn count_entries(driver: Driver, file: &LogFile) -> io::Result<usize> {
    use std::io::Seek;
    (&file.file).rewind()?;
    let mut source = Source::new(driver, file.file.try_clone()?, file.gzip)?;
    source.stop_at_end()?;
    let mut count = 0;
    loop {
        match source.next()? {
            Next::Content(_) => count += 1,
            Next::Skipped(_) => {}
            Next::End(_) => break,
        }
    }
    (&file.file).rewind()?;
    Ok(count)
}

/// Where to begin so as not to miss an entry of `since` or later.
pub(crate) fn since(driver: Driver, files: &[LogFile], since: Timestamp) -> io::Result<Start> {
    let mut first = 0;
    for (index, file) in files.iter().enumerate().skip(1) {
        // If this file begins early enough, those before it are too early.
        match first_time(driver, file)? {
            Some(time) if time <= since => first = index,
            _ => break,
        }
    }
    let offset = match files.get(first) {
        Some(file) if !file.gzip && driver == Driver::JsonFile => bisect(&file.file, since)?,
        _ => 0,
    };
    Ok(Start {
        file: first,
        offset,
        entries: 0,
    })
}

fn first_time(driver: Driver, file: &LogFile) -> io::Result<Option<Timestamp>> {
    use std::io::Seek;
    (&file.file).rewind()?;
    let next = Source::new(driver, file.file.try_clone()?, file.gzip)?.next()?;
    (&file.file).rewind()?;
    Ok(match next {
        Next::Content(content) => decode(driver, &content).ok().map(|entry| entry.time),
        _ => None,
    })
}

/// Finds the beginning of a line before which all are earlier than `since`.
fn bisect(file: &File, since: Timestamp) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    let mut best = 0;
    while high - low > BLOCK {
        let middle = low + (high - low) / 2;
        match line_after(file, middle)? {
            Some((offset, time)) if time < since && offset < high => {
                best = offset;
                low = middle;
            }
            _ => high = middle,
        }
    }
    Ok(best)
}

/// The first readable line that begins after `offset`, if it is not far: where, and its time.
fn line_after(file: &File, offset: u64) -> io::Result<Option<(u64, Timestamp)>> {
    let mut bytes = vec![0; 2 * BLOCK as usize];
    let read = file.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    let mut at = offset;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if index > 0
            && line.ends_with(b"\n")
            && let Ok(entry) = decode(Driver::JsonFile, line)
        {
            return Ok(Some((at, entry.time)));
        }
        at += line.len() as u64;
    }
    Ok(None)
}
