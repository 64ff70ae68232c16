//! Container log files: written by the shim, read by the engine.
//!
//! Owns the formats (Docker's `json-file`, and `local`), rotation, and reading with
//! `since`, `until`, `tail` and `follow`. Knows nothing of containers, engines or HTTP.

#![forbid(unsafe_code)]

mod config;

pub use config::Driver;
pub use config::LogConfig;
pub use config::OptionError;
