//! DockerRuntime: the [`Runtime`](coracle_runtime::Runtime) trait over any Docker-compatible engine.
//!
//! **Owns** what a Docker-compatible engine's answers mean in the trait's terms: its errors' kinds, its
//! capabilities, its events on a bus of our own, its streams, and what must be refused because the
//! engine is too old to know it.
//!
//! **Must not know** HTTP (`coracle-client` does), the wire's JSON (`coracle-docker`), nor who calls.
//!
//! **Invariants**
//! - The engine is an external input: every answer is bounded, checked, and of a known kind. A name
//!   never becomes another route.
//! - Nothing is silently dropped: what the engine's API version doesn't know is refused by name.
//! - Events come in the engine's order, each once, over its restarts and ours of the connection; what
//!   an operation caused is on the bus when the operation returns.
//! - Dropping a future or a stream closes its connection to the engine.
#![forbid(unsafe_code)]

mod containers;
mod convert;
mod engine;
mod error;
mod events;
mod execs;
mod files;
mod images;
mod logs;
mod memory;
mod names;
mod networks;
mod options;
mod runtime;
mod secrets;
mod stats;
mod streams;
mod system;
mod transfer;
mod volumes;

pub use runtime::DockerRuntime;
