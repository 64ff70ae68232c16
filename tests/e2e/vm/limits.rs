//! What a container may use, and what it is told to use.

use std::time::Duration;

use coracle_tests::output::wait_for;
use coracle_tests::{Daemon, Terminal, wait_until};

use super::{Guest, cases, run};

#[test]
fn limits() {
    run(cases![
        container_memory_events_oom_kill, container_cgroup_limits, container_cpus,
        container_statistics, container_statistics_of_networks, container_rlimit_open_files,
        container_rlimit_multiple, container_rlimit_exec, container_update,
        container_update_grows_and_shrinks_its_machine,
        container_update_starts_and_stops_processors, exec_without_memory,
        machines_are_limited_on_the_host, idle_machines_give_memory_back,
        container_use_init_with_terminal, container_vm_resource_overhead,
    ]);
}

fn container_memory_events_oom_kill(d: &Daemon) {
    let line = [
        "run", "-d", "--network", "none", "-m", "32m", "--memory-swap", "32m", "busybox", "tail",
        "/dev/zero",
    ];
    let guest = Guest::of(d, d.ok(&line));
    assert_eq!(d.ok(&["wait", &guest]), "137");
    assert_eq!(
        d.inspect(&guest, "{{.State.OOMKilled}} {{.State.ExitCode}}"),
        "true 137"
    );
}

fn container_cgroup_limits(d: &Daemon) {
    let flags = ["-m", "64m", "--pids-limit", "12", "--cpu-shares", "512"];
    let script = "cd /sys/fs/cgroup; cat memory.max pids.max; cat cpu.weight";
    let seen = d.sh(&flags, script);
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..2], ["67108864", "12"], "{seen}");
    assert_ne!(lines[2], "100", "{seen}");
    let bomb = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 2 & done; wait";
    let line = [
        "run", "--rm", "--network", "none", "--pids-limit", "8", "busybox", "sh", "-c",
    ];
    let said = d.docker(&[&line[..], &[bomb]].concat());
    assert!(said.stderr.contains("can't fork"), "{said}");
}

fn container_cpus(d: &Daemon) {
    assert_eq!(d.sh(&[], "nproc"), "1");
    assert_eq!(
        d.sh(&["--cpus", "1.5"], "nproc; cat /sys/fs/cgroup/cpu.max"),
        "2\n150000 100000"
    );
}

fn container_statistics(d: &Daemon) {
    let script = "head -c 20000000 /dev/zero >/dev/shm/x; sleep 1000";
    let guest = Guest::sh(d, &["--network", "none", "-m", "128m"], script);
    let figures = || {
        let path = format!("/containers/{}/stats?stream=false&one-shot=true", &*guest);
        let reply = d.api("GET", &path, None);
        assert_eq!(reply.status, 200);
        reply.json()
    };
    wait_until("memory is used", || {
        figures()["memory_stats"]["usage"].as_u64() > Some(20_000_000)
    });
    let all = figures();
    assert_eq!(
        all["memory_stats"]["limit"].as_u64(),
        Some(128 << 20),
        "{all}"
    );
    assert_eq!(all["pids_stats"]["current"].as_u64(), Some(2), "{all}");
    let used = all["cpu_stats"]["cpu_usage"]["total_usage"].as_u64();
    assert!(used > Some(1_000_000), "{all}");
    let text = d.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", &guest]);
    assert!(text.ends_with("/ 128MiB"), "{text}");
}

fn container_statistics_of_networks(d: &Daemon) {
    let guest = Guest::new(d, &["--network", "bridge"]);
    let gateway = d.inspect(&guest, "{{.NetworkSettings.Gateway}}");
    guest.exec(&format!("ping -c 3 -i 0.2 {gateway}"));
    let path = format!("/containers/{}/stats?stream=false&one-shot=true", &*guest);
    let all = d.api("GET", &path, None).json();
    let sent = all["networks"]["eth0"]["tx_packets"].as_u64();
    assert!(sent >= Some(3), "{all}");
}

fn container_rlimit_open_files(d: &Daemon) {
    let flags = ["--ulimit", "nofile=100:200"];
    assert_eq!(d.sh(&flags, "ulimit -n; ulimit -Hn"), "100\n200");
}

fn container_rlimit_multiple(d: &Daemon) {
    let flags = [
        "--ulimit", "nofile=64", "--ulimit", "core=0", "--ulimit", "nproc=99",
    ];
    let text = d.sh(
        &flags, "grep -E 'open files|core|processes' /proc/self/limits",
    );
    let soft: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            line.split("  ")
                .find(|word| word.trim().parse::<u32>().is_ok())
        })
        .map(str::trim)
        .collect();
    assert_eq!(soft, ["0", "99", "64"], "{text}");
}

fn container_rlimit_exec(d: &Daemon) {
    let guest = Guest::new(d, &["--ulimit", "nofile=77"]);
    assert_eq!(guest.exec("ulimit -n"), "77");
}

fn container_update(d: &Daemon) {
    let guest = Guest::new(d, &["-m", "128m"]);
    d.ok(&[
        "update", "-m", "64m", "--memory-swap", "64m", "--pids-limit", "33", &guest,
    ]);
    assert_eq!(
        guest.exec("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"),
        "67108864\n33"
    );
}

