//! What every conformer of [`crate::Vmm`] must do, as tests with a real guest.
//!
//! The guest answers lines on its agent's port ([`Talk`]): `agent.rs` beside this page.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests, in a program of their own"
)]

mod guest;
mod life;
mod plug;
mod scripted;
mod server;
mod templates;

pub use guest::{Guest, Talk};
pub use scripted::Scripted;

use std::fs::File;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::machine::{Machine, Vmm};
use crate::spec::{Disk, MachineSpec};
use crate::template::Template;

/// What the tests work with.
pub struct Bench<'v> {
    /// Who is tested.
    pub vmm: &'v dyn Vmm,
    /// What runs in the machines.
    pub guest: Guest,
    /// For all files.
    pub dir: PathBuf,
    /// The user of the machines' processes.
    pub user: Option<(u32, u32)>,
}

type Running<'t> = Pin<Box<dyn Future<Output = ()> + 't>>;

/// A test's name and body.
type Test = (&'static str, for<'t> fn(&'t Bench<'t>) -> Running<'t>);

/// Lists tests, which are async functions.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(super) const TESTS: &[super::Test] =
            &[$((stringify!($name), |bench| Box::pin($name(bench)))),*];
    };
}
use tests;

/// How long anything may take before it counts as never: hosts of tests are shared.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the tests whose names contain `filter`, and prints what came of each; whether all passed.
pub async fn run(bench: &Bench<'_>, filter: &str) -> bool {
    run_but(bench, filter, &[]).await
}

/// The same without the tests of this name, which the VMM is known not to pass.
pub async fn run_but(bench: &Bench<'_>, filter: &str, without: &[&str]) -> bool {
    let mut passed = true;
    let all = [life::TESTS, plug::TESTS, server::TESTS, templates::TESTS].concat();
    for (name, test) in all.iter().filter(|(name, _)| name.contains(filter)) {
        if without.contains(name) {
            println!("left out: {name}");
            continue;
        }
        let start = Instant::now();
        let outcome = Caught(AssertUnwindSafe(test(bench))).await;
        let word = if outcome { "ok" } else { "FAILED" };
        println!("test {name} ... {word} in {:?}", start.elapsed());
        passed &= outcome;
    }
    passed
}

/// A future whose panic is its answer.
struct Caught<'t>(AssertUnwindSafe<Running<'t>>);

impl Future for Caught<'_> {
    type Output = bool;

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<bool> {
        let inner = &mut self.0;
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| inner.0.as_mut().poll(context)));
        match polled {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(())) => std::task::Poll::Ready(true),
            Err(_) => std::task::Poll::Ready(false),
        }
    }
}

impl Bench<'_> {
    /// A machine's specification.
    #[must_use]
    pub fn spec(&self, id: &str) -> MachineSpec {
        let mut spec = self.guest.machine(self.vmm, &self.dir, id);
        spec.user = self.user;
        spec
    }

    /// Its agent's line.
    async fn talk(&self, machine: &dyn Machine) -> Talk {
        let mut talk = Talk::new(machine.agent().unwrap());
        let answer = tokio::select! {
            answer = talk.ask("ping") => answer.unwrap(),
            exit = machine.wait() => panic!("{exit}"),
        };
        assert_eq!(answer, "pong");
        assert!(machine.agent().is_none());
        talk
    }

    /// A machine that was booted, and its agent's line.
    pub async fn boot(&self, spec: MachineSpec) -> (Box<dyn Machine>, Talk) {
        let machine = self.vmm.boot(spec).await.unwrap();
        let talk = self.talk(machine.as_ref()).await;
        (machine, talk)
    }

    /// A clone, and its agent's line.
    async fn clone(&self, template: &Template, spec: MachineSpec) -> (Box<dyn Machine>, Talk) {
        let machine = self.vmm.clone_from(template, spec).await.unwrap();
        let talk = self.talk(machine.as_ref()).await;
        (machine, talk)
    }

    /// The template of all tests; made by whoever wants it first.
    async fn template(&self) -> Template {
        let dir = self.dir.join("template");
        let spec = self.spec("template");
        let key = self.vmm.key(&spec.shape).unwrap();
        match Template::open(&dir, &key) {
            Ok(template) => template,
            Err(_) => self.make_template(&dir, spec).await,
        }
    }

    async fn make_template(&self, dir: &std::path::Path, mut spec: MachineSpec) -> Template {
        spec.template = true;
        let (machine, _talk) = self.boot(spec).await;
        machine.snapshot(dir).await.unwrap()
    }

    /// A disk's image with a text at its beginning.
    fn image(&self, name: &str, bytes: u64, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        let file = File::create(&path).unwrap();
        std::io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
        file.set_len(bytes).unwrap();
        path
    }

    /// A disk with such an image, named like its serial.
    fn disk(&self, serial: &str, bytes: u64, text: &str, read_only: bool) -> Disk {
        let image = self.image(&format!("{serial}.img"), bytes, text);
        Disk::open(&image, serial, read_only).unwrap()
    }
}

/// How the guest lists a disk.
fn listed(serial: &str, bytes: u64, read_only: bool) -> String {
    format!("{serial}={},{}", bytes / 512, i32::from(read_only))
}
