//! The conformance suite with QEMU, and what only a confined QEMU has to show. A program of its own
//! and not of the test harness, because it runs itself again as the helper.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod confined;
mod foreign;
mod idle;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use coracle_vmm::conformance::{Bench, Guest, run};
use coracle_vmm::{Arch, Qemu};

/// The tests as the harness knows them: each is a part of the suite.
const PARTS: [&str; 2] = ["on_this_architecture", "on_a_foreign_architecture"];

fn main() -> ExitCode {
    coracle_vmm::run_if_helper();
    let args: Vec<_> = std::env::args().skip(1).collect();
    let given = |option: &str| args.iter().any(|arg| arg == option);
    if let [word, dir] = &args[..]
        && word == confined::CHILD
    {
        let dir = Path::new(dir);
        let made = made_before().unwrap_or_else(|| dir.into());
        let (qemu, guest) = (Qemu::discover(Arch::HOST), Guest::at(&made, Arch::HOST));
        block_on(confined::child(&qemu.unwrap(), &guest.unwrap(), dir));
        return ExitCode::SUCCESS;
    }
    if given("--list") {
        let listed = PARTS.iter().filter(|_| !given("--ignored"));
        listed.for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let filter = filter.map(String::as_str).unwrap_or_default();
    let (part, filter) = match PARTS.contains(&filter) {
        true => (filter, ""),
        false => ("", filter),
    };
    let [here, foreign] = PARTS.map(|name| part.is_empty() || part == name);
    let mut passed = true;
    if here {
        passed &= on_this_architecture(filter);
    }
    if foreign && made_before().is_none() {
        passed &= foreign::on_a_foreign_architecture(filter);
    }
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    if !children.trim().is_empty() {
        println!("left over: {children}");
        passed = false;
    }
    ExitCode::from(u8::from(!passed))
}

fn made_before() -> Option<PathBuf> {
    std::env::var_os(confined::GUEST).map(PathBuf::from)
}

fn on_this_architecture(filter: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let guest = match made_before() {
        Some(made) => Guest::at(&made, Arch::HOST),
        None => Guest::make(dir, Arch::HOST),
    };
    let (qemu, guest) = match (Qemu::discover(Arch::HOST), guest) {
        (Ok(qemu), Ok(guest)) => (qemu, guest),
        (Err(error), _) => return skip(&error.to_string()),
        (_, Err(error)) => return skip(&error),
    };
    let mut passed = true;
    let mut test = |name: &str, body: &dyn Fn()| {
        if name.contains(filter) {
            let start = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(body)).is_ok();
            let word = if outcome { "ok" } else { "FAILED" };
            println!("test {name} ... {word} in {:?}", start.elapsed());
            passed &= outcome;
        }
    };
    test("holds_nothing_it_does_not_need", &|| {
        block_on(confined::holds_nothing_it_does_not_need(&qemu, &guest, dir));
    });
    test("dies_with_its_parent", &|| {
        confined::dies_with_its_parent(dir)
    });
    test("an_ordinary_user_has_the_same", &|| {
        confined::an_ordinary_user_has_the_same(dir);
    });
    test("is_put_into_its_control_groups", &|| {
        block_on(confined::is_put_into_its_control_groups(&qemu, &guest, dir));
    });
    test("an_idle_machine_gives_its_translated_code_back", &|| {
        block_on(idle::gives_its_translated_code_back(&bench(
            &qemu, &guest, dir,
        )));
    });
    test("an_accelerator_is_chosen_and_remembered", &|| {
        block_on(confined::an_accelerator_is_chosen_and_remembered(
            &qemu, &guest, dir,
        ));
    });
    passed & block_on(run(&bench(&qemu, &guest, dir), filter))
}

fn bench<'v>(vmm: &'v Qemu, guest: &Guest, dir: &Path) -> Bench<'v> {
    Bench {
        vmm,
        guest: guest.clone(),
        dir: dir.into(),
        user: rustix::process::geteuid()
            .is_root()
            .then_some((77_001, 77_001)),
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn skip(why: &str) -> bool {
    println!("skipped: {why}");
    true
}
