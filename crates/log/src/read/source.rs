//! One file of a log, plain or compressed, as a sequence of entries.

use std::fs::File;
use std::hash::DefaultHasher;
use std::hash::Hasher;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use flate2::read::MultiGzDecoder;

use super::Skipped;
use super::decode::Front;
use super::decode::front;
use crate::config::Driver;

const CHUNK: usize = 64 << 10;

/// A log file, read forwards.
pub(crate) struct Source {
    driver: Driver,
    /// The device and inode.
    pub(crate) inode: (u64, u64),
    input: Input,
    buf: BytesMut,
    /// Bytes of an entry that is too long, skipped so far.
    skipping: Option<u64>,
}

enum Input {
    /// `next` is the offset of what follows `buf`; nothing from `limit` on is read.
    Plain {
        file: File,
        next: u64,
        limit: u64,
    },
    Gzip(Box<MultiGzDecoder<File>>),
}

/// What a source gives.
pub(crate) enum Next {
    /// An entry's content.
    Content(Bytes),
    /// Something that is no entry.
    Skipped(Skipped),
    /// The end, for now, after so many bytes of an unfinished entry.
    End(u64),
}

impl Source {
    /// The file, from its beginning.
    pub(crate) fn new(driver: Driver, file: File, gzip: bool) -> io::Result<Self> {
        let meta = file.metadata()?;
        let input = if gzip {
            Input::Gzip(Box::new(MultiGzDecoder::new(file)))
        } else {
            Input::Plain {
                file,
                next: 0,
                limit: u64::MAX,
            }
        };
        let inode = (meta.dev(), meta.ino());
        Ok(Self {
            driver,
            inode,
            input,
            buf: BytesMut::new(),
            skipping: None,
        })
    }

    /// The file itself, unless it is compressed.
    pub(crate) fn plain(&self) -> Option<&File> {
        match &self.input {
            Input::Plain { file, .. } => Some(file),
            Input::Gzip(_) => None,
        }
    }

    /// Goes to the entry at `offset` of a plain file.
    pub(crate) fn seek(&mut self, offset: u64) {
        if let Input::Plain { next, .. } = &mut self.input {
            *next = offset;
            self.buf.clear();
        }
    }

    /// Reads nothing that is appended to a plain file from now on.
    pub(crate) fn stop_at_end(&mut self) -> io::Result<()> {
        if let Input::Plain { file, limit, .. } = &mut self.input {
            *limit = file.metadata()?.len();
        }
        Ok(())
    }

    /// Tells a file from others by its first entry, as times are unique: compressing changes
    /// the inode. `None` if there is none.
    pub(crate) fn mark(driver: Driver, mut file: &File, gzip: bool) -> io::Result<Option<u64>> {
        file.rewind()?;
        let mut source = Self::new(driver, file.try_clone()?, gzip)?;
        let mark = match source.next()? {
            Next::Content(content) => {
                let mut hasher = DefaultHasher::new();
                hasher.write(&content);
                Some(hasher.finish())
            }
            _ => None,
        };
        // The clone shares the position.
        file.rewind()?;
        Ok(mark)
    }

    /// The next thing in the file.
    pub(crate) fn next(&mut self) -> io::Result<Next> {
        loop {
            if let Some(skipped) = self.skipping {
                match self.buf.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        self.buf.advance(end + 1);
                        self.skipping = None;
                        return Ok(Next::Skipped(Skipped::TooLong(skipped + end as u64)));
                    }
                    None => {
                        self.skipping = Some(skipped + self.buf.len() as u64);
                        self.buf.clear();
                    }
                }
            } else {
                match front(self.driver, &self.buf) {
                    Front::Entry { size, from, to } => {
                        return Ok(Next::Content(
                            self.buf.split_to(size).freeze().slice(from..to),
                        ));
                    }
                    Front::TooLong => {
                        self.skipping = Some(0);
                        continue;
                    }
                    Front::Corrupt => return self.give_up(),
                    Front::More => {}
                }
            }
            if self.refill()? == 0 {
                let rest = self.buf.len() as u64;
                // What is unfinished is read again when there is more: it may be cut away.
                if let Input::Plain { next, .. } = &mut self.input {
                    *next -= rest;
                    self.buf.clear();
                }
                return Ok(Next::End(rest));
            }
        }
    }

    /// Skips all that is there: entries can't be found any more.
    fn give_up(&mut self) -> io::Result<Next> {
        let mut skipped = self.buf.len() as u64;
        self.buf.clear();
        while self.refill()? > 0 {
            skipped += self.buf.len() as u64;
            self.buf.clear();
        }
        Ok(Next::Skipped(Skipped::Corrupt(skipped)))
    }

    fn refill(&mut self) -> io::Result<usize> {
        let old = self.buf.len();
        self.buf.resize(old + CHUNK, 0);
        let Some(space) = self.buf.get_mut(old..) else {
            return Ok(0);
        };
        let result = loop {
            let result = match &mut self.input {
                Input::Plain { file, next, limit } => {
                    let room = usize::try_from(limit.saturating_sub(*next)).unwrap_or(CHUNK);
                    let space = space.get_mut(..room.min(CHUNK)).unwrap_or_default();
                    file.read_at(space, *next).inspect(|n| *next += *n as u64)
                }
                Input::Gzip(decoder) => decoder.read(space),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let n = match result {
            Ok(n) => n,
            // A damaged compressed file ends where the damage is.
            Err(_) if matches!(self.input, Input::Gzip(_)) => 0,
            Err(error) => {
                self.buf.truncate(old);
                return Err(error);
            }
        };
        self.buf.truncate(old + n);
        Ok(n)
    }
}
