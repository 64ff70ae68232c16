//! LocalRuntime: the product's own runtime, on this host.
//!
//! **Owns** containers (their records, state machines, restart policies, health), and ties the
//! image store, snapshots, networks, volumes and shims together into the
//! [`Runtime`](coracle_runtime::Runtime) trait.
//!
//! **Must not know** HTTP, nor how a process is isolated: that is the shim's, which it talks to by
//! the task protocol alone.
//!
//! **Invariants**
//! - It owns no process. Killed at any moment and opened again, it finds every container as it is:
//!   see `container::recover`.
//! - One task owns one container's state: see `container::actor`.
//! - A container exists once its `config.json` does, and no longer.
#![forbid(unsafe_code)]

mod archives;
mod config;
mod container;
mod disks;
mod distribution;
mod durable;
mod engine;
mod forward;
mod host;
mod ident;
mod images;
mod kernels;
mod links;
mod machine;
mod mounted;
mod names;
mod network_api;
mod networks;
mod pipe;
mod reaper;
mod runtime;
mod secrets;
mod snapshots;
mod system;
mod transfer;
mod volumes;

pub use config::Config;
pub use coracle_dns::Host as HostDns;
pub use forward::PortForwarder;
pub use machine::MachineSettings;
pub use runtime::LocalRuntime;
