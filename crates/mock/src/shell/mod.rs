//! What runs in simulated containers: a small part of busybox.
//!
//! [`run`] runs a command line in a [`World`]: the container's files, processes and terminal. The
//! shell knows lists, pipes, redirections, variables, substitutions, `if`, `while`, `for`, traps and
//! background jobs; the applets are those that tests use. It is no more than that: what is not known
//! says so as busybox does, with exit code 127.

mod applets;
mod arith;
mod builtins;
mod env;
mod eval;
mod expand;
mod lex;
mod lookup;
mod parse;
mod redirect;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use applets::{NAMES, records};
pub(crate) use env::{Env, Io, Sink, Source, User, World};
pub(crate) use lookup::{PATH, lookup};

use futures_util::future::BoxFuture;

use crate::process::target::Process;

/// The exit code of who was ended by a signal.
pub(crate) const SIGNALLED: i32 = 128;

/// Runs a command line as the process that was made for it, to its end or to the signal that ends
/// it; gives the exit code.
pub(crate) fn run(env: Env, argv: Vec<String>, process: Process) -> BoxFuture<'static, i32> {
    Box::pin(async move {
        let target = process.target.clone();
        let work = lookup::execute(env.at(target.clone()), argv);
        tokio::select! {
            biased;
            number = target.died() => SIGNALLED + number,
            code = work => code & 0xff,
        }
    })
}
