//! Containers in virtual machines, named like the integration cases of Apple's `containerization`
//! where one of them checks the same; `vm/apple.txt` has them all.
//!
//! A daemon's first machine has to boot, and templates are made while it runs: so there are few
//! tests, each with one daemon and many cases. Every case is told with the time that it took.
//!
//! - `CORACLE_TEST_KERNEL`: what `coracle system kernel install` is given; else what `fixtures/kernel`
//!   has.
//! - `CORACLE_VM_CASES`: only cases whose name holds this.

mod commands;
mod compose;
mod copy;
mod crash;
mod disk;
mod endurance;
mod limits;
mod mounts;
mod nbd;
mod network;
mod platform;
mod pods;
mod process;
mod rootless;
mod secrets;
mod security;
mod spares;
mod streams;

use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_tests::{Daemon, Options, fixture, output};
use serde_json::json;

/// What is known to fail, and why. A line goes away with its fault.
const KNOWN: &[(&str, &str)] = &[];

/// Cases at once: each is a machine or a few.
const WORKERS: usize = 3;

type Case = (&'static str, fn(&Daemon));

/// Cases of functions, by their names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn(&coracle_tests::Daemon))),*] };
}
use cases;

/// Runs all cases on one daemon of virtual machines.
#[track_caller]
fn run(cases: &[Case]) {
    let Some(d) = daemon(1) else { return };
    let wanted = std::env::var("CORACLE_VM_CASES").unwrap_or_default();
    let cases: Vec<_> = cases
        .iter()
        .filter(|(name, _)| name.contains(&wanted))
        .collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !passes(name, || case(&d)) {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failed.is_empty(), "failed: {failed:?}");
    output::wait_until("no machine is left", || machines(&d).is_empty());
}

/// QEMU's processes for containers of this daemon. They have namespaces, users and directories of
/// their own, and are named after their containers, which the daemon's log tells of.
fn machines(d: &Daemon) -> Vec<i32> {
    let log = d.log();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split('\0');
        let is_qemu = words
            .next()
            .is_some_and(|word| word.contains("qemu-system"));
        let mut words = words.skip_while(|word| *word != "-name").skip(1);
        let name = words.next().and_then(|name| name.split(',').next());
        // What is named otherwise is another daemon's: a template in the making, a test of the VMM's.
        let is_ours =
            |name: &str| (name.len() == 64 || name.starts_with("spare-")) && log.contains(name);
        if is_qemu && name.is_some_and(is_ours) {
            found.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(|pid| pid.parse::<i32>().ok()),
            );
        }
    }
    found
}

/// Every one of Apple's cases is a case here, or says why not.
#[test]
fn apples_cases_are_here() {
    let folder = fixture::repository().join("tests/e2e/vm");
    let list = std::fs::read_to_string(folder.join("apple.txt")).unwrap();
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        count += 1;
        let (name, place) = line.split_once(" | ").expect("a name and a place");
        if place.starts_with("- ") {
            continue;
        }
        let (module, function) = place.split_once("::").expect("a module and a function");
        let source = std::fs::read_to_string(folder.join(format!("{module}.rs"))).unwrap();
        let defined = source.contains(&format!("\nfn {function}("));
        // Beside its definition it has to be in a list of cases, or be called by one.
        let named = source.matches(function).count();
        assert!(defined && named > 1, "{name}: there is no {place}");
    }
    assert_eq!(count, 167);
}

/// Runs a case and tells how it went; one that is known to fail passes.
fn passes(name: &str, case: impl FnOnce()) -> bool {
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    let begun = Instant::now();
    let passed = std::panic::catch_unwind(AssertUnwindSafe(case)).is_ok();
    let took = begun.elapsed().as_millis();
    match (passed, known) {
        (true, None) => eprintln!("case {name}: good, {took} ms"),
        (true, Some(_)) => eprintln!("case {name}: good, though known to fail, {took} ms"),
        (false, Some((_, why))) => eprintln!("case {name}: known to fail: {why}"),
        (false, None) => eprintln!("case {name}: FAILED, {took} ms"),
    }
    passed || known.is_some()
}

