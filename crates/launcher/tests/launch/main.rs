//! Real containers, made from a static busybox. A program of its own and not of the test harness,
//! because the launcher runs it again as its helper.
//!
//! Needs root, and says so when it skips.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod basics;
mod exec;
mod fixture;
mod foreign;
mod isolation;
mod mounts;
mod process;
mod rootless;
mod terminal;
mod users;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// A test's name and body.
pub(crate) type Test = (&'static str, fn());

/// Names the tests of a module.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] = &[
            $((concat!(module_path!(), "::", stringify!($name)), $name)),*
        ];
    };
}
pub(crate) use tests;

fn main() -> ExitCode {
    coracle_launcher::run_if_helper();
    if let Some(code) = rootless::run_if_child() {
        return ExitCode::from(code);
    }
    let args: Vec<_> = std::env::args().skip(1).collect();
    let filters: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let exact = args.iter().any(|arg| arg == "--exact");
    let all = [
        basics::TESTS,
        exec::TESTS,
        foreign::TESTS,
        isolation::TESTS,
        mounts::TESTS,
        process::TESTS,
        rootless::TESTS,
        terminal::TESTS,
        users::TESTS,
    ]
    .concat();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| {
                if exact {
                    name == *filter
                } else {
                    name.contains(*filter)
                }
            })
    };
    if args.iter().any(|arg| arg == "--list") {
        for (name, _) in all.iter().filter(|(name, _)| wanted(name)) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: containers need root here");
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, test) in all.iter().filter(|(name, _)| wanted(name)) {
        let start = std::time::Instant::now();
        if catch_unwind(test).is_ok() {
            passed += 1;
            println!("test {name} ... ok in {:?}", start.elapsed());
        } else {
            println!("test {name} ... FAILED");
            failed.push(name);
        }
    }
    println!("\n{passed} passed; {} failed {failed:?}", failed.len());
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
