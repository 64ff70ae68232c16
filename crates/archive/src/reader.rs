//! Reads a tar stream entry by entry, with all extension headers merged.
//!
//! Where dialects differ it follows Go's archive/tar, which every container engine uses: what one
//! of them unpacks, this unpacks alike, so that no archive means two things. The `tar` crate isn't
//! used: it reads extension headers of whatever size they claim into memory, and knows no PAX
//! sparse files.

use std::io::{self, Read};

use crate::entry::{Entry, Kind, Segment};
use crate::error::{Error, Limit, Result, shown};
use crate::header::{BLOCK, Format, Header, padding, until_nul};
use crate::limits::Limits;
use crate::pax::{Pax, decimal};
use crate::sparse;

/// Bytes read at once; also the largest chunk of contents.
const BUFFER: usize = 256 << 10;

/// Contents up to this size come in one chunk, so that they are written by one call.
const WHOLE: u64 = 64 << 10;

/// A tar stream.
///
/// [`next_entry`](TarReader::next_entry) gives a header, [`chunk`](TarReader::chunk) then the
/// stored contents. It also is a [`Read`] of the current entry's contents.
pub struct TarReader<R> {
    source: R,
    limits: Limits,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Position of `start` in the stream.
    offset: u64,
    headers: u64,
    /// Contents of the current entry that are still to be read, and the padding after them.
    remaining: u64,
    padding: u64,
    sparse: bool,
    finished: bool,
}