/// A daemon whose containers are virtual machines, with their kernel and template, and with so many that
/// are kept ready; nothing, told with the reason, where there can be none.
fn daemon(spares: usize) -> Option<Daemon> {
    if let Some(why) = obstacle() {
        eprintln!("skipped: {why}");
        return None;
    }
    let Some(kernel) = kernel() else {
        eprintln!("skipped: there is no kernel for virtual machines; run fixtures/kernel");
        return None;
    };
    let agent = agent().to_string_lossy().into_owned();
    let emulators = emulators();
    let flags = [
        "--accelerator", "tcg", "--default-runtime", "vm", "--emulators", &emulators, "--agent",
    ];
    let mut args: Vec<_> = flags
        .map(str::to_owned)
        .into_iter()
        .chain([agent])
        .collect();
    // One is the default.
    if spares != 1 {
        args.extend(["--vm-spares".to_owned(), spares.to_string()]);
    }
    let d = Daemon::with(Options {
        args,
        ..Options::default()
    })?;
    let spec = json!({"path": kernel});
    let reply = d.api("POST", "/api/v1/kernels", Some(&spec));
    assert!(reply.status < 300, "{reply:?}");
    output::wait_for("there is a template", Duration::from_secs(120), || {
        templates(&d) > 0
    });
    Some(d)
}

/// How many templates are whole.
fn templates(d: &Daemon) -> usize {
    let all = std::fs::read_dir(d.dir().join("data/machines/templates"));
    let whole = |path: PathBuf| path.join("template.json").exists();
    all.into_iter()
        .flatten()
        .flatten()
        .filter(|entry| whole(entry.path()))
        .count()
}

fn obstacle() -> Option<String> {
    let program = format!("qemu-system-{}", std::env::consts::ARCH);
    let qemu = Command::new(&program).arg("--version").output();
    if qemu.is_err() {
        return Some(format!("there is no {program}; install QEMU"));
    }
    let agent = agent();
    (!agent.exists()).then(|| format!("there is no {}; scripts/test builds it", agent.display()))
}

/// The guests' agent, which is static: beside the binaries that are told, or where cargo puts it.
fn agent() -> PathBuf {
    if std::env::var_os("CORACLE_BIN_DIR").is_some() {
        return fixture::find("coracle-init").unwrap_or_else(|path| path);
    }
    let triple = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let debug = fixture::find("coracled").unwrap_or_else(|path| path);
    let target = debug.parent().and_then(Path::parent);
    let target = target.expect("the target directory");
    target.join(triple).join("shim/coracle-init")
}

/// The folder with user-mode emulators; empty, told with the reason, where it can't be had.
fn emulators() -> String {
    let script = fixture::repository().join("fixtures/foreign");
    let found = Command::new(script).output().expect("run fixtures/foreign");
    if !found.status.success() {
        eprintln!("no emulators: {}", String::from_utf8_lossy(&found.stderr));
    }
    String::from_utf8_lossy(&found.stdout).trim().to_owned()
}

fn kernel() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CORACLE_TEST_KERNEL") {
        return Some(path.into());
    }
    let script = fixture::repository().join("fixtures/kernel");
    let found = Command::new(script).arg("--any").output().ok()?;
    let path = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim());
    (found.status.success() && path.exists()).then_some(path)
}

/// A container that sleeps, removed at the end of this.
struct Guest<'a> {
    d: &'a Daemon,
    id: String,
}

impl<'a> Guest<'a> {
    /// Starts one.
    #[track_caller]
    fn new(d: &'a Daemon, flags: &[&str]) -> Self {
        Self {
            d,
            id: d.sleeper(flags),
        }
    }

    /// Starts one that runs a script.
    #[track_caller]
    fn sh(d: &'a Daemon, flags: &[&str], script: &str) -> Self {
        let command = ["busybox", "sh", "-c", script];
        let line = [&["run", "-d"], flags, &command];
        Self {
            d,
            id: d.ok(&line.concat()),
        }
    }

    /// Takes one that was made otherwise.
    fn of(d: &'a Daemon, id: impl Into<String>) -> Self {
        Self { d, id: id.into() }
    }

    /// Runs a script in it.
    #[track_caller]
    fn exec(&self, script: &str) -> String {
        self.d.ok(&["exec", &self.id, "sh", "-c", script])
    }
}

impl Deref for Guest<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.id
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.d.docker(&["rm", "-f", "-v", &self.id]);
    }
}
