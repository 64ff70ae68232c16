//! Restart policies.

use std::time::Duration;

use coracle_tests::{Daemon, wait_until};

#[test]
fn on_failure_gives_up() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "--restart", "on-failure:2", "--network", "none", "busybox", "sh", "-c",
        "echo x; exit 5",
    ]);
    d.until(
        &id, "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}", "exited 2 5",
    );
    assert_eq!(d.ok(&["logs", &id]), "x\nx\nx");
    let good = d.ok(&[
        "run", "-d", "--restart", "on-failure", "--network", "none", "busybox", "true",
    ]);
    d.until(&good, "{{.State.Status}} {{.RestartCount}}", "exited 0");
}

#[test]
fn always_until_stopped() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "--restart", "always", "--network", "none", "busybox", "sleep", "0.1",
    ]);
    wait_until("it was started again", || {
        d.inspect(&id, "{{.RestartCount}}").parse::<u32>().unwrap() >= 2
    });
    d.ok(&["stop", "-t", "0", &id]);
    let count = d.inspect(&id, "{{.RestartCount}}");
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(
        d.inspect(&id, "{{.State.Status}} {{.RestartCount}}"),
        format!("exited {count}")
    );
    let killed = d.sleeper(&["--restart", "always"]);
    d.ok(&["kill", &killed]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        d.inspect(&killed, "{{.State.Running}}"),
        "false",
        "killed by hand stays down"
    );
    d.fails(125, &["run", "--rm", "--restart", "always", "busybox"])
        .says("conflicting");
    d.fails(125, &["run", "--restart", "nonsense", "busybox"])
        .says("invalid restart policy");
}

#[test]
fn the_back_off_grows() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "--restart", "always", "--network", "none", "busybox", "false",
    ]);
    std::thread::sleep(Duration::from_secs(3));
    let count: u32 = d.inspect(&id, "{{.RestartCount}}").parse().unwrap();
    // 100 ms, doubled each time: about five in three seconds.
    assert!((2..=6).contains(&count), "{count}");
    assert_eq!(d.inspect(&id, "{{.State.Status}}"), "restarting");
    d.ok(&["rm", "-f", &id]);
}

#[test]
fn over_the_daemons_crash() {
    let Some(mut d) = Daemon::start() else { return };
    let script = "sleep 1; exit 3";
    let run = |d: &Daemon, policy: &str, name: &str| {
        d.ok(&[
            "run", "-d", "--name", name, "--restart", policy, "--network", "none", "busybox", "sh",
            "-c", script,
        ])
    };
    run(&d, "no", "never");
    run(&d, "always", "always");
    run(&d, "on-failure:1", "failing");
    run(&d, "unless-stopped", "stopped");
    d.ok(&["stop", "-t", "0", "stopped"]);
    d.kill();
    std::thread::sleep(Duration::from_millis(1500));
    d.spawn();
    d.until("never", "{{.State.Status}} {{.State.ExitCode}}", "exited 3");
    d.until("failing", "{{.RestartCount}} {{.State.Status}}", "1 exited");
    wait_until("it is started again", || {
        d.inspect("always", "{{.RestartCount}}")
            .parse::<u32>()
            .unwrap()
            >= 1
    });
    assert_eq!(d.inspect("stopped", "{{.State.Status}}"), "exited");
}
