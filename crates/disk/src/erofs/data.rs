//! Files' contents, written as they come.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use coracle_archive::{Entry, Segment, TarReader};

use super::BLOCK;
use crate::error::{Error, Result, shown};

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// Zeros from this many on are a hole in the image's file.
const HOLE: u64 = 64 << 10;

/// The longest tail that is kept with the inode instead of in a block of its own.
const MAX_TAIL: u64 = 3 << 10;

/// Bytes of tails that are kept in memory for that.
const MAX_TAILS: u64 = 32 << 20;

/// The largest chunk of a file with holes, as a power of two of bytes: what the format has.
const MAX_CHUNK: u32 = 12 + 31;

/// The largest file, holes included: ext4's bound.
const MAX_FILE: u64 = 16 << 40;

/// Bytes that a map of chunks may take in any case, and the part of the data beyond that.
const MAX_MAP: u64 = 64 << 10;
const MAX_MAP_PART: u64 = 16;

/// Where a file's contents are.
#[derive(Debug, Clone)]
pub(super) enum Contents {
    /// One after the other from this block on, but for the tail.
    Flat {
        start: u32,
        size: u64,
        tail: Box<[u8]>,
    },
    /// In chunks of two to the power of `bits` bytes; those in no run are holes.
    Chunks {
        size: u64,
        bits: u32,
        runs: Box<[Run]>,
    },
    /// Hidden by a layer above when it was read: in this layer, the archive's n-th entry.
    LeftOut { layer: usize, entry: u64 },
}

impl Contents {
    /// What of it is kept in memory, in bytes.
    pub(super) fn memory(&self) -> u64 {
        match self {
            Contents::Flat { tail, .. } => tail.len() as u64,
            Contents::Chunks { runs, .. } => size_of_val(&runs[..]) as u64,
            Contents::LeftOut { .. } => 0,
        }
    }
}

/// Chunks that follow each other in the file and in the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The first one, counted from the file's start.
    pub(super) chunk: u64,
    pub(super) count: u64,
    /// Its block.
    pub(super) block: u32,
}

/// The image's file, written from front to back.
pub(super) struct Out<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// Where the buffer's bytes belong.
    at: u64,
    max: u64,
    /// Bytes of tails that may still be kept.
    tails: u64,
}

