//! Container log files: written by the shim, read by the engine.
//!
//! Owns the formats (Docker's `json-file` and `local`), their options, rotation, and reading
//! with `since`, `until`, `tail` and `follow`. Knows nothing of containers, engines or HTTP.
//!
//! The writer (feature `write`) is synchronous and small; the reader (feature `read`) is a
//! stream on tokio. They meet only in the files:
//! - an entry is whole or it is the torn last one of a writer that was killed, which readers
//!   skip and the next writer closes off;
//! - entries of one file are in the order of their times, unless the clock was set back by more
//!   than a millisecond, and no two have the same time;
//! - files are only appended to, renamed, compressed as a whole, and removed.

#![forbid(unsafe_code)]

mod config;
mod entry;
#[cfg(feature = "write")]
mod file;
#[cfg(feature = "write")]
mod json;
#[cfg(feature = "write")]
mod local;
mod options;
#[cfg(feature = "read")]
mod read;
#[cfg(feature = "write")]
mod record;
#[cfg(feature = "write")]
mod split;
#[cfg(feature = "write")]
mod stamp;
#[cfg(feature = "write")]
mod writer;

pub use config::Driver;
pub use config::LogConfig;
pub use config::OptionError;
pub use entry::MAX_LINE;
pub use entry::Stream;
#[cfg(feature = "read")]
pub use read::Item;
#[cfg(feature = "read")]
pub use read::LogEntry;
#[cfg(feature = "read")]
pub use read::LogStream;
#[cfg(feature = "read")]
pub use read::ReadError;
#[cfg(feature = "read")]
pub use read::ReadOptions;
#[cfg(feature = "read")]
pub use read::Skipped;
#[cfg(feature = "read")]
pub use read::Watch;
#[cfg(feature = "read")]
pub use read::follow;
#[cfg(feature = "read")]
pub use read::read;
#[cfg(feature = "write")]
pub use writer::LogWriter;
#[cfg(feature = "write")]
pub use writer::WriteError;

/// The path of the `index`th rotated file of the log at `path`, 1 being the newest of them.
#[cfg(any(feature = "read", feature = "write"))]
fn sibling(path: &std::path::Path, index: u32, gz: bool) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}{}", if gz { ".gz" } else { "" }));
    name.into()
}
