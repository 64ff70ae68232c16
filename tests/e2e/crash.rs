//! SIGKILL to the daemon and to shims, at any moment.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use coracle_tests::{Daemon, leak, wait_until};
use rustix::process::Signal;

/// Rounds of killing at random moments: `CORACLE_CRASH_ROUNDS`.
fn rounds() -> u32 {
    std::env::var("CORACLE_CRASH_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(8)
}

fn numbers(log: &str) -> Vec<u32> {
    log.lines()
        .map(|line| line.parse().unwrap_or(u32::MAX))
        .collect()
}

#[track_caller]
fn no_hole(log: &str) {
    let seen = numbers(log);
    assert!(seen.first() == Some(&1), "begins with {:?}", seen.first());
    for pair in seen.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "a hole or a repeat after {}", pair[0]);
    }
}

#[test]
fn running_containers_are_adopted() {
    let Some(mut d) = Daemon::start() else { return };
    let count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done";
    let runs = d.ok(&[
        "run", "-d", "-p", "127.0.0.1:8080:80", "busybox", "sh", "-c", count,
    ]);
    let ends = d.ok(&["run", "-d", "busybox", "sh", "-c", "sleep 0.7; exit 42"]);
    let goes = d.ok(&["run", "-d", "--rm", "busybox", "sleep", "0.7"]);
    let frozen = d.sleeper(&[]);
    d.ok(&["pause", &frozen]);
    let pid = d.inspect(&runs, "{{.State.Pid}}");
    let ip = d.inspect(&runs, "{{.NetworkSettings.IPAddress}}");
    d.kill();
    std::thread::sleep(Duration::from_secs(1));
    d.spawn();
    assert_eq!(
        d.inspect(&runs, "{{.State.Pid}} {{.NetworkSettings.IPAddress}}"),
        format!("{pid} {ip}")
    );
    assert_eq!(
        d.inspect(&runs, "{{.RestartCount}} {{.State.Running}}"),
        "0 true"
    );
    assert_eq!(d.ok(&["wait", &ends]), "42");
    wait_until("--rm is done", || d.docker(&["inspect", &goes]).code == 1);
    assert_eq!(d.inspect(&frozen, "{{.State.Status}}"), "paused");
    d.ok(&["unpause", &frozen]);
    d.fails(7, &["exec", &runs, "sh", "-c", "exit 7"]);
    assert_eq!(d.ok(&["port", &runs]), "80/tcp -> 127.0.0.1:8080");
    no_hole(&d.ok(&["logs", &runs]));
    // Addresses in use are known to be.
    let other = d.ok(&["run", "-d", "busybox", "sleep", "100"]);
    assert_ne!(d.inspect(&other, "{{.NetworkSettings.IPAddress}}"), ip);
    d.ok(&["stop", "-t", "0", &runs]);
    assert_eq!(d.inspect(&runs, "{{.State.ExitCode}}"), "137");
}

#[test]
fn a_killed_shim_is_told() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "--name", "orphan", "-p", "127.0.0.1:8080:80", "busybox", "sleep", "1000",
    ]);
    let pid = d.inspect(&id, "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut parent: i32 = field(&status, "PPid:");
    // With an init or a helper between there may be a step more.
    while !std::fs::read_to_string(format!("/proc/{parent}/cmdline"))
        .unwrap()
        .contains("coracle-shim")
    {
        parent = field(
            &std::fs::read_to_string(format!("/proc/{parent}/status")).unwrap(),
            "PPid:",
        );
        assert!(parent > 1, "no shim above {pid}");
    }
    leak::kill(parent, Signal::KILL);
    d.until(&id, "{{.State.Running}}", "false");
    assert_ne!(d.inspect(&id, "{{.State.ExitCode}}"), "0");
    assert!(!d.inspect(&id, "{{.State.Error}}").is_empty());
    wait_until("its processes are gone", || {
        !std::path::Path::new("/proc").join(&pid).exists()
    });
    wait_until("its groups are gone", || {
        leak::cgroups(d.cgroup())
            .iter()
            .all(|group| !group.ends_with(&id))
    });
    // Its port is free, and it can be started again.
    d.ok(&["start", &id]);
    assert_eq!(d.ok(&["exec", &id, "echo", "again"]), "again");
    assert_eq!(d.ok(&["port", &id]), "80/tcp -> 127.0.0.1:8080");
}

fn field(status: &str, key: &str) -> i32 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

