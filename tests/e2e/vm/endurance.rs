//! Many machines that idle, and many rounds of starting and ending one meanwhile.
//!
//! - `CORACLE_VM_IDLE`: how many idle (50 are promised).
//! - `CORACLE_VM_ROUNDS`: how many rounds (500 are promised).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use coracle_tests::output::wait_for;
use coracle_tests::{Daemon, leak};

use super::spares::spare;
use super::{WORKERS, daemon, passes};

/// What an idle machine may have of its own, in KiB.
const PRIVATE: u64 = 40 << 10;

fn number(variable: &str, default: usize) -> usize {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn endurance() {
    let Some(d) = daemon(1) else { return };
    let idle = number("CORACLE_VM_IDLE", 4);
    let begun = Instant::now();
    let ids = start(&d, idle);
    eprintln!("{idle} machines started in {:?}", begun.elapsed());
    let mut good = passes("rounds_leave_nothing", || {
        rounds_leave_nothing(&d, number("CORACLE_VM_ROUNDS", 12));
    });
    good &= passes("idle_ones_need_little_and_answer", || {
        idle_ones_need_little_and_answer(&d, &ids);
    });
    assert!(good, "see above");
}

/// Some at a time, as a person with several terminals would.
fn start(d: &Daemon, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let more = WORKERS.min(count - ids.len());
        ids.extend(at_once(more, |_| d.sleeper(&["--network", "bridge"])));
    }
    ids
}

fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = (0..count).map(|n| scope.spawn(move || work(n))).collect();
        let ended = started.into_iter().map(|thread| thread.join());
        ended.map(|done| done.expect("no panic")).collect()
    })
}

/// How many there are of what a round could leave behind.
type Census = BTreeMap<&'static str, usize>;

fn census(d: &Daemon) -> Census {
    let own = |what: &str| {
        let entries = fs::read_dir(format!("/proc/{}/{what}", d.pid()));
        entries.into_iter().flatten().count()
    };
    let processes = leak::processes(d.dir(), d.cgroup(), d.netns().inode(), &[]);
    let lines = |program, args: &[&str]| d.inside(program, args).ok().lines().count();
    Census::from([
        ("processes", processes.len()),
        ("the daemon's threads", own("task")),
        ("the daemon's descriptors", own("fd")),
        ("mounts", leak::mounts(d.dir()).len()),
        ("control groups", leak::cgroups(d.cgroup()).len()),
        ("interfaces", lines("ip", &["-o", "link"])),
        ("lines of rules", lines("nft", &["list", "ruleset"])),
        ("files of what runs", entries(&d.dir().join("exec"))),
        (
            "files of containers",
            entries(&d.dir().join("data/containers")),
        ),
    ])
}

/// Of what there is more than before. Less is no fault: threads that have nothing to do end after a while.
fn more(before: &Census, after: &Census) -> Vec<String> {
    let grown = after.iter().filter(|(what, count)| *count > &before[*what]);
    grown
        .map(|(what, count)| format!("{count} {what}, not {}", before[what]))
        .collect()
}

fn entries(dir: &Path) -> usize {
    let all = fs::read_dir(dir).into_iter().flatten().flatten();
    let below = |path: &Path| if path.is_dir() { entries(path) } else { 0 };
    all.map(|entry| 1 + below(&entry.path())).sum()
}

fn rounds_leave_nothing(d: &Daemon, rounds: usize) {
    let round = |network| {
        let line = [
            "run", "--rm", "--network", network, "busybox", "sh", "-c", "exit 7",
        ];
        d.fails(7, &line);
    };
    round("bridge");
    spare(d);
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", d.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS"));
        line.unwrap_or_default().to_owned()
    };
    let mut before = census(d);
    // Connections that wait for more work end after a while.
    wait_for("nothing changes", Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_secs(2));
        let was = std::mem::replace(&mut before, census(d));
        was == before
    });
    eprintln!("before: {before:?}, {}", resident());
    let begun = Instant::now();
    for number in 0..rounds {
        round(["bridge", "none"][number % 2]);
    }
    eprintln!("{rounds} rounds took {:?}", begun.elapsed());
    spare(d);
    let mut left = more(&before, &census(d));
    let end = Instant::now() + Duration::from_secs(90);
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_secs(1));
        left = more(&before, &census(d));
    }
    eprintln!("after: {}", resident());
    assert!(left.is_empty(), "there are {}", left.join(", "));
}

fn idle_ones_need_little_and_answer(d: &Daemon, ids: &[String]) {
    let private = |id: &str| -> u64 {
        let pid = d.inspect(id, "{{.State.Pid}}");
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("Private_"));
        let sizes = lines.filter_map(|line| line.split_whitespace().nth(1));
        sizes.map(|size| size.parse::<u64>().unwrap()).sum()
    };
    for id in ids {
        wait_for("the machine idles", Duration::from_secs(120), || {
            std::thread::sleep(Duration::from_millis(200));
            private(id) < PRIVATE
        });
    }
    let all: Vec<u64> = ids.iter().map(|id| private(id)).collect();
    eprintln!(
        "private, KiB: {:?} to {:?}",
        all.iter().min(),
        all.iter().max()
    );
    let begun = Instant::now();
    for some in ids.chunks(WORKERS) {
        at_once(some.len(), |n| {
            let said = format!("here is {n}");
            assert_eq!(d.ok(&["exec", &some[n], "echo", &said]), said);
        });
    }
    eprintln!("all answered within {:?}", begun.elapsed());
    for some in ids.chunks(WORKERS) {
        let line: Vec<&str> = ["rm", "-f"]
            .into_iter()
            .chain(some.iter().map(String::as_str))
            .collect();
        d.ok(&line);
    }
}
