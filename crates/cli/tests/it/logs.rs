//! `logs` and `events`.

use crate::harness::Daemon;

#[tokio::test]
async fn logs_are_told_apart_and_cut() {
    let daemon = Daemon::start();
    let script = "echo one; echo two >&2; echo three";
    daemon
        .args(&["run", "--name", "box", "busybox", "sh", "-c", script])
        .await
        .ok();
    let done = daemon.run("logs box").await;
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("one\nthree\n", "two\n")
    );
    assert_eq!(daemon.run("logs -n 1 box").await.ok(), "three\n");
    assert_eq!(daemon.run("logs --tail 0 box").await.ok(), "");
    let timed = daemon.run("logs -t --tail 1 box").await.ok();
    assert!(
        timed.ends_with("Z three\n") && timed.starts_with("20"),
        "{timed}"
    );
    assert_eq!(daemon.run("logs --since 1h -n 1 box").await.ok(), "three\n");
    assert_eq!(daemon.run("logs --until 1h box").await.ok(), "");
    assert!(
        daemon
            .run("logs --since yesterday box")
            .await
            .fails(1)
            .contains("--since")
    );
    assert!(
        daemon
            .run("logs --tail some box")
            .await
            .fails(1)
            .contains("--tail")
    );
    assert!(daemon.run("logs nosuch").await.fails(1).contains("hint: "));
}

#[tokio::test]
async fn followed_to_the_end() {
    let daemon = Daemon::start();
    let script = "echo one; sleep 0.2; echo two";
    daemon
        .args(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script])
        .await
        .ok();
    assert_eq!(daemon.run("logs -f box").await.ok(), "one\ntwo\n");
}

#[tokio::test]
async fn events_up_to_now() {
    let daemon = Daemon::start();
    daemon.run("run --name box busybox true").await.ok();
    let lines = daemon.run("events --since 1h --until 0s").await.ok();
    let start = lines
        .lines()
        .find(|line| line.contains(" container start "))
        .unwrap();
    assert!(start.contains("(image=busybox, name=box)"), "{start}");
    let actions = daemon
        .args(&[
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "-f",
            "container=box",
            "--format",
            "{{.Action}}",
        ])
        .await
        .ok();
    assert!(
        actions.contains("create\n") && actions.contains("die\n"),
        "{actions}"
    );
    let json = daemon
        .run("events --since 1h --until 0s --format json")
        .await
        .ok();
    for line in json.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}
