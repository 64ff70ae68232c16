//! coracled: the daemon.
//!
//! **Owns** the daemon's flags and configuration file, its sockets (unix, TCP, TLS), signals and
//! log; puts a [`LocalRuntime`](coracle_local::LocalRuntime), or another engine through a
//! [`DockerRuntime`](coracle_bridge::DockerRuntime), behind the HTTP API and serves it.
//!
//! **Must not know** what a container is.
//!
//! **Invariants**
//! - One daemon per data root and per socket; a second start on the same socket says so and exits 0.
//! - SIGTERM and SIGINT drain: requests end, containers run on.
//! - The flags are dockerd's where dockerd has one; a flag and the file never silently disagree.
#![deny(unsafe_code)]
// Documentation of settings is what `--help` prints, where brackets mean what may be left out.
#![allow(rustdoc::broken_intra_doc_links)]

mod allocator;
mod backend;
mod error;
mod listen;
mod rootless;
mod run;
mod settings;
mod tls;

use std::process::ExitCode;

use clap::Parser;

/// Values of secrets pass through buffers that nobody else overwrites.
#[global_allocator]
static ALLOCATOR: coracle_wipe::Wiping = coracle_wipe::Wiping;

fn main() -> ExitCode {
    allocator::keep_little();
    let args = settings::Args::parse();
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coracled: {error}");
            ExitCode::FAILURE
        }
    }
}
