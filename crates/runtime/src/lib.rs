//! The seam under everything: what a container runtime can do, in domain types.
//!
//! **Owns** the [`Runtime`] trait, the types that cross it, [`RuntimeError`], [`Capabilities`], the
//! [event bus](event::EventBus), the rules that every conformer keeps ([filters](filter), [restart
//! policies](restart), [health]), and the conformance suite (feature `conformance`) that every
//! conformer passes word for word.
//!
//! **Must not know** any conformer, nor HTTP. The create-time types ([`spec`]) are shaped like
//! Docker's Engine API, because that is the data model the whole ecosystem already speaks: the same
//! structs are read off the wire, kept on disk and turned into an OCI runtime specification.
//!
//! **Invariants**
//! - A conformer never answers [`RuntimeError::NotSupported`] for what its [`Capabilities`] declare.
//! - Every error maps to one kind of [`RuntimeError`]; no catch-all hides a not-found.
//! - Dropping a future or a stream that a method returned stops the work behind it.
//! - State changes are published as events after they are true, in order, with sequence numbers.
#![forbid(unsafe_code)]

// What declares types names this crate, here as in others.
extern crate self as coracle_runtime;

pub mod archive;
pub mod capability;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod container;
pub mod error;
pub mod event;
pub mod exec;
pub mod filter;
pub mod health;
pub mod image;
pub mod io;
pub mod kernel;
pub mod network;
pub mod restart;
mod runtime;
pub mod secret;
pub mod serde_util;
pub mod signal;
pub mod spec;
pub mod stats;
pub mod system;
mod until;
pub mod volume;

pub use capability::Capabilities;
pub use container::{Container, ContainerState, Status};
pub use error::{Result, RuntimeError};
pub use event::{Event, EventBus};
pub use filter::Filters;
pub use runtime::Runtime;
