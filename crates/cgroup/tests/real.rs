//! On the running kernel, in cgroups of our own below a top-level parent. What the host can't do is
//! skipped, and said.
#![allow(clippy::unwrap_used, missing_docs)]

mod host;

use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use coracle_cgroup::Cgroup;
use coracle_cgroup::Error;
use coracle_cgroup::Hierarchy;
use coracle_cgroup::Layout;
use host::Parent;
use host::Running;
use host::hierarchies;
use host::resources;
use oci_spec::runtime::LinuxResources;

const SOON: Duration = Duration::from_secs(10);

/// Runs a test on each kind of hierarchy that this host has.
fn each(test: impl Fn(&Hierarchy, &Parent)) {
    for (name, hierarchy) in hierarchies() {
        eprintln!("on {name}");
        let parent = Parent::new(&hierarchy);
        test(&hierarchy, &parent);
    }
}

/// Runs a test where there are controllers.
fn with_controllers(test: impl Fn(&Hierarchy, &Parent)) {
    each(
        |hierarchy, parent| match hierarchy.features().memory_limit {
            true => test(hierarchy, parent),
            false => eprintln!("skipped: no controllers"),
        },
    );
}

fn read(cgroup: &Cgroup, file: &str) -> String {
    let paths = cgroup.paths();
    let text = paths
        .iter()
        .find_map(|dir| std::fs::read_to_string(dir.join(file)).ok());
    text.unwrap().trim().to_owned()
}

#[test]
fn create_join_open_delete() {
    each(|hierarchy, parent| {
        let cgroup = parent.create("one", &LinuxResources::default()).unwrap();
        assert!(!cgroup.is_none());
        assert_eq!(cgroup.relative_path(), format!("{}/one", parent.path()));
        let running = Running::start(&cgroup);
        for path in cgroup.procs_paths() {
            let pids = std::fs::read_to_string(&path).unwrap();
            assert_eq!(pids.trim(), running.id().to_string(), "{}", path.display());
        }
        let opened = Cgroup::open(hierarchy, parent.path(), "one").unwrap();
        assert_eq!(opened.paths(), cgroup.paths());
        assert_eq!(opened.pids().unwrap(), [running.id()]);

        let again = parent.create("one", &LinuxResources::default());
        assert!(
            matches!(again, Err(Error::InUse { processes: 1, .. })),
            "{again:?}"
        );
        assert!(matches!(
            cgroup.delete(),
            Err(Error::InUse { processes: 1, .. })
        ));
        drop(running);
        cgroup.delete().unwrap();
        cgroup.delete().unwrap();
        assert!(cgroup.paths().iter().all(|path| !path.exists()));
        assert!(
            Cgroup::open(hierarchy, parent.path(), "one")
                .unwrap()
                .is_none()
        );
    });
}

#[test]
fn what_an_earlier_one_left_is_replaced() {
    each(|_, parent| {
        let first = parent.create("one", &LinuxResources::default()).unwrap();
        for dir in first.paths() {
            std::fs::create_dir(dir.join("inner")).unwrap();
        }
        let second = parent.create("one", &LinuxResources::default()).unwrap();
        assert!(second.paths().iter().all(|dir| !dir.join("inner").exists()));
        second.delete().unwrap();
    });
}

#[test]
fn nested_deeper_than_a_path_can_be() {
    each(|_, parent| {
        let cgroup = parent.create("deep", &LinuxResources::default()).unwrap();
        let running = Running::start(&cgroup);
        let top = cgroup.paths().remove(0);
        let name = "x".repeat(200);
        let mut dir = rustix::fs::open(&top, rustix::fs::OFlags::DIRECTORY, 0.into()).unwrap();
        for level in 0..30 {
            rustix::fs::mkdirat(&dir, &name, 0o755.into()).unwrap();
            rustix::fs::mkdirat(&dir, format!("beside{level}"), 0o755.into()).unwrap();
            let flags = rustix::fs::OFlags::DIRECTORY;
            dir = rustix::fs::openat(&dir, &name, flags, 0.into()).unwrap();
        }
        let flags = rustix::fs::OFlags::WRONLY;
        let procs = rustix::fs::openat(&dir, "cgroup.procs", flags, 0.into()).unwrap();
        rustix::io::write(&procs, running.id().to_string().as_bytes()).unwrap();
        assert_eq!(cgroup.pids().unwrap(), [running.id()]);
        cgroup.kill(SOON).unwrap();
        cgroup.delete().unwrap();
        assert!(!top.exists());
    });
}

