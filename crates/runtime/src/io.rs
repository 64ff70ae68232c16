//! Streams that cross the seam.

use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;
use tokio::io::AsyncWrite;

use crate::Result;

/// A stream of items, each of which may be the error that ends it.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// A stream of raw bytes.
pub type ByteStream = BoxStream<Bytes>;

/// Which of a process's streams some bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Standard output, and all output of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A client's connection to a process.
///
/// The output ends when the process has ended and everything it wrote was delivered. Dropping it
/// detaches; the process goes on.
pub struct Attached {
    /// What the process writes.
    pub output: BoxStream<(StreamKind, Bytes)>,
    /// What it reads; shutting it down is end of input. `None` where input was not asked for, or the
    /// process has none.
    pub input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Whether the process has a terminal, so that output is one raw stream.
    pub tty: bool,
}

/// What to attach to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// First everything logged so far.
    pub logs: bool,
    /// Then what comes (without it, only `logs`).
    pub stream: bool,
}

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub cols: u16,
}

/// Which log entries to read.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Go on until the container stops.
    pub follow: bool,
    /// Only the last so many lines; `None` means all.
    pub tail: Option<usize>,
    /// Only from this time on.
    pub since: Option<jiff::Timestamp>,
    /// Only up to this time.
    pub until: Option<jiff::Timestamp>,
    /// In place of all that: what the container's virtual machine wrote to its console. Only `tail` counts
    /// then. A container that is in none is [`InvalidArgument`](crate::RuntimeError::InvalidArgument).
    pub boot: bool,
}

/// One logged line, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// When it was read from the process.
    pub time: jiff::Timestamp,
    /// Where from.
    pub stream: StreamKind,
    /// The bytes, with the line's end where it has one.
    pub line: Bytes,
    /// Attributes that the log options asked for (`labels`, `env`, `tag`).
    pub attributes: std::collections::BTreeMap<String, String>,
}

/// A container's log.
pub struct Logs {
    /// The entries, oldest first.
    pub entries: BoxStream<LogEntry>,
    /// Whether the container has a terminal, so that entries are one raw stream.
    pub tty: bool,
}