impl<'a> Out<'a> {
    /// From `at` on. What is before it, and zeros, must be zeros already.
    pub(super) fn new(file: &'a File, at: u64, max: u64) -> Out<'a> {
        Out {
            file,
            buffer: Vec::with_capacity(BUFFER),
            at,
            // Blocks have 32 bit numbers, of which the last one means a hole.
            max: max.min(u64::from(u32::MAX) * BLOCK),
            tails: MAX_TAILS,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    /// The number of the next block. The position must be at one.
    pub(super) fn block(&self) -> Result<u32> {
        debug_assert!(self.position().is_multiple_of(BLOCK));
        u32::try_from(self.position() / BLOCK).map_err(|_| Error::TooLarge { max: self.max })
    }

    pub(super) fn write(&mut self, data: &[u8]) -> Result<()> {
        if data.len() > self.buffer.capacity() - self.buffer.len() {
            self.flush()?;
        }
        self.check(data.len() as u64)?;
        if data.len() >= self.buffer.capacity() / 2 && self.buffer.is_empty() {
            self.file
                .write_all_at(data, self.at)
                .map_err(Error::Write)?;
            self.at += data.len() as u64;
        } else {
            self.buffer.extend_from_slice(data);
        }
        Ok(())
    }

    pub(super) fn zeros(&mut self, count: u64) -> Result<()> {
        self.check(count)?;
        if count >= HOLE {
            self.flush()?;
            self.at += count;
        } else {
            let count = count as usize;
            if count > self.buffer.capacity() - self.buffer.len() {
                self.flush()?;
            }
            self.buffer.resize(self.buffer.len() + count, 0);
        }
        Ok(())
    }

    /// Fills the block.
    pub(super) fn align(&mut self) -> Result<()> {
        let position = self.position();
        self.zeros(position.next_multiple_of(BLOCK) - position)
    }

    /// Writes everything, and gives the file its length.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.file.set_len(self.at).map_err(Error::Write)
    }

    /// Writes outside of the order.
    pub(super) fn write_at(&self, data: &[u8], at: u64) -> Result<()> {
        self.file.write_all_at(data, at).map_err(Error::Write)
    }

    fn check(&self, more: u64) -> Result<()> {
        match self.position().checked_add(more) {
            Some(end) if end <= self.max => Ok(()),
            _ => Err(Error::TooLarge { max: self.max }),
        }
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.file
                .write_all_at(&self.buffer, self.at)
                .map_err(Error::Write)?;
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Takes a file's contents from the archive.
    pub(super) fn contents<R: Read>(
        &mut self,
        entry: &Entry,
        tar: &mut TarReader<R>,
    ) -> Result<Contents> {
        // Without holes it is the stream that bounds it.
        if entry.sparse.is_some() && entry.size > MAX_FILE {
            return Err(Error::FileTooLarge {
                path: shown(&entry.path),
                max: MAX_FILE,
            });
        }
        match &entry.sparse {
            Some(segments) => self.sparse(entry.size, segments, tar),
            None => self.flat(entry.size, tar),
        }
    }

    fn flat<R: Read>(&mut self, size: u64, tar: &mut TarReader<R>) -> Result<Contents> {
        let start = self.block()?;
        let rest = size % BLOCK;
        let with_inode = rest > 0 && rest <= MAX_TAIL.min(self.tails);
        let mut blocks = if with_inode { size - rest } else { size };
        let mut tail = Vec::with_capacity(if with_inode { rest as usize } else { 0 });
        loop {
            let chunk = tar.chunk()?;
            if chunk.is_empty() {
                break;
            }
            let here = usize::try_from(blocks)
                .unwrap_or(usize::MAX)
                .min(chunk.len());
            let (whole, last) = chunk.split_at(here);
            self.write(whole)?;
            blocks -= here as u64;
            tail.extend_from_slice(last);
        }
        self.align()?;
        self.tails -= tail.len() as u64;
        Ok(Contents::Flat {
            start,
            size,
            tail: tail.into(),
        })
    }

    fn sparse<R: Read>(
        &mut self,
        size: u64,
        segments: &[Segment],
        tar: &mut TarReader<R>,
    ) -> Result<Contents> {
        let bits = chunk_bits(size, segments);
        let chunk_len = 1u64 << bits;
        let mut runs: Vec<Run> = Vec::new();
        let mut rest: &[u8] = &[];
        // Where in the file the image has been written to, always in the last run.
        let mut written = 0;
        for segment in segments {
            let (first, last) = touched(*segment, bits);
            let open_end = runs.last().map_or(0, |run| run.chunk + run.count);
            if first >= open_end {
                // Another chunk: what is missing of the one before is zeros.
                self.end_chunks(&mut written, open_end, bits, size)?;
                match runs.last_mut().filter(|_| first == open_end) {
                    Some(run) => run.count += last - first + 1,
                    None => runs.push(Run {
                        chunk: first,
                        count: last - first + 1,
                        block: self.block()?,
                    }),
                }
                written = first * chunk_len;
            } else if let Some(run) = runs.last_mut() {
                run.count = last + 1 - run.chunk;
            }
            self.zeros(segment.offset - written)?;
            let mut missing = segment.len;
            while missing > 0 {
                if rest.is_empty() {
                    rest = tar.chunk()?;
                    if rest.is_empty() {
                        break;
                    }
                }
                let here = usize::try_from(missing)
                    .unwrap_or(usize::MAX)
                    .min(rest.len());
                let (now, later) = rest.split_at(here);
                self.write(now)?;
                missing -= here as u64;
                rest = later;
            }
            written = segment.offset + segment.len;
        }
        let open_end = runs.last().map_or(0, |run| run.chunk + run.count);
        self.end_chunks(&mut written, open_end, bits, size)?;
        Ok(Contents::Chunks {
            size,
            bits,
            runs: runs.into(),
        })
    }

    /// Fills the last chunk with zeros, as far as the file reaches.
    fn end_chunks(&mut self, written: &mut u64, end: u64, bits: u32, size: u64) -> Result<()> {
        let end = (end << bits).min(size);
        self.zeros(end.saturating_sub(*written))?;
        *written = end;
        self.align()
    }
}

/// The first and the last chunk that a segment is in.
fn touched(segment: Segment, bits: u32) -> (u64, u64) {
    let last = segment.offset + segment.len.saturating_sub(1);
    (segment.offset >> bits, last >> bits)
}

/// The size of chunks for which map and data take least. The map stays small in any case: zeros
/// around the data of larger chunks are holes in the image's file, so they cost nothing.
fn chunk_bits(size: u64, segments: &[Segment]) -> u32 {
    let stored: u64 = segments.iter().map(|segment| segment.len).sum();
    let map = |bits: u32| 4 * size.div_ceil(1 << bits);
    let cost = |bits: u32| {
        let mut chunks = 0u64;
        let mut next = 0;
        for segment in segments {
            let (first, last) = touched(*segment, bits);
            chunks += (last + 1).saturating_sub(first.max(next));
            next = last + 1;
        }
        let data = chunks
            .saturating_mul(1 << bits)
            .min(size.next_multiple_of(BLOCK));
        data.saturating_add(map(bits))
    };
    (12..=MAX_CHUNK)
        .filter(|bits| map(*bits) <= MAX_MAP + stored / MAX_MAP_PART)
        .min_by_key(|bits| cost(*bits))
        .unwrap_or(MAX_CHUNK)
}

/// A chunk map's blocks: that of every chunk, or the number that means a hole.
pub(super) fn chunk_map(size: u64, bits: u32, runs: &[Run]) -> impl Iterator<Item = u32> + '_ {
    let mut runs = runs.iter().peekable();
    (0..size.div_ceil(1 << bits)).map(move |chunk| {
        while runs.next_if(|run| run.chunk + run.count <= chunk).is_some() {}
        match runs.peek() {
            Some(run) if run.chunk <= chunk => {
                // Runs lie within the image, whose blocks have 32 bit numbers.
                run.block + (((chunk - run.chunk) << bits) / BLOCK) as u32
            }
            _ => u32::MAX,
        }
    })
}
