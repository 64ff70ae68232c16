//! Reading a container's log, while it is written or afterwards.

mod cursor;
mod decode;
mod files;
mod source;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream as AsyncStream;
use futures_util::stream;
use jiff::Timestamp;

use crate::config::Driver;
use crate::config::LogConfig;
use crate::entry::Stream;
use cursor::Cursor;
pub use watch::Watch;

/// Which entries are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// None before this time.
    pub since: Option<Timestamp>,
    /// None after this time: the stream ends there.
    pub until: Option<Timestamp>,
    /// Only the last so many entries that are there when reading begins. As in Docker this
    /// counts entries of both streams, and before `since` and `until` are looked at.
    pub tail: Option<usize>,
    /// Whether to give entries of stdout.
    pub stdout: bool,
    /// Whether to give entries of stderr.
    pub stderr: bool,
    /// Whether to give attributes.
    pub details: bool,
}

/// One line, or a piece of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When it was written.
    pub time: Timestamp,
    /// To which stream.
    pub stream: Stream,
    /// What was written, with its newline if there was one.
    pub line: Bytes,
    /// Whether no newline ended it: the next entry of the stream goes on with the line, or
    /// the output ended.
    pub partial: bool,
    /// Its attributes, if asked for and there.
    pub attrs: BTreeMap<String, String>,
}

/// A part of a log file that isn't an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// So many bytes that make no entry.
    Corrupt(u64),
    /// An entry of so many bytes, which is more than any writer writes.
    TooLong(u64),
    /// So many bytes at the end of a rotated file: its writer was killed.
    Torn(u64),
}

/// What a log consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An entry.
    Entry(LogEntry),
    /// Something that was left out.
    Skipped(Skipped),
}

/// Why a log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The driver keeps nothing.
    #[error("configured logging driver does not support reading")]
    Unsupported,
    /// A file can't be read.
    #[error("cannot read the container's log: {0}")]
    Io(#[from] io::Error),
}

/// The items of a log, in order. Dropping it stops the reading.
pub type LogStream = Pin<Box<dyn AsyncStream<Item = Result<Item, ReadError>> + Send>>;

/// Reads what is in the log by now. A log file that doesn't exist is empty.
#[must_use]
pub fn read(config: &LogConfig, options: ReadOptions) -> LogStream {
    items(config, options, None)
}

/// Reads what is in the log, then what is appended, until `stopped` resolves and all that was
/// written before that is read. The stream has no hole and no repeat, whatever is rotated,
/// unless rotation removes a file before this reader came to it.
///
/// The directory of the log must exist.
#[must_use]
pub fn follow(
    config: &LogConfig,
    options: ReadOptions,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> LogStream {
    items(config, options, Some(Box::pin(stopped)))
}

type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Stage {
    Begin {
        config: LogConfig,
        stopped: Option<Stopped>,
    },
    Fill {
        cursor: Box<Cursor>,
        tail: Option<Tail>,
    },
    End,
}

/// What a follower waits for.
struct Tail {
    watch: Watch,
    stopped: Stopped,
    has_stopped: bool,
}

fn items(config: &LogConfig, options: ReadOptions, stopped: Option<Stopped>) -> LogStream {
    let begin = Stage::Begin {
        config: config.clone(),
        stopped,
    };
    let batches = stream::unfold(begin, move |stage| async move {
        match step(stage, options).await {
            Ok(Some((batch, stage))) => Some((Ok(batch), stage)),
            Ok(None) => None,
            Err(error) => Some((Err(error), Stage::End)),
        }
    });
    use futures_util::StreamExt;
    Box::pin(batches.flat_map(|batch| {
        let items: Vec<_> = match batch {
            Ok(items) => items.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(items)
    }))
}

/// Gives the next batch of items (perhaps none), or `None` at the end.
async fn step(stage: Stage, options: ReadOptions) -> Result<Option<(Vec<Item>, Stage)>, ReadError> {
    match stage {
        Stage::End => Ok(None),
        Stage::Begin { config, stopped } => {
            if config.driver == Driver::None {
                return Err(ReadError::Unsupported);
            }
            // Before the first look at the files, so that no change falls between.
            let tail = match stopped {
                Some(stopped) => Some(Tail {
                    watch: Watch::new(&config.path)?,
                    stopped,
                    has_stopped: false,
                }),
                None => None,
            };
            let following = tail.is_some();
            let cursor = blocking(move || Cursor::open(&config, options, following)).await?;
            Ok(Some((
                Vec::new(),
                Stage::Fill {
                    cursor: Box::new(cursor),
                    tail,
                },
            )))
        }
        Stage::Fill {
            mut cursor,
            mut tail,
        } => {
            let (cursor, batch) = blocking(move || {
                let batch = cursor.fill()?;
                Ok((cursor, batch))
            })
            .await?;
            let last = match &mut tail {
                None => batch.at_end,
                Some(tail) if tail.has_stopped => batch.at_end,
                Some(tail) => {
                    if batch.at_end && batch.items.is_empty() {
                        wait(tail, options.until).await?;
                    }
                    false
                }
            };
            if last || batch.ended {
                return Ok(Some((batch.items, Stage::End)));
            }
            Ok(Some((batch.items, Stage::Fill { cursor, tail })))
        }
    }
}

/// Waits until there may be more to read.
async fn wait(tail: &mut Tail, until: Option<Timestamp>) -> io::Result<()> {
    let until = async {
        match until {
            Some(until) => {
                let left = until.duration_since(Timestamp::now()).unsigned_abs();
                let left = if until > Timestamp::now() {
                    left
                } else {
                    Default::default()
                };
                tokio::time::sleep(left).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = tail.watch.changed() => result?,
        () = &mut tail.stopped => tail.has_stopped = true,
        () = until => tail.has_stopped = true,
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
