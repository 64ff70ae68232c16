//! What the end-to-end tests stand on: a daemon of one's own, and the real docker CLI.
//!
//! **Owns** the harness: [`Daemon`] starts `coracled` in a network namespace, with directories, a
//! socket and a control group of its own, loads the busybox fixture, drives `docker`, and at its
//! end checks that nothing is left: no mount, process, control group or namespace.
//!
//! **Must not know** anything of the crates under test: it sees what users see.
//!
//! **Invariants**
//! - Tests run side by side, each with its own daemon, and never touch the host's network.
//! - What a killed test left is swept by the next one.
#![forbid(unsafe_code)]

pub mod daemon;
pub mod fixture;
pub mod http;
pub mod leak;
pub mod netns;
pub mod output;
pub mod plain;
pub mod registry;
pub mod terminal;

pub use daemon::{Daemon, Options};
pub use fixture::{docker_major, fixture};
pub use output::{Output, now, wait_until};
pub use registry::Registry;
pub use terminal::Terminal;

/// Whether tests that need root can run; says why they are skipped where not.
#[must_use]
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: end-to-end tests need root");
    }
    root
}
