//! What to log where: the driver and its options, as Docker names them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

/// A log driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// Nothing is kept; reading is refused.
    None,
    /// One JSON object per line, in Docker's format.
    JsonFile,
    /// A compact binary format, always rotated.
    Local,
}

impl Driver {
    /// The name that Docker's API uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::JsonFile => "json-file",
            Self::Local => "local",
        }
    }
}

/// Where and how the output of one container is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// The format.
    pub driver: Driver,
    /// The newest log file. Rotated ones are its siblings `<path>.1` (the newest of them),
    /// `<path>.2`, …, with `.gz` at the end if `compress`. Its directory must exist. Unused
    /// by [`Driver::None`].
    pub path: PathBuf,
    /// Bytes after which the file is rotated; `None`: never.
    pub max_size: Option<u64>,
    /// How many files there may be in all, at least 1. With 1 the file is emptied instead of
    /// rotated.
    pub max_file: u32,
    /// Whether rotated files are compressed with gzip.
    pub compress: bool,
    /// Labels, environment variables and the tag that go with each entry (`attrs`).
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
}

/// A log option that can't be honoured, in Docker's words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionError {
    /// No such driver.
    #[error("logger: no log driver named '{0}' is registered")]
    Driver(String),
    /// The driver has no such option, or this engine can't honour it.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    Unknown {
        /// The driver's name.
        driver: &'static str,
        /// The option's name.
        option: String,
    },
    /// The option's value is out of its range.
    #[error("invalid value '{value}' for log opt '{option}': {reason}")]
    Value {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is expected.
        reason: &'static str,
    },
    /// Compression without rotation.
    #[error("compress cannot be true when max-file is less than 2 or max-size is not set")]
    Compress,
}

impl LogConfig {
    /// No log at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            driver: Driver::None,
            path: PathBuf::new(),
            max_size: None,
            max_file: 1,
            compress: false,
            attrs: BTreeMap::new(),
        }
    }
}
