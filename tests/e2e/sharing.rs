//! Containers in each other's namespaces, and where their control groups are.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use coracle_tests::{Daemon, leak, wait_until};
use rustix::process::{Pid, PidfdFlags, Signal};

#[test]
fn memory_and_processes_of_another() {
    let Some(d) = Daemon::start() else { return };
    d.sleeper(&["--name", "one", "--ipc", "shareable"]);
    d.ok(&["exec", "one", "touch", "/dev/shm/ones"]);
    let script = "ps; ls /dev/shm; echo >/dev/shm/others; readlink /proc/self/root; ls -d /dev/pts";
    let seen = d.sh(
        &[
            "--ipc", "container:one", "--pid", "container:one", "--network", "container:one",
        ],
        script,
    );
    assert!(seen.contains("sleep 1000"), "{seen}");
    assert!(seen.ends_with("ones\n/\n/dev/pts"), "{seen}");
    assert_eq!(
        d.ok(&["exec", "one", "ls", "/dev/shm"]).replace('\n', " "),
        "ones others"
    );
    // What leads out of the other's root is not followed.
    let swap = "umount /dev/shm; rm -rf /dev/shm; ln -s /etc /dev/shm";
    let flags = ["--name", "two", "--ipc", "shareable", "--privileged"];
    d.sleeper(&flags);
    d.ok(&["exec", "two", "sh", "-c", swap]);
    d.ok(&["exec", "two", "touch", "/etc/mark"]);
    assert_eq!(
        d.sh(&["--ipc", "container:two"], "ls -d /dev/shm/mark"),
        "/dev/shm/mark"
    );
}

/// Stopping one leaves the other alone, and nothing of its own behind.
#[test]
fn stopping_one_of_two() {
    let Some(d) = Daemon::start() else { return };
    d.sleeper(&["--name", "host"]);
    let script = "(trap '' TERM; sleep 1001; true) & setsid sleep 1002 & sh -c 'sleep 1003; true'";
    for pid in ["container:host", "host"] {
        for end in [&["stop", "-t", "1", "guest"][..], &["kill", "guest"]] {
            let id = d.ok(&[
                "run", "-d", "--network", "none", "--name", "guest", "--pid", pid, "busybox", "sh",
                "-c", script,
            ]);
            let mut ids = Vec::new();
            wait_until("it runs", || {
                ids = members(&d, &id);
                ids.len() >= 5
            });
            let all: Vec<OwnedFd> = ids.iter().filter_map(|id| watch(*id)).collect();
            d.ok(end);
            assert!(
                !all.is_empty() && all.iter().all(has_ended),
                "{pid} {end:?}"
            );
            let left = d.ok(&["exec", "host", "ps", "-o", "args"]);
            assert!(!left.contains("sleep 100[123]"), "{left}");
            d.ok(&["rm", "guest"]);
        }
    }
    assert_eq!(d.inspect("host", "{{.State.Running}}"), "true");
}

/// The processes of a container.
fn members(d: &Daemon, id: &str) -> Vec<i32> {
    let text = d.cgroup_file(id, "pids/cgroup.procs", "cgroup.procs");
    text.lines().filter_map(|pid| pid.parse().ok()).collect()
}

fn watch(id: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok()
}

/// A descriptor of it that can be sent nothing: it is gone, or waits for nothing but its parent.
fn has_ended(process: &OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(
        process,
        rustix::event::PollFlags::IN,
    )];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut fds, Some(&now)).unwrap() == 1
}

/// With the shim killed and no daemon to help, only the kernel ends a container.
#[test]
fn a_container_dies_with_its_shim() {
    let Some(mut d) = Daemon::start() else { return };
    let mut all = Vec::new();
    for flags in [&[][..], &["--init"], &["-u", "1000"], &["--pid", "host"]] {
        let id = d.sleeper(flags);
        let pid = d.inspect(&id, "{{.State.Pid}}").parse().unwrap();
        all.push((flags, watch(pid).unwrap()));
    }
    d.kill();
    for process in leak::processes(d.dir(), d.cgroup(), 0, &[]) {
        if process.line.contains("coracle-shim") {
            leak::kill(process.pid, Signal::KILL);
        }
    }
    std::thread::sleep(std::time::Duration::from_secs(1));
    for (flags, process) in &all {
        assert!(has_ended(process), "{flags:?}");
    }
    d.spawn();
}

fn own_groups(d: &Daemon, flags: &[&str]) -> Vec<String> {
    let text = d.sh(flags, "cat /proc/self/cgroup");
    let path = |line: &str| line.splitn(3, ':').nth(2).map(str::to_owned);
    text.lines().filter_map(path).collect()
}

#[test]
fn cgroup_namespaces() {
    let Some(d) = Daemon::start() else { return };
    let private = own_groups(&d, &["--cgroupns", "private"]);
    let host = own_groups(&d, &["--cgroupns", "host"]);
    let below = |path: &String| path.starts_with(&format!("{}/", d.cgroup()));
    assert!(
        !private.is_empty() && !private.iter().any(below),
        "{private:?}"
    );
    assert!(private.iter().filter(|path| *path == "/").count() >= 1);
    assert!(host.iter().any(below), "{host:?}");
    // What is mounted is the container's own group, in either.
    for mode in ["private", "host"] {
        let script = "cat /sys/fs/cgroup/pids/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null \
                      | wc -l; mkdir /sys/fs/cgroup/x /sys/fs/cgroup/pids/x 2>&1 | grep -c Read-only";
        let seen = d.sh(&["--cgroupns", mode], script);
        let mut lines = seen.lines().map(|line| line.parse::<u32>().unwrap());
        // The shell, and the parts of the pipe.
        assert!((1..5).contains(&lines.next().unwrap()), "{mode}: {seen}");
        assert!(lines.next().unwrap() >= 1, "{mode}: {seen}");
    }
}

#[test]
fn a_parent_of_ones_own() {
    let Some(d) = Daemon::start() else { return };
    let parent = format!("{}/a/b", d.cgroup());
    let flags = ["--cgroup-parent", parent.as_str()];
    let seen = own_groups(&d, &[&flags[..], &["--cgroupns", "host"]].concat());
    assert!(
        seen.iter().any(|path| path.starts_with(&parent)),
        "{seen:?}"
    );
    let id = d.sleeper(&flags);
    let all = || -> Vec<PathBuf> {
        let mut all = leak::cgroups(d.cgroup());
        all.retain(|group| group.ends_with(&id));
        all
    };
    let there = all();
    assert!(!there.is_empty());
    let right = |group: &PathBuf| group.ends_with(format!("{}/{id}", parent.trim_matches('/')));
    assert!(there.iter().all(right), "{there:?}");
    assert_eq!(d.inspect(&id, "{{.HostConfig.CgroupParent}}"), parent);
    assert!(d.ok(&["stats", "--no-stream", "--format", "{{.PIDs}}", &id]) == "1");
    d.ok(&["kill", &id]);
    assert_eq!(all(), Vec::<PathBuf>::new());
    d.ok(&["start", &id]);
    assert_eq!(all().len(), there.len());
    d.ok(&["rm", "-f", &id]);
    assert_eq!(all(), Vec::<PathBuf>::new());
    // The parent is the user's, as with docker.
    for group in leak::cgroups(d.cgroup()) {
        if !group.ends_with(d.cgroup().trim_matches('/')) {
            std::fs::remove_dir(&group).unwrap();
        }
    }
}
