//! Spare machines: taken by containers, and gone with their daemon, whenever it dies.

use std::process::Stdio;
use std::time::Duration;

use coracle_tests::leak;
use coracle_tests::output::wait_for;
use coracle_tests::{Daemon, wait_until};
use rustix::process::Signal;
use serde_json::json;

use super::{daemon, passes};

/// How long a spare may take: the host is shared, and a failed one is made again after a pause.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn spares() {
    let Some(mut d) = daemon(1) else { return };
    let mut good = passes("a_container_takes_it", || a_container_takes_it(&d));
    good &= passes("taken_ones_differ", || taken_ones_differ(&d));
    good &= passes("others_do_without", || others_do_without(&d));
    good &= passes("a_killed_spare", || a_killed_spare(&d));
    good &= passes("a_spare_without_a_machine", || {
        a_spare_without_a_machine(&d)
    });
    good &= passes("a_stuck_spare", || a_stuck_spare(&d));
    good &= passes("another_kernel", || another_kernel(&d));
    good &= passes("a_killed_daemon", || a_killed_daemon(&mut d));
    good &= passes("killed_while_it_hands_over", || {
        killed_while_it_hands_over(&mut d)
    });
    good &= passes("none_are_wanted", || none_are_wanted(&mut d));
    assert!(good, "see above");
}

/// A spare's shim, and its machine.
#[derive(Debug)]
pub(super) struct Spare {
    shim: i32,
    machine: i32,
}

/// The shims of the spares that were ready at some time, by the daemon's log, the newest last.
pub(super) fn made(log: &str) -> Vec<i32> {
    let lines = log
        .lines()
        .filter(|line| line.contains("a spare machine is ready"));
    lines
        .filter_map(|line| line.rsplit("pid=").next()?.trim().parse().ok())
        .collect()
}

fn taken(d: &Daemon) -> usize {
    d.log().matches("a spare machine is taken").count()
}

/// Waits until one waits.
#[track_caller]
pub(super) fn spare(d: &Daemon) -> Spare {
    let mut found = None;
    wait_for("a spare machine waits", PATIENCE, || {
        found = made(&d.log()).last().copied().and_then(|shim| {
            let is_spare = !is_taken(d, shim);
            let machine = machine_of(shim)?;
            is_spare.then_some(Spare { shim, machine })
        });
        found.is_some()
    });
    found.expect("it was found")
}

/// Whether a shim has a container.
fn is_taken(d: &Daemon, shim: i32) -> bool {
    let bundles = std::fs::read_dir(d.dir().join("exec/containers"));
    let mut bundles = bundles.into_iter().flatten().flatten();
    bundles.any(|bundle| {
        let pid = std::fs::read_to_string(bundle.path().join("shim.pid"));
        pid.is_ok_and(|pid| pid.trim() == shim.to_string())
    })
}

/// The QEMU whose parent is this shim.
fn machine_of(shim: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children"));
    let tasks = std::fs::read_dir(format!("/proc/{shim}/task")).ok()?;
    let of_tasks = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<String> = children.into_iter().chain(of_tasks).collect();
    let mut pids = all
        .iter()
        .flat_map(|line| line.split_whitespace())
        .filter_map(|pid| pid.parse::<i32>().ok());
    pids.find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("qemu-system")
    })
}

fn exists(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim();
    !state.is_empty() && !state.starts_with('Z')
}

#[track_caller]
fn gone(spare: &Spare) {
    wait_until("the spare's shim is gone", || !exists(spare.shim));
    wait_until("the spare's machine is gone", || !exists(spare.machine));
}

/// The shim and the machine are the container's, in its group, with its network and its log.
fn a_container_takes_it(d: &Daemon) {
    let spare = spare(d);
    let script = "echo started; hostname; cat /etc/hostname; sleep 600";
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", script]);
    assert_eq!(
        d.inspect(&id, "{{.State.Pid}}"),
        spare.machine.to_string(),
        "{}",
        d.log()
    );
    assert!(is_taken(d, spare.shim));
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", spare.machine)).unwrap();
    let groups: Vec<_> = groups
        .lines()
        .filter(|line| !line.ends_with(&id))
        .filter(|line| !line.starts_with("0::/") && !line.contains("name="))
        .collect();
    assert!(
        groups.len() < 4,
        "not in its container's groups: {groups:?}"
    );
    let address = d.inspect(
        &id, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
    );
    let seen = d.ok(&["exec", &id, "ip", "-4", "-o", "addr", "show", "eth0"]);
    assert!(
        seen.contains(&address) && !seen.contains("192.0.2."),
        "{seen}"
    );
    let routes = d.ok(&["exec", &id, "ip", "route"]);
    assert!(!routes.contains("192.0.2."), "{routes}");
    let root = d.ok(&["exec", &id, "ls", "/bin/busybox", "/etc/passwd"]);
    assert_eq!(root, "/bin/busybox\n/etc/passwd");
    let short = id.get(..12).unwrap_or_default();
    wait_until("its output is logged", || {
        d.ok(&["logs", &id]) == format!("started\n{short}\n{short}")
    });
    d.ok(&["exec", &id, "sh", "-c", "echo kept > /kept"]);
    d.ok(&["stop", "-t", "0", &id]);
    gone(&spare);
    d.ok(&["start", &id]);
    assert_eq!(d.ok(&["exec", &id, "cat", "/kept"]), "kept");
    d.ok(&["rm", "-f", &id]);
}

