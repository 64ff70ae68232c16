//! Gives the first part of all names in an archive another name.

use std::io::{Read, Write};

use coracle_archive::{Entry, Kind, Limits, Segment, TarReader, TarWriter};

use crate::error::{Error, Result};

pub(super) fn archive_error(error: coracle_archive::Error) -> Error {
    Error::usage(format!("the archive: {error}"))
}

/// Copies an archive with names that begin with `old` beginning with `new`.
pub(super) fn rebase(source: impl Read, target: impl Write, old: &str, new: &str) -> Result<()> {
    let mut reader = TarReader::new(source, Limits::default());
    let mut writer = TarWriter::new(target);
    while let Some(mut entry) = reader.next_entry().map_err(archive_error)? {
        entry.path = renamed(&entry.path, old.as_bytes(), new.as_bytes());
        if entry.kind == Kind::HardLink {
            entry.link = renamed(&entry.link, old.as_bytes(), new.as_bytes());
        }
        let segments = entry.sparse.take();
        copy(&entry, segments, &mut reader, &mut writer).map_err(archive_error)?;
    }
    writer.finish().map_err(archive_error)?;
    Ok(())
}

/// One entry; holes come out as zeros.
fn copy<R: Read, W: Write>(
    entry: &Entry,
    segments: Option<Vec<Segment>>,
    reader: &mut TarReader<R>,
    writer: &mut TarWriter<W>,
) -> coracle_archive::Result<()> {
    writer.entry(entry)?;
    if entry.kind != Kind::File {
        return Ok(());
    }
    let Some(segments) = segments else {
        loop {
            let chunk = reader.chunk()?;
            if chunk.is_empty() {
                return Ok(());
            }
            writer.data(chunk)?;
        }
    };
    let mut segments = segments.into_iter();
    let mut at = 0;
    let mut left = 0;
    loop {
        let mut chunk = reader.chunk()?;
        if chunk.is_empty() {
            return Ok(());
        }
        while !chunk.is_empty() {
            if left == 0 {
                let Some(segment) = segments.next() else {
                    return Ok(());
                };
                writer.hole(segment.offset.saturating_sub(at))?;
                (at, left) = (segment.offset, segment.len);
                continue;
            }
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            let (data, rest) = chunk.split_at(length);
            writer.data(data)?;
            at += data.len() as u64;
            left -= data.len() as u64;
            chunk = rest;
        }
    }
}

fn renamed(path: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let absolute = old == b"/";
    let bare = path.strip_prefix(b"./").unwrap_or(path);
    let rest = match old {
        // The root's entries have names without one.
        b"/" => path.strip_prefix(b"/").unwrap_or(path),
        b"." if bare == b"." || bare.is_empty() => b"",
        b"." => bare,
        old => match bare.strip_prefix(old) {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => {
                rest.strip_prefix(b"/").unwrap_or(rest)
            }
            _ => return path.to_vec(),
        },
    };
    debug_assert!(absolute || !rest.starts_with(b"/"));
    if rest.is_empty() {
        return new.to_vec();
    }
    [new, b"/", rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_changed() {
        for (path, old, new, expected) in [
            ("a", "a", "b", "b"),
            ("a/x/y", "a", "b", "b/x/y"),
            ("a/", "a", "b", "b"),
            ("ab/x", "a", "b", "ab/x"),
            ("./x", ".", "b", "b/x"),
            ("./", ".", "b", "b"),
            (".", ".", "b", "b"),
            ("/", "/", "b", "b"),
            ("/x", "/", "b", "b/x"),
        ] {
            let found = renamed(path.as_bytes(), old.as_bytes(), new.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn contents_stay() {
        let mut writer = TarWriter::new(Vec::new());
        let file = Entry {
            path: b"a/f".to_vec(),
            size: 5,
            mode: 0o644,
            ..Entry::default()
        };
        writer.entry(&file).unwrap();
        writer.data(b"hello").unwrap();
        let archive = writer.finish().unwrap();
        let mut changed = Vec::new();
        rebase(&*archive, &mut changed, "a", "b").unwrap();
        let mut reader = TarReader::new(&*changed, Limits::default());
        let entry = reader.next_entry().unwrap().unwrap();
        assert_eq!(entry.path, b"b/f");
        assert_eq!(reader.chunk().unwrap(), b"hello");
        assert!(rebase(&b"not a tar archive at all"[..], std::io::sink(), "a", "b").is_err());
    }
}
