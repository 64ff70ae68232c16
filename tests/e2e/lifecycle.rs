//! `docker start stop kill pause unpause restart wait rename update`.

use std::time::{Duration, Instant};

use coracle_tests::{Daemon, docker_major, output, wait_until};

const TRAPS: &str = "trap 'echo term; exit 3' TERM; trap 'echo usr; exit 4' USR1; trap 'echo hup' HUP; echo ready; while :; do sleep 0.1; done";

fn trapping(d: &Daemon, flags: &[&str]) -> String {
    let id = d.ok(&[
        &["run", "-d", "--network", "none"],
        flags,
        &["busybox", "sh", "-c", TRAPS],
    ]
    .concat());
    wait_until("it is ready", || d.ok(&["logs", &id]).contains("ready"));
    id
}

fn code(d: &Daemon, id: &str) -> String {
    d.inspect(id, "{{.State.Status}} {{.State.ExitCode}}")
}

#[test]
fn stop_asks_first_and_kills_then() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    let id = trapping(&d, &[]);
    assert_eq!(d.ok(&["stop", &id]), id);
    assert_eq!(code(&d, &id), "exited 3");
    assert_eq!(
        d.ok(&["stop", &id]),
        id,
        "stopping what is stopped is no error"
    );
    // PID 1 without a handler doesn't hear SIGTERM.
    let deaf = d.sleeper(&[]);
    let begun = Instant::now();
    d.ok(&["stop", "-t", "1", &deaf]);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(9),
        "{took:?}"
    );
    assert_eq!(code(&d, &deaf), "exited 137");
    let named = trapping(&d, &["--stop-signal", "USR1"]);
    d.ok(&["stop", &named]);
    assert_eq!(code(&d, &named), "exited 4");
    if docker_major() >= 23 {
        let other = trapping(&d, &[]);
        d.ok(&["stop", "-s", "USR1", &other]);
        assert_eq!(code(&d, &other), "exited 4");
    }
    let image = d.ok(&["run", "-d", "configured:stop"]);
    std::thread::sleep(Duration::from_millis(300));
    d.ok(&["stop", &image]);
    assert_eq!(code(&d, &image), "exited 7");
    let short = d.sleeper(&["--stop-timeout", "0"]);
    let begun = Instant::now();
    d.ok(&["stop", &short]);
    assert!(begun.elapsed() < Duration::from_secs(9));
}

#[test]
fn kill_sends_any_signal() {
    let Some(d) = Daemon::start() else { return };
    let id = trapping(&d, &[]);
    d.ok(&["kill", "-s", "HUP", &id]);
    wait_until("the signal is heard", || {
        d.ok(&["logs", &id]).contains("hup")
    });
    assert_eq!(d.inspect(&id, "{{.State.Running}}"), "true");
    d.ok(&["kill", "-s", "10", &id]);
    d.until(&id, "{{.State.ExitCode}}", "4");
    d.fails(1, &["kill", &id]).says("is not running");
    let deaf = d.sleeper(&[]);
    d.ok(&["kill", &deaf]);
    assert_eq!(code(&d, &deaf), "exited 137");
    d.fails(1, &["kill", "-s", "NONSENSE", &deaf])
        .says("invalid signal: NONSENSE");
    d.fails(1, &["kill", "nobody"])
        .says("No such container: nobody");
}

#[test]
fn pause_freezes() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "busybox", "sh", "-c", "while :; do echo x; sleep 0.05; done",
    ]);
    let count = || d.ok(&["logs", &id]).lines().count();
    wait_until("it writes", || count() > 2);
    assert_eq!(d.ok(&["pause", &id]), id);
    assert_eq!(
        d.inspect(
            &id, "{{.State.Status}} {{.State.Paused}} {{.State.Running}}"
        ),
        "paused true true"
    );
    std::thread::sleep(Duration::from_millis(100));
    let before = count();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(count(), before);
    assert!(
        d.ok(&["ps", "--format", "{{.Status}}"])
            .ends_with("(Paused)")
    );
    d.fails(1, &["pause", &id]).says("is already paused");
    d.ok(&["unpause", &id]);
    wait_until("it goes on", || count() > before);
    d.fails(1, &["unpause", &id]).says("is not paused");
    // A frozen one can be killed and removed.
    d.ok(&["pause", &id]);
    d.ok(&["kill", &id]);
    d.until(&id, "{{.State.Status}}", "exited");
    let other = d.sleeper(&[]);
    d.ok(&["pause", &other]);
    d.ok(&["rm", "-f", &other]);
    d.fails(1, &["pause", &id]).says("is not running");
}

