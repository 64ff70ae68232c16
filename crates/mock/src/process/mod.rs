//! Simulated processes: their streams, signals and terminals.

pub(crate) mod input;
pub(crate) mod log;
pub(crate) mod output;
pub(crate) mod run;
pub(crate) mod target;
pub(crate) mod tty;

pub(crate) use input::Input;
pub(crate) use log::Log;
pub(crate) use output::Output;
pub(crate) use target::{Processes, Target};
pub(crate) use tty::Tty;
