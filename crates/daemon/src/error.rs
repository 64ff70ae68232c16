//! Why the daemon does not start.

use std::path::PathBuf;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file of the user's is not as it should be.
    #[error("unable to configure the daemon with file {path}: {why}")]
    File { path: PathBuf, why: String },
    /// A setting that makes no sense.
    #[error("invalid {setting}: {why}")]
    Setting { setting: &'static str, why: String },
    /// A socket can't be had.
    #[error("cannot listen on {host}: {why}")]
    Listen { host: String, why: String },
    /// The runtime does not open.
    #[error("cannot open the runtime: {0}")]
    Runtime(#[from] coracle_runtime::RuntimeError),
    /// The host refuses something basic.
    #[error("cannot {what}: {error}")]
    Host {
        what: &'static str,
        error: std::io::Error,
    },
}

impl Error {
    pub(crate) fn setting(setting: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Setting {
            setting,
            why: why.to_string(),
        }
    }
}
