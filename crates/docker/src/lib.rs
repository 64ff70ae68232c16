//! The Docker Engine API's JSON types, both ways: the server writes what the client reads.
//!
//! **Owns** the wire form of everything that Docker's Engine API v1.24 to v1.47 sends, the framing of
//! multiplexed streams ([`frame`]), the headers that carry JSON ([`auth`], [`archive`]), and Docker's
//! ways of writing times, durations and sizes ([`time`], [`human`]).
//!
//! **Must not know** HTTP, nor any conformer. What containers are created from is not declared again:
//! the types of [`coracle_runtime::spec`] are the wire types.
//!
//! **Invariants**
//! - Field order and `null` or empty are dockerd's, because clients and their tests see them.
//! - Everything is read leniently (`null` and missing fields are defaults, unknown ones are skipped).
#![forbid(unsafe_code)]

pub mod archive;
pub mod auth;
pub mod container;
pub mod event;
pub mod exec;
pub mod frame;
pub mod human;
pub mod image;
mod image_config;
pub mod lenient;
pub mod network;
pub mod progress;
pub mod secret;
pub mod stats;
pub mod system;
pub mod time;
pub mod volume;
mod wire;

use serde::{Deserialize, Serialize};

/// The newest API version there is.
pub const API_VERSION: &str = "1.47";
/// The oldest.
pub const MIN_API_VERSION: &str = "1.24";

/// The body of every error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// For the user.
    pub message: String,
}
