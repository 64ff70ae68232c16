//! A runtime in memory: no privileges, no host, no files.
//!
//! **Owns** [`MockRuntime`], a conformer of the `Runtime` trait to test what stands on it (API, CLI,
//! Compose) without containers: their processes are simulated by a small shell and a few of
//! busybox's programs over a file system in memory, images are pulled from a simulated registry,
//! networks give out addresses and carry nothing.
//!
//! **Must not know** the host, nor LocalRuntime. What decides whether options are accepted is the
//! product's own code (`coracle-spec`, `coracle-oci`, `coracle-archive`, `coracle-log`, `coracle-kernel`), so that the
//! mock is neither stricter nor laxer.
//!
//! **Invariants**
//! - It passes the conformance suite of `coracle-runtime` like every conformer.
//! - Everything is behind one lock, and no lock is held across an await.
//! - It has to be used within a tokio runtime, on which the simulated processes run.
#![forbid(unsafe_code)]

mod builder;
mod container;
mod engine;
mod fs;
mod ident;
mod images;
mod kernels;
mod networks;
mod process;
mod runtime;
mod secrets;
mod shell;
mod system;
mod volumes;

pub use builder::MockRuntime;
