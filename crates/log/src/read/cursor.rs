//! The reader's place in a log, and the next entries from there. All of it blocks on files.

use std::collections::VecDeque;
use std::io;

use super::Item;
use super::LogEntry;
use super::ReadOptions;
use super::Skipped;
use super::decode::decode;
use super::files;
use super::files::LogFile;
use super::source::Next;
use super::source::Source;
use super::start;
use super::start::Start;
use crate::config::LogConfig;
use crate::entry::Stream;

/// A batch ends when it holds about so many bytes.
const BATCH: usize = 128 << 10;

/// A place in a log.
pub(crate) struct Cursor {
    config: LogConfig,
    options: ReadOptions,
    following: bool,
    current: Option<Source>,
    /// What comes after `current`, the oldest first.
    later: VecDeque<LogFile>,
    /// Entries still to be passed over, for `tail`.
    pass_over: usize,
}

/// What a [`Cursor`] gives at a time.
#[derive(Default)]
pub(crate) struct Batch {
    /// What was read; perhaps nothing, though there is more.
    pub(crate) items: Vec<Item>,
    /// Whether there is no more for now.
    pub(crate) at_end: bool,
    /// Whether there will never be more: `until` is over.
    pub(crate) ended: bool,
}

impl Cursor {
    /// Finds the beginning.
    pub(crate) fn open(
        config: &LogConfig,
        options: ReadOptions,
        following: bool,
    ) -> io::Result<Self> {
        let files = files::open_all(config)?;
        let mut begin = Start {
            file: 0,
            offset: 0,
            entries: 0,
        };
        if let Some(since) = options.since {
            begin = start::since(config.driver, &files, since)?;
        }
        if let Some(count) = options.tail {
            let tail = start::tail(config.driver, &files, count)?;
            if (tail.file, tail.offset) >= (begin.file, begin.offset) {
                begin = tail;
            }
        }
        let mut cursor = Self {
            config: config.clone(),
            options,
            following,
            current: None,
            later: files.into_iter().skip(begin.file).collect(),
            pass_over: begin.entries,
        };
        cursor.advance()?;
        if let Some(current) = &mut cursor.current {
            current.seek(begin.offset);
        }
        Ok(cursor)
    }

    /// Goes on to the next file, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(next) = self.later.pop_front() else {
            return Ok(false);
        };
        let mut source = Source::new(self.config.driver, next.file, next.gzip)?;
        if !self.following && next.newest {
            source.stop_at_end()?;
        }
        self.current = Some(source);
        Ok(true)
    }

    /// Reads on.
    pub(crate) fn fill(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while bytes < BATCH && !batch.ended {
            let Some(current) = &mut self.current else {
                // Nothing was written so far.
                self.later = if self.following {
                    files::open_all(&self.config)?.into()
                } else {
                    VecDeque::new()
                };
                if self.advance()? {
                    continue;
                }
                batch.at_end = true;
                break;
            };
            match current.next()? {
                Next::Content(content) => {
                    bytes += content.len();
                    if self.pass_over > 0 {
                        self.pass_over -= 1;
                        continue;
                    }
                    match decode(self.config.driver, &content) {
                        Ok(entry) => batch.ended = self.take(entry, &mut batch.items),
                        Err(skipped) => batch.items.push(Item::Skipped(skipped)),
                    }
                }
                Next::Skipped(skipped) => batch.items.push(Item::Skipped(skipped)),
                Next::End(rest) => {
                    if !self.go_on(rest, &mut batch.items)? {
                        batch.at_end = true;
                        break;
                    }
                }
            }
        }
        Ok(batch)
    }

    /// At the end of a file: whether there is more to read.
    fn go_on(&mut self, rest: u64, items: &mut Vec<Item>) -> io::Result<bool> {
        if self.later.is_empty() && self.following {
            let Some(current) = &self.current else {
                return Ok(false);
            };
            if !files::is_rotated(&self.config, current)? {
                return Ok(false);
            }
            // No more is written to it from now on; but since the last look there may have
            // been, so read it once more before going on.
            self.later = files::open_after(&self.config, current)?.into();
            return Ok(true);
        }
        if self.later.is_empty() {
            return Ok(false);
        }
        if rest > 0 {
            items.push(Item::Skipped(Skipped::Torn(rest)));
        }
        self.advance()
    }

    /// Keeps an entry if it is wanted. Returns whether the end of what is wanted was reached.
    fn take(&self, mut entry: LogEntry, items: &mut Vec<Item>) -> bool {
        let options = &self.options;
        if options.until.is_some_and(|until| entry.time > until) {
            return true;
        }
        let wanted = match entry.stream {
            Stream::Stdout => options.stdout,
            Stream::Stderr => options.stderr,
        };
        if wanted && options.since.is_none_or(|since| entry.time >= since) {
            if !options.details {
                entry.attrs.clear();
            }
            items.push(Item::Entry(entry));
        }
        false
    }
}
