//! `exec`.

use crate::harness::Daemon;

#[tokio::test]
async fn runs_in_a_container() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    let script = "echo out; echo err >&2; exit 7";
    let done = daemon.args(&["exec", "web", "sh", "-c", script]).await;
    assert_eq!(
        (done.code, done.out.as_str(), done.err.as_str()),
        (7, "out\n", "err\n")
    );
    let done = daemon.feed(&["exec", "-i", "web", "cat"], b"hello").await;
    assert_eq!(done.ok(), "hello");
    let done = daemon
        .args(&[
            "exec",
            "-e",
            "A=b c",
            "-w",
            "/tmp",
            "web",
            "sh",
            "-c",
            "echo $A; pwd",
        ])
        .await;
    assert_eq!(done.ok(), "b c\n/tmp\n");
    assert_eq!(daemon.run("exec -d web true").await.ok(), "");
    // What follows the command is the command's.
    assert_eq!(
        daemon.run("exec web echo -i --help").await.ok(),
        "-i --help\n"
    );
}

#[tokio::test]
async fn failures_have_dockers_codes() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    assert_eq!(daemon.run("exec web nosuchprogram").await.code, 127);
    daemon.run("exec nosuch true").await.fails(1);
    assert!(daemon.run("exec web").await.fails(1).contains("command"));
    daemon.run("kill web").await.ok();
    let error = daemon.run("exec web true").await.fails(1);
    assert!(
        error.contains("is not running") && error.contains("hint: "),
        "{error}"
    );
    assert!(daemon.run("exec -it web sh").await.fails(1).contains("TTY"));
}
