//! `docker run`: what a container may use.

use coracle_tests::{Daemon, now};

fn unified() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn memory() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&[
        "-m", "64m", "--memory-reservation", "32m", "--memory-swap", "64m",
    ]);
    let limit = d.cgroup_file(&id, "memory/memory.limit_in_bytes", "memory.max");
    assert_eq!(limit, (64 << 20).to_string());
    let soft = d.cgroup_file(&id, "memory/memory.soft_limit_in_bytes", "memory.low");
    assert_eq!(soft, (32 << 20).to_string());
    let stats = d.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", &id]);
    assert!(stats.ends_with("/ 64MiB"), "{stats}");
    d.fails(125, &["run", "--rm", "-m", "1m", "busybox"])
        .says("Minimum memory limit allowed is 6MB");
    d.fails(
        125,
        &[
            "run", "--rm", "-m", "64m", "--memory-swap", "32m", "busybox",
        ],
    )
    .says("Minimum memoryswap limit should be larger than memory limit");
}

#[test]
fn processors() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&["--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0"]);
    if unified() {
        assert_eq!(d.cgroup_file(&id, "", "cpu.max"), "50000 100000");
    } else {
        assert_eq!(d.cgroup_file(&id, "cpu/cpu.cfs_quota_us", ""), "50000");
        assert_eq!(d.cgroup_file(&id, "cpu/cpu.cfs_period_us", ""), "100000");
        assert_eq!(d.cgroup_file(&id, "cpu/cpu.shares", ""), "512");
    }
    assert_eq!(d.cgroup_file(&id, "cpuset/cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(
        d.ok(&[
            "exec", &id, "grep", "Cpus_allowed_list", "/proc/self/status"
        ]),
        "Cpus_allowed_list:\t0"
    );
    d.fails(125, &["run", "--rm", "--cpus", "1000", "busybox"])
        .says("Range of CPUs is from 0.01 to");
    d.fails(125, &["run", "--rm", "--cpuset-cpus", "999", "busybox"])
        .says("Requested CPUs are not available");
}

#[test]
fn processes_are_counted() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&["--pids-limit", "12"]);
    assert_eq!(d.cgroup_file(&id, "pids/pids.max", "pids.max"), "12");
    let bomb = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do sleep 5 & done; wait";
    let output = d.docker(&[
        "run", "--rm", "--pids-limit", "8", "busybox", "sh", "-c", bomb,
    ]);
    assert!(output.stderr.contains("can't fork"), "{output}");
}

#[test]
fn out_of_memory_is_told() {
    let Some(d) = Daemon::start() else { return };
    let hog = [
        "run", "--name", "hog", "-m", "16m", "--memory-swap", "16m", "busybox", "tail", "/dev/zero",
    ];
    d.fails(137, &hog);
    assert_eq!(
        d.inspect("hog", "{{.State.OOMKilled}} {{.State.ExitCode}}"),
        "true 137"
    );
    let events = d.ok(&[
        "events",
        "--since",
        "1h",
        "--until",
        &now(),
        "--filter",
        "event=oom",
        "--format",
        "{{.Actor.Attributes.name}}",
    ]);
    assert_eq!(events, "hog");
    d.fails(
        9,
        &[
            "run", "--name", "killed", "--init", "busybox", "sh", "-c", "exit 9",
        ],
    );
    assert_eq!(d.inspect("killed", "{{.State.OOMKilled}}"), "false");
}

#[test]
fn ulimits() {
    let Some(d) = Daemon::start() else { return };
    let limits = d.sh(
        &["--ulimit", "nofile=100:200", "--ulimit", "core=0"],
        "ulimit -n; ulimit -Hn; ulimit -c",
    );
    assert_eq!(limits, "100\n200\n0");
}

#[test]
fn devices() {
    let Some(d) = Daemon::start() else { return };
    assert_eq!(
        d.sh(
            &["--device", "/dev/zero:/dev/nought"],
            "head -c 3 /dev/nought | wc -c"
        ),
        "3"
    );
    // Made, but not allowed: /dev/loop-control.
    let open = "mknod /tmp/loop c 10 237 && (: </tmp/loop) 2>&1 || true";
    assert!(d.sh(&[], open).contains("Operation not permitted"));
    let listed = d.sh(&[], "ls /dev");
    for name in [
        "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stdin",
        "tty", "urandom", "zero",
    ] {
        // `console` is there with a terminal only.
        assert!(
            name == "console" || listed.lines().any(|line| line == name),
            "{name}: {listed}"
        );
    }
    let allowed = d.sh(&["--device-cgroup-rule", "c 10:237 rw"], open);
    assert!(!allowed.contains("Operation not permitted"), "{allowed}");
    d.fails(125, &["run", "--rm", "--device", "/dev/none", "busybox"])
        .says("/dev/none");
}

#[test]
fn the_group_is_the_parents_child() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&[]);
    let pid = d.inspect(&id, "{{.State.Pid}}");
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = format!("{}/{id}", d.cgroup());
    assert!(
        groups.lines().filter(|line| line.ends_with(&path)).count() >= 1,
        "{groups}"
    );
    // As with docker: on version 2 its own view begins at its own group.
    let own = d.ok(&["exec", &id, "cat", "/proc/1/cgroup"]);
    assert!(!own.contains(&id) || !unified(), "{own}");
    let score = d.sh(&["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj");
    assert_eq!(score, "500");
    let shm = d.sh(
        &["--shm-size", "8m"],
        "df -k /dev/shm | tail -1 | awk '{print $2}'",
    );
    assert_eq!(shm, "8192");
    assert_eq!(
        d.sh(&[], "df -k /dev/shm | tail -1 | awk '{print $2}'"),
        "65536"
    );
}
