//! coracle: the command line.
//!
//! **Owns** the verbs and their options ([`commands`], [`options`]), what is shown and how
//! ([`output`], [`template`]), the terminal while a process is attached to ([`session`]), where the
//! daemon is looked for and how it is started ([`host`], [`daemon`]).
//!
//! **Must not know** anything that the daemon does not say through its API.
//!
//! **Invariants**
//! - Standard output carries data only; errors, hints, warnings and progress go to standard error.
//! - Exit codes are Docker's: 125 where the daemon or the command line fails a `run`, 126 and 127
//!   where the command can't be run, the container's own otherwise; 1 for all other failures.
//! - The terminal is as it was when the program ends, however it ends (but by SIGKILL).
//! - No option is ignored: what is not understood is refused by name.
// Documentation of arguments is what `--help` prints, where brackets mean what may be left out.
#![allow(rustdoc::broken_intra_doc_links)]
#![forbid(unsafe_code)]

mod app;
mod commands;
mod config;
mod context;
mod daemon;
mod error;
mod help;
mod host;
mod options;
mod output;
mod plugin;
mod session;
mod template;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(app::run(std::env::args_os().collect()))
}
