//! Writes tar streams, entry by entry.

use std::io::Write;

use crate::entry::{Entry, Kind};
use crate::error::{Error, Result};
use crate::header::{BLOCK, padding};
use crate::path::split;
use crate::pax;

/// Zeros for padding and holes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Writes a tar stream: ustar headers, with PAX records where those don't suffice.
pub struct TarWriter<W: Write> {
    out: W,
    /// Contents that the current entry still needs, and the padding after them.
    remaining: u64,
    padding: u64,
}

impl<W: Write> TarWriter<W> {
    /// Writes to `out`, which should be buffered or take large pieces: headers come one by one.
    pub fn new(out: W) -> TarWriter<W> {
        TarWriter {
            out,
            remaining: 0,
            padding: 0,
        }
    }

    /// Starts an entry. [`Entry::sparse`] must be None. Of a regular file
    /// [`size`](Entry::size) bytes must follow by [`data`](TarWriter::data); what is missing of
    /// the entry before is filled with zeros, as GNU tar does for files that shrink meanwhile.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.end_entry()?;
        let mut records = Vec::new();
        let header = self.header(entry, &mut records);
        if !records.is_empty() {
            let name = entry
                .path
                .get(..entry.path.len().min(80))
                .unwrap_or_default();
            let extension = Entry {
                path: [b"PaxHeaders.0/", split_base(name)].concat(),
                mode: 0o644,
                size: records.len() as u64,
                ..Entry::default()
            };
            let mut block = self.header(&extension, &mut Vec::new());
            block[156] = b'x';
            finish_header(&mut block);
            self.put(&block)?;
            self.put(&records)?;
            self.zeros(padding(records.len() as u64))?;
        }
        self.put(&header)?;
        if entry.kind == Kind::File {
            self.remaining = entry.size;
            self.padding = padding(entry.size);
        }
        Ok(())
    }

    /// Writes contents of the current entry; what exceeds its size is cut off.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn data(&mut self, data: &[u8]) -> Result<()> {
        let len = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(data.len());
        let data = data.get(..len).unwrap_or_default();
        self.remaining -= data.len() as u64;
        self.put(data)
    }

    /// Writes zeros as contents of the current entry; what exceeds its size is cut off.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn hole(&mut self, bytes: u64) -> Result<()> {
        let bytes = bytes.min(self.remaining);
        self.remaining -= bytes;
        self.zeros(bytes)
    }

    /// Bytes that the current entry still needs.
    pub fn missing(&self) -> u64 {
        self.remaining
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn finish(mut self) -> Result<W> {
        self.end_entry()?;
        self.zeros(2 * BLOCK as u64)?;
        self.out.flush().map_err(Error::Write)?;
        Ok(self.out)
    }

    fn end_entry(&mut self) -> Result<()> {
        let zeros = self.remaining + self.padding;
        self.remaining = 0;
        self.padding = 0;
        self.zeros(zeros)
    }

    fn zeros(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let len = count.min(ZEROS.len() as u64);
            self.put(ZEROS.get(..len as usize).unwrap_or_default())?;
            count -= len;
        }
        Ok(())
    }

    fn put(&mut self, data: &[u8]) -> Result<()> {
        self.out.write_all(data).map_err(Error::Write)
    }

    /// The plain header; `records` gets what doesn't fit into it.
    fn header(&self, entry: &Entry, records: &mut Vec<u8>) -> [u8; BLOCK] {
        let mut block = [0u8; BLOCK];
        let mut path = entry.path.clone();
        if entry.kind == Kind::Directory && !path.ends_with(b"/") {
            path.push(b'/');
        }
        match prefix_and_name(&path) {
            Some((prefix, name)) => {
                put_field(&mut block, 0, 100, name);
                put_field(&mut block, 345, 155, prefix);
            }
            None => {
                pax::push(records, b"path", &path);
                put_field(&mut block, 0, 100, &path);
            }
        }
        if entry.link.len() > 100 {
            pax::push(records, b"linkpath", &entry.link);
        }
        put_field(&mut block, 157, 100, &entry.link);
        let size = if entry.kind == Kind::File {
            entry.size
        } else {
            0
        };
        put_octal(&mut block, 100, 7, u64::from(entry.mode & 0o7777));
        // The kernel's device numbers have 12 and 20 bits: they fit.
        put_octal(&mut block, 329, 7, u64::from(entry.device.0));
        put_octal(&mut block, 337, 7, u64::from(entry.device.1));
        for (key, at, digits, value) in [
            (&b"uid"[..], 108, 7, u64::from(entry.uid)),
            (b"gid", 116, 7, u64::from(entry.gid)),
            (b"size", 124, 11, size),
        ] {
            if !put_octal(&mut block, at, digits, value) {
                pax::push(records, key, value.to_string().as_bytes());
            }
        }
        let seconds = u64::try_from(entry.mtime.secs).unwrap_or(0);
        let fits = put_octal(&mut block, 136, 11, seconds);
        if !fits || entry.mtime.secs < 0 || entry.mtime.nanos != 0 {
            pax::push(records, b"mtime", pax::time_value(entry.mtime).as_bytes());
        }
        for (name, value) in &entry.xattrs {
            pax::push_xattr(records, name, value);
        }
        block[156] = match entry.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::CharDevice => b'3',
            Kind::BlockDevice => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        };
        finish_header(&mut block);
        block
    }
}

fn split_base(path: &[u8]) -> &[u8] {
    path.get(split(path).1..).unwrap_or_default()
}

/// Splits a path into ustar's two fields, None where it doesn't fit.
fn prefix_and_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // The slash between them isn't stored, and the name must not be empty.
    let earliest = path.len().checked_sub(101)?;
    let range = path.get(earliest..path.len() - 1)?;
    let slash = earliest + range.iter().position(|b| *b == b'/')?;
    let (prefix, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    (!prefix.is_empty() && prefix.len() <= 155).then_some((prefix, name))
}

fn put_field(block: &mut [u8; BLOCK], at: usize, len: usize, value: &[u8]) {
    for (to, from) in block.iter_mut().skip(at).take(len).zip(value) {
        *to = *from;
    }
}

/// Writes octal digits and a NUL. False, with zeros written, where the digits don't suffice.
fn put_octal(block: &mut [u8; BLOCK], at: usize, digits: usize, value: u64) -> bool {
    let fits = value >> (3 * digits) == 0;
    let mut rest = if fits { value } else { 0 };
    for to in block.iter_mut().skip(at).take(digits).rev() {
        *to = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    fits
}

/// Magic, and the checksum of it all.
fn finish_header(block: &mut [u8; BLOCK]) {
    put_field(block, 257, 8, b"ustar\x0000");
    put_field(block, 148, 8, b"        ");
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    put_octal(block, 148, 6, sum);
    put_field(block, 154, 2, b"\0 ");
}
