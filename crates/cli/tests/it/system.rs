//! `system`.

use crate::harness::{Daemon, finish};

#[tokio::test]
async fn disk_usage() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    let table = daemon.run("system df").await.ok();
    assert!(
        table.starts_with("TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"),
        "{table}"
    );
    assert!(table.contains("\nContainers      1         1 "), "{table}");
    let all = daemon.run("system df -v").await.ok();
    assert!(
        all.contains("Images space usage:") && all.contains("web"),
        "{all}"
    );
}

#[tokio::test]
async fn everything_is_pruned() {
    let daemon = Daemon::start();
    daemon.run("create --name box alpine").await.ok();
    daemon.run("network create unused").await.ok();
    let error = daemon
        .feed(&["system", "prune", "--volumes"], b"\n")
        .await
        .fails(1);
    assert!(
        error.contains("anonymous volumes") && error.contains("dangling images"),
        "{error}"
    );
    let out = daemon.run("system prune -af").await.ok();
    for part in [
        "Deleted Containers:",
        "Deleted Networks:\nunused",
        "Untagged: alpine:latest",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
}

#[tokio::test]
async fn status_says_whether_it_runs() {
    let daemon = Daemon::start();
    let shown = daemon.run("system status").await.ok();
    assert!(shown.starts_with("daemon: running (version "), "{shown}");
    let mut command = daemon.command(["system", "status"]);
    command.env("CORACLE_HOST", "unix:///nosuch.sock");
    let done = finish(command, b"").await;
    assert_eq!((done.code, done.err.as_str()), (1, ""));
    assert!(done.out.starts_with("daemon: not running\n"), "{done:?}");
}

#[tokio::test]
async fn another_ones_daemon_is_left_alone() {
    let daemon = Daemon::start();
    for verb in ["start", "stop", "logs"] {
        let error = daemon.run(&format!("system {verb}")).await.fails(1);
        assert!(error.contains("CORACLE_HOST"), "{verb}: {error}");
    }
}