#[test]
fn restart_and_start_again() {
    let Some(d) = Daemon::start() else { return };
    let id = trapping(&d, &[]);
    d.ok(&["exec", &id, "touch", "/kept"]);
    let pid = d.inspect(&id, "{{.State.Pid}}");
    d.ok(&["restart", &id]);
    assert_ne!(d.inspect(&id, "{{.State.Pid}}"), pid);
    assert_eq!(
        d.ok(&["exec", &id, "ls", "/kept"]),
        "/kept",
        "its root is kept"
    );
    assert_eq!(d.ok(&["start", &id]), id, "starting what runs is no error");
    d.ok(&["stop", &id]);
    assert_eq!(d.inspect(&id, "{{.State.Pid}}"), "0");
    d.ok(&["restart", &id]);
    d.until(&id, "{{.State.Status}}", "running");
    d.fails(1, &["start", "nobody"])
        .says("No such container: nobody");
}

#[test]
fn wait_gives_the_code() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", "sleep 0.5; exit 11"]);
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let mut command = d.docker_command(&["wait", &id]);
            command.stdin(std::process::Stdio::null());
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for waiter in waiters {
        assert_eq!(output::finish(waiter, "wait".into(), Vec::new()).ok(), "11");
    }
    assert_eq!(d.ok(&["wait", &id]), "11", "and of what has ended");
    let both = d.ok(&["run", "-d", "busybox", "sh", "-c", "exit 12"]);
    assert_eq!(d.ok(&["wait", &id, &both]), "11\n12");
    let reply = d.api(
        "POST",
        &format!("/v1.47/containers/{id}/wait?condition=not-running"),
        None,
    );
    assert_eq!(reply.json()["StatusCode"], 11);
    let _ = d
        .api(
            "POST",
            &format!("/v1.47/containers/{id}/wait?condition=nonsense"),
            None,
        )
        .error(400);
}

#[test]
fn wait_for_removal() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&["create", "--rm", "busybox", "sh", "-c", "sleep 0.3; exit 6"]);
    std::thread::scope(|scope| {
        let reply = scope.spawn(|| {
            d.api(
                "POST",
                &format!("/v1.47/containers/{id}/wait?condition=removed"),
                None,
            )
        });
        std::thread::sleep(Duration::from_millis(100));
        d.ok(&["start", &id]);
        assert_eq!(reply.join().unwrap().json()["StatusCode"], 6);
    });
    d.fails(1, &["inspect", &id]);
}

#[test]
fn rename() {
    let Some(d) = Daemon::start() else { return };
    d.sleeper(&["--name", "old"]);
    d.sleeper(&["--name", "taken"]);
    assert_eq!(d.ok(&["rename", "old", "new"]), "");
    assert_eq!(d.inspect("new", "{{.Name}}"), "/new");
    d.fails(1, &["inspect", "old"]);
    d.fails(1, &["rename", "new", "taken"])
        .says("already in use");
    d.fails(1, &["rename", "new", "no spaces"])
        .says("Invalid container name");
    d.fails(1, &["rename", "new", "new"]).says("same");
    d.sleeper(&["--name", "old"]);
}

#[test]
fn update() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&["-m", "64m", "--memory-swap", "128m"]);
    d.ok(&[
        "update", "-m", "32m", "--memory-swap", "32m", "--pids-limit", "20", "--restart",
        "on-failure:3", &id,
    ]);
    let limit = d.cgroup_file(&id, "memory/memory.limit_in_bytes", "memory.max");
    assert_eq!(limit, (32 << 20).to_string());
    assert_eq!(d.cgroup_file(&id, "pids/pids.max", "pids.max"), "20");
    assert_eq!(
        d.inspect(&id, "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy}}"),
        "33554432 {on-failure 3}"
    );
    d.fails(1, &["update", "-m", "64m", &id]).says("memoryswap");
    d.ok(&["update", "--cpus", "0.25", &id]);
    assert_eq!(d.inspect(&id, "{{.HostConfig.NanoCpus}}"), "250000000");
    // It lasts.
    d.ok(&["restart", "-t", "0", &id]);
    assert_eq!(d.cgroup_file(&id, "pids/pids.max", "pids.max"), "20");
}

#[test]
fn created_ones_wait_for_their_start() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&["create", "--name", "later", "busybox", "echo", "now"]);
    assert_eq!(
        d.inspect("later", "{{.State.Status}} {{.State.StartedAt}}"),
        "created 0001-01-01T00:00:00Z"
    );
    assert_eq!(d.ok(&["logs", "later"]), "");
    d.ok(&["start", "later"]);
    assert_eq!(d.ok(&["wait", "later"]), "0");
    assert_eq!(d.ok(&["logs", "later"]), "now");
    assert_eq!(d.ok(&["rm", &id]), id);
}