fn container_update_grows_and_shrinks_its_machine(d: &Daemon) {
    let guest = Guest::new(d, &["-m", "64m"]);
    let total = || -> u64 {
        let text = guest.exec("awk '/MemTotal/ {print $2}' /proc/meminfo");
        text.parse::<u64>().unwrap() / 1024
    };
    assert!(total() < 260, "{}", total());
    d.ok(&["update", "-m", "600m", "--memory-swap", "600m", &guest]);
    assert!((640..900).contains(&total()), "{}", total());
    let text = d.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", &guest]);
    assert!(text.ends_with("/ 600MiB"), "{text}");
    d.ok(&["update", "-m", "64m", "--memory-swap", "64m", &guest]);
    wait_until("the memory is given back", || total() < 260);
    assert_eq!(guest.exec("cat /sys/fs/cgroup/memory.max"), "67108864");
    // What it can't have is refused, and nothing is changed.
    let line = ["update", "-m", "900g", "--memory-swap", "900g", &guest];
    d.fails(1, &line).says("cannot give the virtual machine");
    let form = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}";
    assert_eq!(d.inspect(&guest, form), "67108864 0");
}

fn container_update_starts_and_stops_processors(d: &Daemon) {
    let host = std::thread::available_parallelism().map_or(1, usize::from);
    if host < 2 {
        eprintln!("skipped: this host has one processor");
        return;
    }
    let guest = Guest::new(d, &["--cpus", "1"]);
    let quota = || {
        let text = d.cgroup_file(&guest, "cpu/cpu.cfs_quota_us", "cpu.max");
        text.split(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        (guest.exec("nproc"), quota()),
        ("1".into(), "200000".into())
    );
    let now = |cpus: &str, all: &str, limit: &str, of_host: &str| {
        d.ok(&["update", "--cpus", cpus, &guest]);
        wait_until("the container sees its processors", || {
            guest.exec("nproc") == all
        });
        assert_eq!(guest.exec("cat /sys/fs/cgroup/cpu.max"), limit);
        assert_eq!(quota(), of_host);
    };
    now("1.5", "2", "150000 100000", "300000");
    // Both of them work.
    guest.exec("taskset 2 true && taskset 1 true");
    now("0.5", "1", "50000 100000", "200000");
    now("2", "2", "200000 100000", "300000");
    assert_eq!(d.inspect(&guest, "{{.HostConfig.NanoCpus}}"), "2000000000");
    if host > 4 {
        let refused = d.fails(1, &["update", "--cpus", "5", &guest]);
        refused.says("stop the container, update it, and start it again");
        assert_eq!(guest.exec("nproc"), "2");
    }
    d.ok(&["restart", "-t", "0", &guest]);
    assert_eq!(guest.exec("nproc"), "2");
}

/// A container that has used up its memory, and a machine that has little besides: it can still be looked
/// into, and its end is told.
fn exec_without_memory(d: &Daemon) {
    let flags = ["-m", "48m", "--memory-swap", "48m"];
    // As much as it may have, less what the next one needs.
    let script = "head -c 40000000 /dev/zero >/dev/shm/x; echo full; sleep 1000";
    let flags = [&flags[..], &["--shm-size", "48m", "--network", "none"]].concat();
    let guest = Guest::sh(d, &flags, script);
    wait_until("its memory is used", || d.ok(&["logs", &guest]) == "full");
    for _ in 0..5 {
        assert_eq!(guest.exec("echo here"), "here");
    }
    // One exec too large for it ends, and nothing else does.
    d.fails(137, &["exec", &guest, "tail", "/dev/zero"]);
    assert_eq!(guest.exec("echo still"), "still");
    assert_eq!(d.inspect(&guest, "{{.State.Running}}"), "true");
}

/// QEMU's own control group: what the machine can use, and its VMM's own.
fn machines_are_limited_on_the_host(d: &Daemon) {
    let guest = Guest::new(d, &["-m", "64m"]);
    let limit = |v1: &str, v2: &str| d.cgroup_file(&guest, v1, v2);
    let bytes = limit("memory/memory.limit_in_bytes", "memory.max");
    // Its memory rounded up, translated code, and what QEMU itself needs.
    assert_eq!(bytes, ((256 + 128 + 384) << 20).to_string());
    assert_eq!(limit("pids/pids.max", "pids.max"), "129");
}

/// Under emulation: the code that was translated, once there was nothing to do for a while.
fn idle_machines_give_memory_back(d: &Daemon) {
    let guest = Guest::sh(d, &["--network", "none"], "sleep 10000");
    let private = || -> u64 {
        let pid = d.inspect(&guest, "{{.State.Pid}}");
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("Private_"));
        let sizes = lines.filter_map(|line| line.split_whitespace().nth(1));
        sizes.map(|size| size.parse::<u64>().unwrap()).sum()
    };
    let before = private();
    wait_for("the machine idles", Duration::from_secs(120), || {
        std::thread::sleep(Duration::from_secs(1));
        private() + (16 << 10) < before
    });
    // It stood still for a moment, and its clock is right.
    let host = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs()
    };
    let earlier = host();
    let time: u64 = d.ok(&["exec", &guest, "date", "+%s"]).parse().unwrap();
    assert!(
        (earlier - 1..=host() + 1).contains(&time),
        "{earlier} {time}"
    );
}

fn container_use_init_with_terminal(d: &Daemon) {
    let line = [
        "run", "--rm", "-it", "--init", "--network", "none", "busybox",
    ];
    let mut terminal = Terminal::start(&d.docker_command(&line));
    terminal.expect("# ");
    terminal.send("exit 4\n");
    assert_eq!(terminal.wait(), 4);
}

/// The container sees its limit as it was given: the guest's own needs are on top.
fn container_vm_resource_overhead(d: &Daemon) {
    let seen = d.sh(
        &["-m", "128m"],
        "cat /sys/fs/cgroup/memory.max; free -m | awk '/Mem/ {print $2}'",
    );
    let (limit, total) = seen.split_once('\n').unwrap();
    assert_eq!(limit, (128 << 20).to_string());
    assert!(total.parse::<u32>().unwrap() >= 128, "{seen}");
}
