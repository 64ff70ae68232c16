//! The agent of a virtual machine: its process 1.
//!
//! **Owns** the guest's boot, its file systems, clock, interfaces and containers, as the host asks by
//! the protocol of `coracle_guest`. Containers are those of `coracle_sandbox::ProcessSandbox`: the same
//! code as on the host.
//! **Must not know** of images, registries, Docker, or how its machine is made.
//!
//! # The boot
//! The kernel starts `/init` of the initial RAM disk (`boot.rs`): it loads the modules that are named in
//! `/modules/order`, moves itself to a tmpfs that becomes the root (the launcher can't leave a RAM
//! disk's), executes itself anew there, mounts what is needed, opens the port `agent`, and serves the
//! host. Errors of the boot go to the console, and end the machine.
//!
//! # Paths
//! ```text
//! /run/coracle/<container>/image     its root file system as the image has it, read-only
//! /run/coracle/<container>/layer     what it changes: upper/ and work/
//! ```
//! The host chooses all others.
//!
//! # Invariants
//! - One thread serves; others are only there for what blocks.
//! - What the host asks for is done or refused; the agent never ends, whatever containers do.
//! - Processes of containers are in their own cgroups; the agent's memory and processor time are
//!   kept free for it in its own.

#![deny(unsafe_code)]

mod binfmt;
mod boot;
mod clock;
mod containers;
mod disks;
mod error;
mod files;
mod filesystems;
mod interfaces;
mod machine;
mod modules;
mod mounts;
mod port;
mod power;
mod prepare;
mod processors;
mod pump;
mod reaper;
mod roots;
mod service;
mod session;
mod setup;
mod shares;
mod sockets;
mod stats;
mod sys;
mod tar;

pub use service::Agent;

/// Where the roots of containers are mounted.
pub const RUN: &str = "/run/coracle";

/// Everything that process 1 does. Returns never in a machine; elsewhere it says so and ends.
pub fn main() {
    if std::env::args_os()
        .next()
        .is_some_and(|name| name == prepare::NOTHING)
    {
        return;
    }
    if std::process::id() != 1 {
        complain("coracle-init is process 1 of a virtual machine, and nothing else");
        std::process::exit(2);
    }
    let failed = match boot::boot().and_then(|()| service::run()) {
        Ok(()) => "the agent ended".to_owned(),
        Err(error) => error.to_string(),
    };
    complain(&failed);
    power::off();
}

/// Writes to the console.
pub(crate) fn complain(what: &str) {
    use std::io::Write;
    // Where else would one complain about this?
    let _ = writeln!(std::io::stderr(), "coracle-init: {what}");
}
