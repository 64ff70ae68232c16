//! Looking for a plain text wherever a host would give it away.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use memchr::memmem;

/// Memory is looked through in pieces of so many bytes.
const CHUNK: usize = 4 << 10;
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// The places in which any of these texts is found: files below a directory, and all processes'
/// arguments and environments.
#[must_use]
pub fn places(directory: &Path, texts: &[&[u8]]) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            let listed = fs::read_dir(&path).into_iter().flatten().flatten();
            left.extend(listed.map(|entry| entry.path()));
        } else if metadata.is_file() && file_has(&path, texts) {
            found.push(path.display().to_string());
        }
    }
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        for name in ["cmdline", "environ"] {
            let path = process.path().join(name);
            if fs::read(&path).is_ok_and(|bytes| has(&bytes, texts)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// The places in a process' memory in which any of these texts is: what a core file of it would hold.
#[must_use]
pub fn in_memory(pid: i32, texts: &[&[u8]]) -> Vec<String> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let maps = fs::read_to_string(process.join("maps")).expect("the process' maps");
    let mut memory = fs::File::open(process.join("mem")).expect("the process' memory");
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let Some((from, to)) = range.split_once('-') else {
            continue;
        };
        let parse = |text| u64::from_str_radix(text, 16).unwrap_or_default();
        let (from, to) = (parse(from), parse(to));
        // A machine's memory is its own affair; what is no memory can't be read.
        if !rights.starts_with("rw") || line.ends_with("[vvar]") {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or_default()];
        if memory.seek(SeekFrom::Start(from)).is_err() || memory.read_exact(&mut bytes).is_err() {
            continue;
        }
        for text in texts {
            // Most of it was never written to.
            for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
                let from = number * CHUNK;
                let to = (from + chunk.len() + text.len()).min(bytes.len());
                let empty = ZEROS.get(..chunk.len()) == Some(chunk);
                let window = bytes.get(from..to).unwrap_or_default();
                if !empty && memmem::find(window, text).is_some() {
                    found.push(format!("process {pid}: {line}"));
                }
            }
        }
    }
    found
}

/// Whether a file has any of them, by its data: disks of machines are mostly holes.
fn file_has(path: &Path, texts: &[&[u8]]) -> bool {
    let Ok(mut file) = fs::File::open(path) else {
        return false;
    };
    let mut at = 0;
    while let Ok(from) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(from));
        let to = hole.unwrap_or(from);
        if to <= from {
            break;
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or_default()];
        let read = file
            .seek(SeekFrom::Start(from))
            .and_then(|_| file.read_exact(&mut bytes));
        if read.is_ok() && has(&bytes, texts) {
            return true;
        }
        at = to;
    }
    false
}

fn has(bytes: &[u8], texts: &[&[u8]]) -> bool {
    texts.iter().any(|text| memmem::find(bytes, text).is_some())
}