#[test]
fn a_shim_killed_while_the_daemon_is_down() {
    let Some(mut d) = Daemon::start() else { return };
    let id = d.sleeper(&["--name", "orphan"]);
    let pid = d.inspect(&id, "{{.State.Pid}}");
    d.kill();
    for process in leak::processes(d.dir(), d.cgroup(), 0, &[]) {
        if process.line.contains("coracle-shim") {
            leak::kill(process.pid, Signal::KILL);
        }
    }
    d.spawn();
    d.until(&id, "{{.State.Running}}", "false");
    wait_until("its processes are gone", || {
        !std::path::Path::new("/proc").join(&pid).exists()
    });
    d.ok(&["rm", &id]);
}

/// Xorshift: moments that differ between runs, and are told if a run fails.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn killed_at_random_moments_under_load() {
    let Some(mut d) = Daemon::start() else { return };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let seed = std::env::var("CORACLE_CRASH_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(now.as_nanos() as u64 | 1);
    eprintln!("CORACLE_CRASH_SEED={seed}");
    let mut random = Random(seed);
    let count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
    let steady = d.ok(&[
        "run", "-d", "--name", "steady", "busybox", "sh", "-c", count,
    ]);
    let pid = d.inspect(&steady, "{{.State.Pid}}");
    for round in 0..rounds() {
        let moment = Duration::from_millis(random.below(1500));
        // What was started under a name; what it must end with, as long as it was told to be started.
        let told: HashMap<String, i32> = std::thread::scope(|scope| {
            let mut workers = Vec::new();
            for worker in 0..4 {
                let d = &d;
                workers.push(scope.spawn(move || load(d, round, worker, moment)));
            }
            std::thread::sleep(moment);
            leak::kill(d.pid(), Signal::KILL);
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap())
                .collect()
        });
        d.kill();
        std::thread::sleep(Duration::from_millis(random.below(600)));
        let begun = Instant::now();
        d.spawn();
        let up = begun.elapsed();
        assert!(
            up < Duration::from_secs(10),
            "round {round}: the start took {up:?}"
        );
        assert_eq!(
            d.inspect("steady", "{{.State.Pid}} {{.RestartCount}}"),
            format!("{pid} 0"),
            "round {round}"
        );
        for (name, code) in &told {
            let ended = d.docker(&["wait", name]);
            assert_eq!(
                ended.stdout.trim(),
                code.to_string(),
                "round {round}, {name}: {ended}"
            );
            if *code != 0 {
                assert_eq!(d.ok(&["logs", name]), name.clone(), "round {round}");
            }
        }
        no_hole(&d.ok(&["logs", "steady"]));
        assert_eq!(
            d.ok(&["exec", "steady", "echo", "well"]),
            "well",
            "round {round}"
        );
        // Whatever is left is whole: it can be looked at, and removed.
        for id in d
            .ok(&["ps", "-aq", "--no-trunc"])
            .lines()
            .filter(|id| *id != steady)
        {
            d.ok(&["inspect", id]);
            d.ok(&["rm", "-f", "-v", id]);
        }
    }
    d.ok(&["rm", "-f", "steady"]);
    wait_until("no interface is left", || {
        !d.inside("ip", &["-o", "link"]).ok().contains("veth")
    });
}

/// Commands until the daemon dies; the answer is what must be true afterwards: containers that
/// docker said were started, and their exit codes.
fn load(d: &Daemon, round: u32, worker: u32, moment: Duration) -> HashMap<String, i32> {
    let mut told = HashMap::new();
    let end = Instant::now() + moment + Duration::from_millis(50);
    let mut n = 0;
    while Instant::now() < end {
        n += 1;
        let name = format!("r{round}w{worker}n{n}");
        let code = i32::try_from(worker * 10 + n % 10 + 1).unwrap_or(1);
        match (worker + n) % 4 {
            0 => {
                d.docker(&["run", "--rm", "--name", &name, "busybox", "true"]);
            }
            1 | 2 => {
                let script = format!("echo {name}; sleep 0.1; exit {code}");
                let run = d.docker(&["run", "-d", "--name", &name, "busybox", "sh", "-c", &script]);
                if run.code == 0 {
                    told.insert(name, code);
                }
            }
            _ => {
                d.docker(&[
                    "run", "-d", "--name", &name, "-v", "/anonymous", "busybox", "sleep", "100",
                ]);
                d.docker(&["exec", &name, "true"]);
                d.docker(&["commit", &name, &format!("image:{name}")]);
                d.docker(&["rmi", &format!("image:{name}")]);
                d.docker(&["rm", "-f", "-v", &name]);
            }
        }
    }
    told
}
