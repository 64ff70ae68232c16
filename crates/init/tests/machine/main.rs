//! The agent in real machines (QEMU): boots one with the kernel that is there, then runs containers
//! in it. Needs root, QEMU, `mkfs.erofs`, `mkfs.ext4`, a static `/bin/busybox`, a kernel
//! (`CORACLE_TEST_KERNEL`, or one that the fixtures made), and the agent itself, built by
//! `cargo build --profile shim --target x86_64-unknown-linux-musl -p coracle-init`
//! (`CORACLE_TEST_INIT`). What is missing is told, and nothing is tested.
//!
//! The same in a machine of aarch64 where QEMU has it, if the agent was built for it too (`scripts/arm`).
//!
//! Arguments are parts of the tests' names; `time` measures how long a container takes in a copy of a
//! template.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod bench;
mod files;
mod fixture;
mod hard;
mod processes;
mod sockets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use coracle_vmm::Arch;
use fixture::{Bench, Guest};

/// How long a test may take: one is slow without hardware, and slower where it can't have any.
const PATIENCE: Duration = Duration::from_secs(120);

type Running<'t> = Pin<Box<dyn Future<Output = ()> + 't>>;

/// A test's name and body.
pub(crate) type Test = (&'static str, for<'t> fn(&'t Guest) -> Running<'t>);

/// Lists tests, which are async functions of a guest.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::Test] =
            &[$((stringify!($name), |guest| Box::pin($name(guest)))),*];
    };
}
use tests;

/// The tests as the harness knows them, each with its machine's architecture.
const PARTS: [(&str, Arch); 2] = [("here", Arch::HOST), ("aarch64", Arch::Aarch64)];

fn main() {
    coracle_vmm::run_if_helper();
    let mut filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let given = |option: &str| std::env::args().any(|argument| argument == option);
    // What this host has needs no second machine.
    let mut parts = PARTS.to_vec();
    parts.dedup_by_key(|(_, arch)| *arch);
    if given("--list") {
        let listed = parts.iter().filter(|_| !given("--ignored"));
        listed.for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let is_named = |name: &str| filters.iter().any(|filter| filter == name);
    if parts.iter().any(|(name, _)| is_named(name)) {
        parts.retain(|(name, _)| is_named(name));
        filters.retain(|filter| !PARTS.iter().any(|(name, _)| filter == name));
    }
    let passed = parts.iter().map(|(name, arch)| {
        println!("in a machine: {name}");
        on(*arch, &filters)
    });
    if passed.filter(|passed| !passed).count() > 0 {
        std::process::exit(1);
    }
}

fn on(arch: Arch, filters: &[String]) -> bool {
    let bench = match Bench::find(arch) {
        Ok(bench) => bench,
        Err(missing) => {
            println!("skipped: {missing}");
            return true;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&bench, filters))
}

async fn run(bench: &Bench, filters: &[String]) -> bool {
    let is_wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    let all = [processes::TESTS, files::TESTS, sockets::TESTS, hard::TESTS].concat();
    let mut passed = true;
    let wanted: Vec<_> = all.iter().filter(|(name, _)| is_wanted(name)).collect();
    if !wanted.is_empty() {
        let guest = bench.boot().await;
        for (name, test) in wanted {
            let start = Instant::now();
            let mut tested = test(&guest);
            let caught = std::future::poll_fn(|cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| tested.as_mut().poll(cx)));
                polled.map_or(Poll::Ready(false), |polled| polled.map(|()| true))
            });
            let outcome = match tokio::time::timeout(PATIENCE, caught).await {
                Ok(true) => "ok",
                Ok(false) => "FAILED",
                Err(_) => "FAILED: it takes too long",
            };
            println!("test {name} ... {outcome} in {:?}", start.elapsed());
            passed &= outcome == "ok";
            if tokio::time::timeout(PATIENCE, guest.clean()).await.is_err() {
                println!("the agent does not answer: {}", bench.console());
                return false;
            }
        }
        guest.end().await;
        if !passed {
            println!("the console:\n{}", bench.console());
        }
    }
    if is_wanted("time") {
        bench::run(bench).await;
    }
    passed
}