/// What extension headers said about the entry that follows.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// Reads from an uncompressed stream.
    pub fn new(source: R, limits: Limits) -> TarReader<R> {
        TarReader {
            source,
            limits,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            offset: 0,
            headers: 0,
            remaining: 0,
            padding: 0,
            sparse: false,
            finished: false,
        }
    }

    /// The bytes of the stream that were used so far.
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// The stream, for reading what follows the archive's end. Up to 256 KiB of that may have been
    /// read already.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// The next entry, or None at the archive's end. What is left of the entry before is skipped.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Malformed`], [`Error::UnsupportedEntry`],
    /// [`Error::LimitExceeded`], [`Error::Read`]. After an error the stream is of no use.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        if self.finished {
            return Ok(None);
        }
        self.skip()?;
        let mut extensions = Extensions::default();
        loop {
            let offset = self.offset;
            let Some(block) = self.header()? else {
                if extensions.pax.is_some()
                    || extensions.name.is_some()
                    || extensions.link.is_some()
                {
                    return Err(Error::Truncated {
                        offset,
                        expected: "an entry",
                    });
                }
                self.finished = true;
                return Ok(None);
            };
            let header = Header(&block);
            let bad = |reason: String| Error::Malformed { offset, reason };
            match header.type_flag() {
                b'x' => {
                    let data = self.extension(header.size().map_err(bad)?)?;
                    let pax =
                        Pax::parse(&data).map_err(|reason| Error::Malformed { offset, reason })?;
                    extensions.pax = Some(pax);
                }
                // As in every engine, global headers have no say: `git archive` puts a comment there.
                b'g' => {
                    self.extension(header.size().map_err(bad)?)?;
                }
                b'L' => {
                    let data = self.extension(header.size().map_err(bad)?)?;
                    extensions.name = Some(until_nul(&data).to_vec());
                }
                b'K' => {
                    let data = self.extension(header.size().map_err(bad)?)?;
                    extensions.link = Some(until_nul(&data).to_vec());
                }
                _ => return self.entry(&header, extensions, offset).map(Some),
            }
        }
    }

    /// The next piece of the current entry's stored contents, empty at their end. Of a sparse file
    /// that is its segments' data, without the holes.
    ///
    /// # Errors
    /// [`Error::Truncated`] where the stream ends before the size in the header,
    /// [`Error::LimitExceeded`], [`Error::Read`].
    pub fn chunk(&mut self) -> Result<&[u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let buffered = (self.end - self.start) as u64;
        let want = if self.remaining <= WHOLE {
            self.remaining
        } else {
            1
        };
        if buffered < want && self.fill(want as usize)? < want as usize {
            let offset = self.offset + (self.end - self.start) as u64;
            return Err(Error::Truncated {
                offset,
                expected: "more contents",
            });
        }
        let take = ((self.end - self.start) as u64).min(self.remaining) as usize;
        let from = self.start;
        self.consume(take);
        self.remaining -= take as u64;
        Ok(self.buffer.get(from..from + take).unwrap_or_default())
    }

    /// Turns a header block into an entry, and makes its contents the current ones.
    fn entry(&mut self, header: &Header<'_>, ext: Extensions, offset: u64) -> Result<Entry> {
        let bad = |reason: String| Error::Malformed { offset, reason };
        let mut entry = header.entry().map_err(bad)?;
        let mut stored = header.size().map_err(bad)?;
        let mut pax = ext.pax.unwrap_or_default();
        stored = pax.size.unwrap_or(stored);
        pax.merge(&mut entry);
        if let Some(name) = ext.name {
            entry.path = name;
        }
        if let Some(link) = ext.link {
            entry.link = link;
        }
        if let Some(name) = pax.sparse.name.take() {
            entry.path = name;
        }
        for path in [&entry.path, &entry.link] {
            if path.len() > self.limits.max_path {
                let max = self.limits.max_path as u64;
                return Err(Error::LimitExceeded {
                    limit: Limit::Path,
                    max,
                });
            }
        }
        entry.kind = match header.type_flag() {
            // v7 archives mark directories by their names only.
            b'0' | 0 | b'7' if entry.path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            type_flag => {
                return Err(Error::UnsupportedEntry {
                    path: shown(&entry.path),
                    type_flag,
                });
            }
        };
        if i64::try_from(stored).is_err() {
            return Err(bad("the size is out of range".into()));
        }
        // Only files have contents, whatever the header's size says (as Go has it); a directory by
        // name has what its header says, and it is skipped.
        let by_name = matches!(header.type_flag(), b'0' | 0 | b'7');
        if entry.kind != Kind::File && !by_name {
            stored = 0;
        }
        self.remaining = stored;
        self.padding = padding(stored);
        self.sparse = false;
        if entry.kind == Kind::File {
            entry.size = stored;
            self.sparse_map(header, pax, &mut entry, offset)?;
        }
        Ok(entry)
    }

    /// Fills in [`Entry::sparse`] and the real size, where the file is sparse.
    fn sparse_map(
        &mut self,
        header: &Header<'_>,
        mut pax: Pax,
        entry: &mut Entry,
        offset: u64,
    ) -> Result<()> {
        let bad = |reason: String| Error::Malformed { offset, reason };
        let (segments, real_size) = if header.type_flag() == b'S' {
            if header.format() != Format::Gnu {
                return Err(bad("a sparse file in an archive that isn't GNU's".into()));
            }
            (
                self.gnu_map(header, offset)?,
                header.gnu_real_size().map_err(bad)?,
            )
        } else if pax.sparse.major == Some(1) && pax.sparse.minor == Some(0) {
            let real_size = pax.sparse.real_size;
            let real_size = real_size.ok_or_else(|| bad("a sparse file without a size".into()))?;
            (self.pax_map(offset)?, real_size)
        } else if let Some(map) = pax.sparse.map.take() {
            let real_size = pax.sparse.real_size;
            let real_size = real_size.ok_or_else(|| bad("a sparse file without a size".into()))?;
            (sparse::pairs(&map).map_err(bad)?, real_size)
        } else if pax.sparse.major.is_some_and(|major| major > 0) {
            return Err(bad("the sparse format's version isn't supported".into()));
        } else {
            return Ok(());
        };
        self.check_segments(segments.len())?;
        entry.sparse = Some(sparse::validate(segments, real_size, self.remaining).map_err(bad)?);
        entry.size = real_size;
        self.sparse = true;
        Ok(())
    }

    fn check_segments(&self, count: usize) -> Result<()> {
        if count > self.limits.max_segments {
            let max = self.limits.max_segments as u64;
            return Err(Error::LimitExceeded {
                limit: Limit::Segments,
                max,
            });
        }
        Ok(())
    }

    /// GNU's old format: four segments in the header, then blocks of 21.
    fn gnu_map(&mut self, header: &Header<'_>, offset: u64) -> Result<Vec<Segment>> {
        let bad = |reason: String| Error::Malformed { offset, reason };
        let mut segments = Vec::new();
        let (map, mut more) = header.gnu_map();
        sparse::gnu_segments(map, &mut segments).map_err(bad)?;
        while more {
            self.check_segments(segments.len())?;
            let block = self.block()?.ok_or(Error::Truncated {
                offset: self.offset,
                expected: "a sparse map",
            })?;
            sparse::gnu_segments(&block[..504], &mut segments).map_err(bad)?;
            more = block[504] != 0;
        }
        Ok(segments)
    }

    /// PAX 1.0: decimal numbers on lines of their own, in the first blocks of the contents.
    fn pax_map(&mut self, offset: u64) -> Result<Vec<Segment>> {
        let bad = |reason: &str| Error::Malformed {
            offset,
            reason: reason.to_owned(),
        };
        let mut numbers: Vec<u64> = Vec::new();
        let mut digits: Vec<u8> = Vec::new();
        let mut expected: Option<usize> = None;
        loop {
            if self.remaining < BLOCK as u64 {
                return Err(bad("the sparse map doesn't end"));
            }
            let block = self.block()?.ok_or(Error::Truncated {
                offset: self.offset,
                expected: "a sparse map",
            })?;
            self.remaining -= BLOCK as u64;
            for b in block {
                if expected.is_some_and(|count| numbers.len() == count) {
                    return sparse::pairs(&numbers).map_err(|reason| bad(&reason));
                }
                if b != b'\n' {
                    digits.push(b);
                    if digits.len() > 20 {
                        return Err(bad("the sparse map isn't made of numbers"));
                    }
                    continue;
                }
                let number = decimal("sparse map", &digits).map_err(|reason| bad(&reason))?;
                digits.clear();
                if expected.is_none() {
                    let count = usize::try_from(number).unwrap_or(usize::MAX);
                    self.check_segments(count)?;
                    expected = Some(count.saturating_mul(2));
                } else {
                    numbers.push(number);
                }
            }
            if expected.is_some_and(|count| numbers.len() == count) {
                return sparse::pairs(&numbers).map_err(|reason| bad(&reason));
            }
        }
    }

    /// The next header block, None at the end: two blocks of zeros, or just the stream's end.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let offset = self.offset;
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if Header(&block).is_zero() {
            return match self.block()? {
                Some(block) if !Header(&block).is_zero() => Err(Error::Malformed {
                    offset,
                    reason: "a single zero block in the middle".into(),
                }),
                _ => Ok(None),
            };
        }
        if !Header(&block).checksum_ok() {
            return Err(Error::Malformed {
                offset,
                reason: "the checksum is wrong".into(),
            });
        }
        self.headers += 1;
        if self.headers > self.limits.max_entries {
            return Err(Error::LimitExceeded {
                limit: Limit::Entries,
                max: self.limits.max_entries,
            });
        }
        Ok(Some(block))
    }

    /// One block, None where the stream ends before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.end - self.start < BLOCK {
            match self.fill(BLOCK)? {
                0 => return Ok(None),
                n if n < BLOCK => {
                    let offset = self.offset + n as u64;
                    return Err(Error::Truncated {
                        offset,
                        expected: "a whole block",
                    });
                }
                _ => {}
            }
        }
        let block = self
            .buffer
            .get(self.start..self.end)
            .and_then(|b| b.first_chunk())
            .copied();
        self.consume(BLOCK);
        Ok(block)
    }

    /// The contents of an extension header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > self.limits.max_extension {
            return Err(Error::LimitExceeded {
                limit: Limit::Extension,
                max: self.limits.max_extension,
            });
        }
        self.remaining = size;
        self.padding = padding(size);
        let mut data = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                break;
            }
            data.extend_from_slice(chunk);
        }
        self.skip()?;
        Ok(data)
    }

    /// Goes to the end of the current entry.
    fn skip(&mut self) -> Result<()> {
        while !self.chunk()?.is_empty() {}
        if self.padding > 0 {
            let want = self.padding as usize;
            if self.end - self.start < want && self.fill(want)? < want {
                let offset = self.offset;
                return Err(Error::Truncated {
                    offset,
                    expected: "padding",
                });
            }
            self.consume(want);
            self.padding = 0;
        }
        Ok(())
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads until at least `want` bytes (at most the buffer's size) are there, or the stream ends.
    /// Returns how many there are.
    fn fill(&mut self, want: usize) -> Result<usize> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start + want > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < want {
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.source.read(space) {
                Ok(0) => break,
                Ok(n) => self.end += n.min(space.len()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::Read(e)),
            }
            if self.offset + (self.end - self.start) as u64 > self.limits.max_bytes {
                return Err(Error::LimitExceeded {
                    limit: Limit::Bytes,
                    max: self.limits.max_bytes,
                });
            }
        }
        Ok(self.end - self.start)
    }
}

/// The current entry's contents. A sparse file is refused here: use
/// [`chunk`](TarReader::chunk) with its map.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.sparse {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a sparse file"));
        }
        if self.remaining == 0 || buf.is_empty() {
            return Ok(0);
        }
        if self.start == self.end && self.fill(1).map_err(into_io)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let available = self.buffer.get(self.start..self.end).unwrap_or_default();
        let take = available
            .len()
            .min(buf.len())
            .min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if let (Some(to), Some(from)) = (buf.get_mut(..take), available.get(..take)) {
            to.copy_from_slice(from);
        }
        self.consume(take);
        self.remaining -= take as u64;
        Ok(take)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Read(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}
