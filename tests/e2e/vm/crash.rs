//! SIGKILL to the daemon, to shims and to QEMU; many machines at once; what is left.

use std::path::Path;
use std::time::{Duration, Instant};

use coracle_tests::leak::{self, Process};
use coracle_tests::{Daemon, wait_until};
use rustix::process::Signal;

use super::{Guest, daemon, machines, passes};

#[test]
fn crashes() {
    let Some(mut d) = daemon(0) else { return };
    let mut good = passes("a_killed_daemon", || a_killed_daemon(&mut d));
    good &= passes("a_killed_shim", || a_killed_shim(&d));
    good &= passes("a_killed_qemu", || a_killed_qemu(&d));
    good &= passes("a_killed_shim_and_daemon", || {
        a_killed_shim_and_daemon(&mut d)
    });
    good &= passes("container_concurrent", || container_concurrent(&d));
    good &= passes("nothing_is_left", || nothing_is_left(&d));
    assert!(good, "see above");
}

/// The processes of a container's machine, and its shim.
fn processes(d: &Daemon, word: &str) -> Vec<Process> {
    let mut all = leak::processes(d.dir(), d.cgroup(), 0, &[]);
    all.retain(|process| process.line.contains(word) && !process.line.contains("--template"));
    all
}

fn exists(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim();
    !state.is_empty() && !state.starts_with('Z')
}

fn pid(d: &Daemon, id: &str) -> i32 {
    d.inspect(id, "{{.State.Pid}}").parse().unwrap()
}

fn shim(d: &Daemon, id: &str) -> i32 {
    let file = d.dir().join("exec/containers").join(id).join("shim.pid");
    let pid = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    pid.trim().parse().unwrap()
}

/// Machines run on, and what happened meanwhile is known.
fn a_killed_daemon(d: &mut Daemon) {
    let count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done";
    let flags = [
        "run", "-d", "-p", "127.0.0.1:8089:80", "busybox", "sh", "-c",
    ];
    let runs = d.ok(&[&flags[..], &[count]].concat());
    let ends = d.ok(&["run", "-d", "busybox", "sh", "-c", "sleep 1.5; exit 42"]);
    let goes = d.ok(&["run", "-d", "--rm", "busybox", "sleep", "1.5"]);
    let frozen = d.sleeper(&[]);
    d.ok(&["pause", &frozen]);
    let machine = pid(d, &runs);
    d.kill();
    std::thread::sleep(Duration::from_secs(2));
    assert!(exists(machine));
    d.spawn();
    assert_eq!(pid(d, &runs), machine);
    assert_eq!(
        d.inspect(&runs, "{{.RestartCount}} {{.State.Running}}"),
        "0 true"
    );
    assert_eq!(d.ok(&["wait", &ends]), "42");
    assert_eq!(
        d.inspect(&ends, "{{.State.OOMKilled}} {{.State.Error}}"),
        "false"
    );
    wait_until("--rm is done", || d.docker(&["inspect", &goes]).code == 1);
    assert_eq!(d.inspect(&frozen, "{{.State.Status}}"), "paused");
    d.ok(&["unpause", &frozen]);
    d.fails(7, &["exec", &runs, "sh", "-c", "exit 7"]);
    let log = d.ok(&["logs", &runs]);
    for (number, line) in log.lines().enumerate() {
        assert_eq!(line, (number + 1).to_string(), "a hole or a repeat");
    }
    d.ok(&["stop", "-t", "0", &runs]);
    assert_eq!(d.inspect(&runs, "{{.State.ExitCode}}"), "137");
    d.ok(&["rm", "-f", &runs, &ends, &frozen]);
}

/// The machine dies with its shim.
fn a_killed_shim(d: &Daemon) {
    let guest = Guest::new(d, &["--network", "bridge"]);
    let machine = pid(d, &guest);
    leak::kill(shim(d, &guest), Signal::KILL);
    d.until(&guest, "{{.State.Running}}", "false");
    assert_ne!(d.inspect(&guest, "{{.State.ExitCode}}"), "0");
    assert!(!d.inspect(&guest, "{{.State.Error}}").is_empty());
    wait_until("QEMU is gone", || !exists(machine));
    wait_until("its groups are gone", || no_group(d, &guest));
    d.ok(&["start", &guest]);
    assert_eq!(guest.exec("echo again"), "again");
}

fn no_group(d: &Daemon, id: &str) -> bool {
    leak::cgroups(d.cgroup())
        .iter()
        .all(|group| !group.ends_with(id))
}

/// A machine that ends takes its container with it, at once.
fn a_killed_qemu(d: &Daemon) {
    let guest = Guest::new(d, &["--network", "bridge"]);
    let machine = pid(d, &guest);
    let line = std::fs::read_to_string(format!("/proc/{machine}/cmdline")).unwrap();
    assert!(line.contains("qemu"), "{line}");
    let begun = Instant::now();
    leak::kill(machine, Signal::KILL);
    assert_eq!(d.ok(&["wait", &guest]), "137");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(d.inspect(&guest, "{{.State.OOMKilled}}"), "false");
    d.ok(&["start", &guest]);
    assert_eq!(guest.exec("echo again"), "again");
}

fn a_killed_shim_and_daemon(d: &mut Daemon) {
    let id = d.sleeper(&[]);
    let machine = pid(d, &id);
    let shim = shim(d, &id);
    d.kill();
    leak::kill(shim, Signal::KILL);
    wait_until("QEMU is gone, with nobody to help", || !exists(machine));
    d.spawn();
    d.until(&id, "{{.State.Running}}", "false");
    d.ok(&["rm", &id]);
}

fn container_concurrent(d: &Daemon) {
    let begun = Instant::now();
    let guests: Vec<Guest> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| Guest::new(d, &["--network", "bridge"])))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    eprintln!("20 machines: {} ms", begun.elapsed().as_millis());
    let mut addresses: Vec<String> = guests
        .iter()
        .map(|guest| guest.exec("ip -4 -o addr show eth0 | awk '{print $4}'"))
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 20, "{addresses:?}");
    let ids: Vec<&str> = guests.iter().map(|guest| &**guest).collect();
    d.ok(&[&["rm", "-f"], ids.as_slice()].concat());
}

/// With no container there is no process, tap, group or file of one.
fn nothing_is_left(d: &Daemon) {
    let guest = Guest::new(d, &["--network", "bridge", "-v", "/volume"]);
    let machine = pid(d, &guest);
    assert!(machines(d).contains(&machine));
    assert!(!no_group(d, &guest), "QEMU is in its container's group");
    let links = d.inside("ip", &["-o", "link"]).ok();
    let before = links.lines().count();
    let own = leak::cgroups(d.cgroup());
    let parents = own.iter().filter(|group| !group.ends_with(&*guest)).count();
    drop(guest);
    wait_until("all processes are gone", || {
        machines(d).is_empty() && processes(d, "coracle-shim").is_empty()
    });
    wait_until("all groups are gone", || {
        leak::cgroups(d.cgroup()).len() <= parents
    });
    wait_until("the tap is gone", || {
        d.inside("ip", &["-o", "link"]).ok().lines().count() == before - 1
    });
    let taps = d.inside("ip", &["-o", "tuntap"]).ok();
    assert_eq!(taps, "");
    for dir in ["exec/containers", "data/containers", "exec/netns"] {
        let left = std::fs::read_dir(d.dir().join(dir));
        let left: Vec<_> = left.into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(leak::mounts(Path::new(d.dir())).is_empty());
}
