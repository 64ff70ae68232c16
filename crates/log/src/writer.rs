//! Writing a container's log.

use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;

use crate::config::Driver;
use crate::config::LogConfig;
use crate::entry::Stream;
use crate::file::RotatedFile;
use crate::json::JsonEncoder;
use crate::local;
use crate::record::Record;
use crate::split::Splitter;
use crate::stamp::Clock;
use crate::stamp::now;

/// Why output couldn't be logged.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The log file can't be opened or repaired.
    #[error("cannot open the log file {path}: {source}")]
    Open {
        /// Which file.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Entries couldn't be written; nothing of them is in the file.
    #[error("cannot write to the log, {lost} bytes of it are lost: {source}")]
    Write {
        /// How many bytes of encoded entries.
        lost: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The file is over its size and couldn't be rotated. Nothing is lost: it grows on.
    #[error("cannot rotate the log: {0}")]
    Rotate(#[source] io::Error),
}

/// Writes what a container prints to its log. Blocks only on the file system.
///
/// Lines are kept back until they are complete (or [`MAX_LINE`](crate::MAX_LINE) long): call
/// [`Self::finish`] when the container's output ended.
#[derive(Debug)]
pub struct LogWriter {
    splitters: [Splitter; 2],
    clock: Clock,
    sink: Option<Sink>,
}

#[derive(Debug)]
struct Sink {
    format: Format,
    file: RotatedFile,
    /// Encoded entries, and where each ends.
    encoded: Vec<u8>,
    ends: Vec<usize>,
}

#[derive(Debug)]
enum Format {
    Json(JsonEncoder),
    Local,
}

impl LogWriter {
    /// Opens the log for appending, and creates the file if need be. An entry that a crash left
    /// torn at its end is closed off or cut away.
    pub fn open(config: &LogConfig) -> Result<Self, WriteError> {
        let format = match config.driver {
            Driver::None => None,
            Driver::JsonFile => Some(Format::Json(JsonEncoder::new(&config.attrs))),
            Driver::Local => Some(Format::Local),
        };
        let sink = format
            .map(|format| {
                let mut file = RotatedFile::open(config)?;
                repair(&format, &mut file)?;
                Ok(Sink {
                    format,
                    file,
                    encoded: Vec::new(),
                    ends: Vec::new(),
                })
            })
            .transpose()
            .map_err(|source| WriteError::Open {
                path: config.path.clone(),
                source,
            })?;
        Ok(Self {
            splitters: [Splitter::new(Stream::Stdout), Splitter::new(Stream::Stderr)],
            clock: Clock::new(),
            sink,
        })
    }

    /// Logs what arrived on `stream`. After an error the next call goes on with what it is
    /// given.
    pub fn write(&mut self, stream: Stream, data: &[u8]) -> Result<(), WriteError> {
        let Some(sink) = &mut self.sink else {
            return Ok(());
        };
        let [stdout, stderr] = &mut self.splitters;
        let splitter = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        let wall = now();
        splitter.push(data, &mut || self.clock.after(wall), &mut |record| {
            sink.push(&record)
        });
        sink.flush()
    }

    /// The output ended: logs unfinished lines, and waits for a compression under way.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let Some(sink) = &mut self.sink else {
            return Ok(());
        };
        let wall = now();
        for splitter in &mut self.splitters {
            splitter.finish(&mut || self.clock.after(wall), &mut |record| {
                sink.push(&record)
            });
        }
        sink.flush()?;
        sink.file.settle().map_err(WriteError::Rotate)
    }
}

impl Sink {
    fn push(&mut self, record: &Record<'_>) {
        match &mut self.format {
            Format::Json(encoder) => encoder.encode(record, &mut self.encoded),
            Format::Local => local::encode(record, &mut self.encoded),
        }
        self.ends.push(self.encoded.len());
    }

    /// Writes as many entries at a time as the file has room for, each batch with one write.
    fn flush(&mut self) -> Result<(), WriteError> {
        let mut rotated = Ok(());
        let mut start = 0;
        let mut ends = self.ends.drain(..).peekable();
        while let Some(mut end) = ends.next() {
            if self.file.room() == 0 {
                rotated = self.file.rotate().map_err(WriteError::Rotate);
            }
            let room = usize::try_from(self.file.room()).unwrap_or(usize::MAX);
            // An entry may begin wherever there is room, however long it is.
            while end - start < room
                && let Some(next) = ends.next()
            {
                end = next;
            }
            let batch = self.encoded.get(start..end).unwrap_or_default();
            if let Err(source) = self.file.append(batch) {
                let lost = self.encoded.len() - start;
                self.encoded.clear();
                return Err(WriteError::Write { lost, source });
            }
            start = end;
        }
        self.encoded.clear();
        // A burst must not hold memory for ever.
        self.encoded.shrink_to(64 << 10);
        rotated
    }
}

/// Makes the end of an old file one that entries can follow.
fn repair(format: &Format, file: &mut RotatedFile) -> io::Result<()> {
    let size = file.size();
    if size == 0 {
        return Ok(());
    }
    match format {
        Format::Json(_) => {
            let mut last = [0];
            file.get_mut().seek(SeekFrom::End(-1))?;
            file.get_mut().read_exact(&mut last)?;
            if last != *b"\n" {
                file.append(b"\n")
            } else {
                Ok(())
            }
        }
        Format::Local => {
            if ends_whole(file.get_mut(), size)? {
                return Ok(());
            }
            let good = whole_entries(file.get_mut(), size)?;
            if good < size {
                file.truncate(good)
            } else {
                Ok(())
            }
        }
    }
}

/// Whether the two lengths of the last entry of a `local` file agree.
fn ends_whole(file: &mut std::fs::File, size: u64) -> io::Result<bool> {
    let mut word = [0; 4];
    if size < 8 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut word)?;
    let Some(start) = size.checked_sub(u64::from(u32::from_be_bytes(word)) + 8) else {
        return Ok(false);
    };
    let mut first = [0; 4];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut first)?;
    Ok(first == word)
}

/// How many bytes at the start of a `local` file are whole entries.
fn whole_entries(file: &mut std::fs::File, size: u64) -> io::Result<u64> {
    let mut at = 0;
    let mut word = [0; 4];
    while at + 8 <= size {
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut word)?;
        let len = u64::from(u32::from_be_bytes(word));
        if at + len + 8 > size {
            break;
        }
        file.seek(SeekFrom::Start(at + 4 + len))?;
        file.read_exact(&mut word)?;
        if u64::from(u32::from_be_bytes(word)) != len {
            break;
        }
        at += len + 8;
    }
    Ok(at)
}
