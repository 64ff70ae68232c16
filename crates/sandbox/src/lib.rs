//! The [`Sandbox`] trait: how one container is isolated, as seen by its shim; and
//! [`ProcessSandbox`], which does it with namespaces and cgroups of this host.
//!
//! Owns the container's processes and cgroup from creation to deletion. Must not know who
//! attached, what is logged, or the task protocol beyond its types: that is the shim's.
//!
//! The trait promises nothing about host processes, paths or descriptors: a virtual machine has
//! none of these, only streams and an exit.

#![deny(unsafe_code)]

mod blocking;
mod error;
mod process;
mod sandbox;
#[cfg(feature = "vm")]
mod vm;

pub use error::Result;
pub use error::SandboxError;
pub use process::ProcessSandbox;
pub use sandbox::ExitFuture;
pub use sandbox::ExitStatus;
pub use sandbox::Files;
pub use sandbox::Input;
pub use sandbox::Launched;
pub use sandbox::Output;
pub use sandbox::Process;
pub use sandbox::Sandbox;
pub use sandbox::Streams;
#[cfg(feature = "vm")]
pub use vm::Spare;
#[cfg(feature = "vm")]
pub use vm::VmSandbox;
#[cfg(feature = "vm")]
pub use vm::make_template;