#[test]
fn joining_by_oneself() {
    each(|_, parent| {
        let cgroup = parent.create("self", &LinuxResources::default()).unwrap();
        let joiner = cgroup.joiner().unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null());
        // SAFETY: joining is some writes to open files, without allocation.
        let child = unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut command, move || joiner.join())
        };
        let running = Running::of(child.spawn().unwrap());
        for path in cgroup.procs_paths() {
            let pids = std::fs::read_to_string(&path).unwrap();
            assert_eq!(pids.trim(), running.id().to_string(), "{}", path.display());
        }
        cgroup.kill(SOON).unwrap();
        drop(running);
        cgroup.delete().unwrap();
    });
}

#[test]
fn freezing() {
    each(|_, parent| {
        let cgroup = parent.create("ice", &LinuxResources::default()).unwrap();
        let running = Running::start_busy(&cgroup);
        let ticks = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap();
            stat.split(' ').nth(13).unwrap().parse::<u64>().unwrap()
        };
        assert!(!cgroup.is_frozen().unwrap());
        cgroup.freeze().unwrap();
        cgroup.freeze().unwrap();
        assert!(cgroup.is_frozen().unwrap());
        let before = ticks();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(ticks(), before);
        cgroup.thaw().unwrap();
        cgroup.thaw().unwrap();
        assert!(!cgroup.is_frozen().unwrap());
        let deadline = Instant::now() + SOON;
        while ticks() == before {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(10));
        }
        cgroup.freeze().unwrap();
        cgroup.kill(SOON).unwrap();
        drop(running);
        cgroup.delete().unwrap();
    });
}

#[test]
fn killing_what_forks() {
    each(|_, parent| {
        let cgroup = parent.create("forks", &LinuxResources::default()).unwrap();
        cgroup.kill(SOON).unwrap();
        let script = "while :; do sleep 0.01 & sleep 100 & done";
        let running = Running::start_shell(&cgroup, script);
        thread::sleep(Duration::from_millis(50));
        assert!(cgroup.pids().unwrap().len() > 1);
        let short = cgroup.wait_empty(Duration::from_millis(10));
        assert!(matches!(short, Err(Error::TimedOut { state: "empty", .. })));
        cgroup.kill(SOON).unwrap();
        assert!(cgroup.pids().unwrap().is_empty());
        cgroup.wait_empty(Duration::ZERO).unwrap();
        drop(running);
        cgroup.delete().unwrap();
    });
}