/// What a copy must not share with its sisters, nor with the container that it was tried out with.
fn taken_ones_differ(d: &Daemon) {
    let script = "head -c16 /dev/urandom | hexdump -e '16/1 \"%02x\"'; echo; \
                  cat /proc/sys/kernel/random/uuid; cat /proc/sys/kernel/random/boot_id; \
                  cat /sys/class/net/eth0/address; date +%s";
    let mut seen: Vec<Vec<String>> = Vec::new();
    for _ in 0..3 {
        spare(d);
        let before = taken(d);
        let now = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.unwrap().as_secs()
        };
        let begun = now();
        let said = d.ok(&["run", "--rm", "busybox", "sh", "-c", script]);
        assert_eq!(taken(d), before + 1, "{}", d.log());
        let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
        let time: u64 = lines.pop().unwrap().parse().unwrap();
        assert!((begun..=now()).contains(&time), "{begun} {time}");
        assert_eq!(lines.len(), 4, "{said}");
        seen.push(lines);
    }
    // Addresses of one network may be given again.
    for line in 0..3 {
        let mut values: Vec<_> = seen.iter().map(|lines| lines[line].clone()).collect();
        values.sort();
        values.dedup();
        assert_eq!(values.len(), 3, "{seen:?}");
    }
    for lines in &seen {
        assert_ne!(lines[3], "02:42:c0:00:02:02");
    }
}

/// A machine of another size is a copy of another template.
fn others_do_without(d: &Daemon) {
    let spare = spare(d);
    let before = taken(d);
    let out = d.ok(&["run", "--rm", "-m", "300m", "busybox", "echo", "out"]);
    assert_eq!((out.as_str(), taken(d)), ("out", before));
    assert!(exists(spare.shim));
}

fn a_killed_spare(d: &Daemon) {
    let old = spare(d);
    leak::kill(old.shim, Signal::KILL);
    gone(&old);
    let new = spare(d);
    assert_ne!(new.shim, old.shim);
}

fn a_spare_without_a_machine(d: &Daemon) {
    let old = spare(d);
    leak::kill(old.machine, Signal::KILL);
    gone(&old);
    let new = spare(d);
    assert_ne!(new.shim, old.shim);
}

/// One that does not answer is of no use, and never becomes anybody's.
fn a_stuck_spare(d: &Daemon) {
    let spare = spare(d);
    leak::kill(spare.shim, Signal::STOP);
    assert_eq!(d.ok(&["run", "--rm", "busybox", "echo", "out"]), "out");
    assert!(d.log().contains("a spare machine was of no use"));
    leak::kill(spare.shim, Signal::CONT);
    gone(&spare);
}

/// With another default kernel the spares of the old one end.
fn another_kernel(d: &Daemon) {
    let old = spare(d);
    let kernel = super::kernel().unwrap();
    let spec = json!({"path": kernel, "name": "another"});
    let reply = d.api("POST", "/api/v1/kernels", Some(&spec));
    assert!(reply.status < 300, "{reply:?}");
    let name = json!({"name": "another"});
    let reply = d.api("PUT", "/api/v1/kernels/default", Some(&name));
    assert!(reply.status < 300, "{reply:?}");
    gone(&old);
    let new = spare(d);
    assert_ne!(new.shim, old.shim);
}

fn a_killed_daemon(d: &mut Daemon) {
    let old = spare(d);
    d.kill();
    gone(&old);
    d.spawn();
    let new = spare(d);
    assert_ne!(new.shim, old.shim);
    d.terminate();
    gone(&new);
    d.spawn();
}

/// The spare was told of a container, but not that it is its own.
fn killed_while_it_hands_over(d: &mut Daemon) {
    let spare = spare(d);
    d.ok(&["create", "--name", "halfway", "busybox", "sleep", "600"]);
    leak::kill(spare.shim, Signal::STOP);
    let mut start = d.docker_command(&["start", "halfway"]);
    start.stdout(Stdio::null()).stderr(Stdio::null());
    let mut start = start.spawn().unwrap();
    let log = d.dir().join("exec/containers");
    wait_until("it is handed over", || {
        let mut bundles = std::fs::read_dir(&log).into_iter().flatten().flatten();
        bundles.any(|bundle| bundle.path().join("shim.log").exists())
    });
    d.kill();
    start.wait().unwrap();
    leak::kill(spare.shim, Signal::CONT);
    gone(&spare);
    d.spawn();
    d.until("halfway", "{{.State.Status}}", "created");
    d.ok(&["start", "halfway"]);
    assert_eq!(d.ok(&["exec", "halfway", "echo", "runs"]), "runs");
    d.ok(&["rm", "-f", "halfway"]);
}

fn none_are_wanted(d: &mut Daemon) {
    spare(d);
    d.terminate();
    d.more_flags(&["--vm-spares", "0"]);
    let before = made(&d.log()).len();
    d.spawn();
    assert_eq!(d.ok(&["run", "--rm", "busybox", "echo", "out"]), "out");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(made(&d.log()).len(), before);
}
