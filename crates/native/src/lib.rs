//! The native API's JSON types, both ways.
//!
//! **Owns** what `/api/v1` reads and writes, and how that becomes the domain's types and comes from
//! them.
//!
//! **Must not know** HTTP, nor Docker's forms.
//!
//! **Invariants**
//! - One style: camelCase, ids in full, times in RFC 3339, sizes in bytes.
//! - What a client sends may have no field that is not known; what it leaves out is its default.
//! - Every type has a schema (feature `openapi`), derived from the type itself.
#![forbid(unsafe_code)]

pub mod container;
pub mod create;
pub mod error;
pub mod event;
pub mod exec;
pub mod file;
pub mod image;
pub mod kernel;
pub mod key;
pub mod mount;
pub mod network;
pub mod outcome;
pub mod page;
pub mod port;
pub mod query;
pub mod request;
pub mod secret;
pub mod stats;
pub mod stream;
pub mod system;
pub mod update;
pub mod volume;
mod wire;

pub use error::ErrorBody;
pub use page::Page;
pub use stream::{End, Line, StreamEnd};