#[test]
fn limits_are_what_was_asked_for() {
    with_controllers(|hierarchy, parent| {
        if hierarchy.layout() == Layout::V2 {
            return eprintln!("skipped: v1's files are looked at");
        }
        let limits = resources(
            r#"{"memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432,
                           "swappiness": 10, "disableOOMKiller": true},
                "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0",
                        "mems": "0"},
                "pids": {"limit": 50},
                "devices": [{"allow": false, "access": "rwm"},
                            {"allow": true, "type": "c", "major": 1, "minor": 3,
                             "access": "rwm"}]}"#,
        );
        let cgroup = parent.create("limits", &limits).unwrap();
        assert_eq!(read(&cgroup, "memory.limit_in_bytes"), "67108864");
        assert_eq!(read(&cgroup, "memory.memsw.limit_in_bytes"), "134217728");
        assert_eq!(read(&cgroup, "memory.soft_limit_in_bytes"), "33554432");
        assert_eq!(read(&cgroup, "memory.swappiness"), "10");
        assert!(read(&cgroup, "memory.oom_control").starts_with("oom_kill_disable 1"));
        assert_eq!(read(&cgroup, "cpu.shares"), "512");
        assert_eq!(read(&cgroup, "cpu.cfs_quota_us"), "50000");
        assert_eq!(read(&cgroup, "cpuset.cpus"), "0");
        assert_eq!(read(&cgroup, "pids.max"), "50");
        assert_eq!(read(&cgroup, "devices.list"), "c 1:3 rwm");

        let change = |json: &str| cgroup.update(&resources(json));
        // Both grow, both shrink, either alone.
        for (limit, swap) in [
            (268435456, 536870912),
            (33554432, 33554432),
            (67108864, 67108864),
        ] {
            let json = format!(r#"{{"memory": {{"limit": {limit}, "swap": {swap}}}}}"#);
            change(&json).unwrap();
            assert_eq!(read(&cgroup, "memory.limit_in_bytes"), limit.to_string());
            assert_eq!(
                read(&cgroup, "memory.memsw.limit_in_bytes"),
                swap.to_string()
            );
        }
        let above_swap = change(r#"{"memory": {"limit": 268435456}}"#);
        assert!(
            matches!(&above_swap, Err(Error::Invalid { limit, .. }) if limit == "memory.limit")
        );
        change(r#"{"memory": {"limit": -1, "disableOOMKiller": false}}"#).unwrap();
        assert_eq!(
            read(&cgroup, "memory.memsw.limit_in_bytes"),
            "9223372036854771712"
        );
        change(r#"{"memory": {"disableOOMKiller": false}}"#).unwrap();
        assert!(read(&cgroup, "memory.oom_control").starts_with("oom_kill_disable 0"));
        change(r#"{"cpu": {"quota": 200000, "period": 50000, "burst": 1000}}"#).unwrap();
        change(r#"{"cpu": {"quota": 1000, "period": 100000, "burst": 500}}"#).unwrap();
        assert_eq!(read(&cgroup, "cpu.cfs_burst_us"), "500");
        change(r#"{"cpu": {"quota": -1}, "pids": {"limit": -1}}"#).unwrap();
        assert_eq!(read(&cgroup, "cpu.cfs_quota_us"), "-1");
        assert_eq!(read(&cgroup, "pids.max"), "max");
        assert_eq!(read(&cgroup, "cpu.shares"), "512");
        cgroup.delete().unwrap();
    });
}

#[test]
fn refusals_name_the_limit_and_leave_nothing() {
    with_controllers(|hierarchy, parent| {
        if hierarchy.layout() == Layout::V2 {
            return eprintln!("skipped: v1's refusals are looked at");
        }
        for (json, name) in [
            (r#"{"memory": {"kernel": 1000000}}"#, "memory.kernel"),
            (r#"{"memory": {"swappiness": 101}}"#, "memory.swappiness"),
            (r#"{"cpu": {"shares": 1}}"#, "cpu.shares"),
            (r#"{"cpu": {"cpus": "4000"}}"#, "cpu.cpus"),
            (r#"{"cpu": {"cpus": "a"}}"#, "cpu.cpus"),
            (r#"{"blockIO": {"weight": 5}}"#, "blockIO.weight"),
            (r#"{"blockIO": {"leafWeight": 100}}"#, "blockIO.leafWeight"),
            (
                r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 1234, "minor": 0, "rate": 1}]}}"#,
                "blockIO.throttleReadBpsDevice",
            ),
            (
                r#"{"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}"#,
                "hugepageLimits",
            ),
            (r#"{"network": {"classID": 7}}"#, "network.classID"),
            (
                r#"{"unified": {"memory.high": "1"}}"#,
                "unified.memory.high",
            ),
            (
                r#"{"devices": [{"allow": true, "access": "x"}]}"#,
                "devices",
            ),
        ] {
            let error = parent.create("refused", &resources(json)).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(name), "{json}: {text}");
            let made = Cgroup::open(hierarchy, parent.path(), "refused").unwrap();
            assert!(made.is_none(), "{json} left {made:?}");
        }
    });
}

#[test]
fn statistics() {
    each(|hierarchy, parent| {
        let cgroup = parent.create("stats", &LinuxResources::default()).unwrap();
        // The shell's own memory stays where it was allocated; its child's is ours.
        let running = Running::start_shell(&cgroup, "sh -c 'while :; do :; done'");
        let deadline = Instant::now() + SOON;
        let stats = loop {
            let stats = cgroup.stats().unwrap();
            if stats.cpu.user > 20_000_000 || hierarchy.layout() == Layout::V2 {
                break stats;
            }
            assert!(Instant::now() < deadline, "{stats:?}");
            thread::sleep(Duration::from_millis(20));
        };
        if hierarchy.features().memory_limit {
            assert!(stats.cpu.total > 0);
            let memory = stats.memory.unwrap();
            assert!(memory.usage > 0 && memory.max_usage >= Some(memory.usage));
            assert_eq!(memory.limit, None);
            assert!(memory.stat.len() > 10);
            assert_eq!(
                stats.pids.map(|pids| (pids.current, pids.limit)),
                Some((2, None))
            );
        }
        assert_eq!(
            stats.cpu_pressure.is_some(),
            hierarchy.layout() != Layout::V1
        );
        cgroup.kill(SOON).unwrap();
        drop(running);
        cgroup.delete().unwrap();
        assert_eq!(cgroup.stats().unwrap().pids, None);
    });
}

#[test]
fn out_of_memory() {
    with_controllers(|hierarchy, parent| {
        let mut limits = r#"{"memory": {"limit": 16777216}}"#;
        if hierarchy.features().swap_limit {
            limits = r#"{"memory": {"limit": 16777216, "swap": 33554432}}"#;
        }
        let cgroup = parent.create("oom", &resources(limits)).unwrap();
        let mut watcher = cgroup.oom_events().unwrap().unwrap();
        assert_eq!(watcher.read().unwrap().kills, 0);
        let mut running = Running::start_shell(&cgroup, "x=12345678; while :; do x=$x$x; done");
        running.wait();
        wait_readable(&watcher);
        let oom = watcher.read().unwrap();
        assert!(oom.kills >= 1 && oom.new && !oom.removed, "{oom:?}");
        assert_eq!(cgroup.oom_kill_count().unwrap(), oom.kills);
        assert!(cgroup.stats().unwrap().memory.unwrap().fail_count > 0);
        assert!(!watcher.read().unwrap().new);
        cgroup.delete().unwrap();
        wait_readable(&watcher);
        assert!(watcher.read().unwrap().removed);
    });
}

fn wait_readable(fd: &impl std::os::fd::AsFd) {
    let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
    let timeout = rustix::event::Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    assert_eq!(rustix::event::poll(&mut fds, Some(&timeout)).unwrap(), 1);
}

#[test]
fn devices_are_denied() {
    each(|hierarchy, parent| {
        let rules = |zero: bool| {
            resources(&format!(
                r#"{{"devices": [{{"allow": false, "access": "rwm"}},
                    {{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}},
                    {{"allow": {zero}, "type": "c", "major": 1, "minor": 5, "access": "r"}}]}}"#
            ))
        };
        let can = |cgroup: &Cgroup, what: &str| {
            let mut running = Running::start_shell(cgroup, what);
            running.wait()
        };
        let cgroup = match parent.create("devices", &rules(false)) {
            Err(Error::Io { source, .. }) if hierarchy.layout() == Layout::V2 => {
                return eprintln!("skipped: bpf(2) says {source}");
            }
            result => result.unwrap(),
        };
        assert!(can(&cgroup, "exec 9</dev/null"));
        assert!(!can(&cgroup, "exec 9</dev/zero"));
        cgroup.update(&rules(true)).unwrap();
        assert!(can(&cgroup, "exec 9</dev/zero"));
        assert!(!can(&cgroup, "exec 9>/dev/zero"));
        assert!(!can(&cgroup, "exec 9</dev/full"));
        let all = resources(r#"{"devices": [{"allow": true, "access": "rwm"}]}"#);
        cgroup.update(&all).unwrap();
        assert!(can(&cgroup, "exec 9</dev/full"));
        cgroup.delete().unwrap();
    });
}

#[test]
fn making_one_is_quick() {
    with_controllers(|_, parent| {
        let limits = resources(
            r#"{"memory": {"limit": 67108864, "swap": 134217728},
                "cpu": {"shares": 512, "quota": 50000, "period": 100000},
                "pids": {"limit": 50},
                "devices": [{"allow": false, "access": "rwm"},
                            {"allow": true, "type": "c", "major": 1, "minor": 3,
                             "access": "rwm"},
                            {"allow": true, "type": "c", "access": "m"},
                            {"allow": true, "type": "b", "access": "m"}]}"#,
        );
        let mut times: Vec<_> = (0..20)
            .map(|_| {
                let start = Instant::now();
                let cgroup = parent.create("quick", &limits).unwrap();
                let made = start.elapsed();
                let start = Instant::now();
                cgroup.delete().unwrap();
                (made, start.elapsed())
            })
            .collect();
        times.sort();
        let (made, deleted) = times[10];
        eprintln!("made in {made:?}, deleted in {deleted:?}");
        // Far above what it takes, because tests run beside each other.
        assert!(made < Duration::from_millis(200));
    });
}

#[test]
fn none_joins_nothing() {
    let none = Cgroup::none();
    assert!(none.is_none() && none.paths().is_empty() && none.relative_path().is_empty());
    none.add(1).unwrap();
    none.delete().unwrap();
    none.kill(Duration::ZERO).unwrap();
    assert_eq!(none.stats().unwrap(), coracle_cgroup::Stats::default());
    assert!(none.oom_events().unwrap().is_none());
    let rules = resources(r#"{"devices": [{"allow": false}]}"#);
    none.update(&rules).unwrap();
    let error = none
        .update(&resources(r#"{"pids": {"limit": 3}}"#))
        .unwrap_err();
    assert!(error.to_string().starts_with("pids.limit can't be set"));
    assert!(matches!(none.freeze(), Err(Error::Unavailable { .. })));
}

#[test]
fn bad_names() {
    let hierarchy = Hierarchy::host().unwrap();
    for (parent, name) in [
        ("/a", ""),
        ("/a", ".."),
        ("/a", "b/c"),
        ("/..", "b"),
        ("/a", "/b"),
    ] {
        let open = Cgroup::open(&hierarchy, parent, name);
        assert!(matches!(open, Err(Error::BadPath(_))), "{parent} {name}");
    }
    assert!(matches!(
        hierarchy.remove_parent("/"),
        Err(Error::BadPath(_))
    ));
    assert!(Path::new("/sys/fs/cgroup").exists());
}

#[test]
fn unprivileged_users_get_none() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: needs root, to become somebody else");
    }
    let output = std::os::unix::process::CommandExt::uid(
        Command::new(std::env::current_exe().unwrap()).args([
            "--exact",
            "as_nobody",
            "--ignored",
            "--nocapture",
        ]),
        65534,
    )
    .output();
    match output {
        Err(error) => eprintln!("skipped: {error}"),
        Ok(output) => assert!(output.status.success(), "{output:?}"),
    }
}

#[test]
#[ignore = "run by unprivileged_users_get_none"]
fn as_nobody() {
    let hierarchy = Hierarchy::host().unwrap();
    assert!(hierarchy.rootless());
    assert_eq!(hierarchy.delegated(), None);
    let name = format!("/coracle-test-{}-nobody", std::process::id());
    let rules = r#"{"devices": [{"allow": false, "access": "rwm"}]}"#;
    let cgroup = Cgroup::create(&hierarchy, &name, "one", &resources(rules)).unwrap();
    assert!(cgroup.is_none());
    let limit = resources(r#"{"memory": {"limit": 100000000}}"#);
    let error = Cgroup::create(&hierarchy, &name, "one", &limit).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unavailable {
                controller: "memory",
                ..
            }
        ),
        "{error}"
    );
    let host = Hierarchy::host().unwrap().with_rootless(false);
    let error = Cgroup::create(&host, &name, "one", &LinuxResources::default()).unwrap_err();
    assert!(error.is_permission(), "{error}");
}
