//! `run`, `create`, `start`, `attach`, `wait`.

use tokio::io::AsyncWriteExt;

use crate::harness::Daemon;

#[tokio::test]
async fn output_and_exit_codes_are_the_processes() {
    let daemon = Daemon::start();
    let done = daemon
        .args(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 42",
        ])
        .await;
    assert_eq!(
        (done.code, done.out.as_str(), done.err.as_str()),
        (42, "out\n", "err\n")
    );
    assert_eq!(daemon.run("run --rm busybox true").await.ok(), "");
    assert_eq!(daemon.run("run --rm busybox false").await.code, 1);
    assert_eq!(daemon.run("ps -aq").await.ok(), "");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_127() {
    let daemon = Daemon::start();
    let done = daemon.run("run --rm busybox nosuchprogram").await;
    assert_eq!(done.code, 127, "{done:?}");
    assert!(done.err.starts_with("coracle: "), "{done:?}");
    let done = daemon.run("run --rm busybox /etc").await;
    assert_eq!(done.code, 126, "{done:?}");
}

#[tokio::test]
async fn the_daemons_refusals_are_125() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    let error = daemon.run("run --name web busybox true").await.fails(125);
    assert!(error.contains("already in use"), "{error}");
    assert!(error.contains("hint: remove or rename"), "{error}");
    let error = daemon
        .run("run --pull never nosuchimage true")
        .await
        .fails(125);
    assert!(error.contains("No such image"), "{error}");
    assert!(error.contains("hint: `coracle pull"), "{error}");
}

#[tokio::test]
async fn standard_input_reaches_the_process_and_ends() {
    let daemon = Daemon::start();
    let done = daemon
        .feed(&["run", "-i", "--rm", "busybox", "cat"], b"hello")
        .await;
    assert_eq!(done.ok(), "hello");
    // Input that is not read does not keep the command.
    let done = daemon
        .feed(&["run", "-i", "--rm", "busybox", "true"], &[b'x'; 300_000])
        .await;
    assert_eq!(done.ok(), "");
}

#[tokio::test]
async fn streams_can_be_chosen() {
    let daemon = Daemon::start();
    let script = "echo out; echo err >&2";
    let done = daemon
        .args(&["run", "--rm", "-a", "stderr", "busybox", "sh", "-c", script])
        .await;
    assert_eq!((done.out.as_str(), done.err.as_str()), ("", "err\n"));
    let error = daemon.run("run -a bogus busybox").await.fails(125);
    assert!(error.contains("--attach"), "{error}");
    let error = daemon.run("run -d -a stdout busybox").await.fails(125);
    assert!(error.contains("--detach"), "{error}");
}

#[tokio::test]
async fn a_missing_image_is_pulled() {
    let daemon = Daemon::start();
    let done = daemon.run("run --rm alpine echo hi").await;
    assert_eq!((done.code, done.out.as_str()), (0, "hi\n"), "{done:?}");
    assert!(
        done.err
            .contains("Unable to find image 'alpine:latest' locally"),
        "{done:?}"
    );
    // It is here now.
    let done = daemon.run("run --rm alpine echo hi").await;
    assert_eq!(done.err, "");
    let daemon = Daemon::start();
    let done = daemon.run("run --rm -q alpine echo hi").await;
    assert_eq!((done.out.as_str(), done.err.as_str()), ("hi\n", ""));
    let daemon = Daemon::start();
    daemon
        .run("run --rm --pull never alpine true")
        .await
        .fails(125);
    daemon.run("run --rm --pull always alpine true").await.ok();
}

#[tokio::test]
async fn the_id_is_written_to_a_file_that_is_new() {
    let daemon = Daemon::start();
    let id = daemon
        .run("run -d --cidfile id busybox sleep 1000")
        .await
        .line();
    assert_eq!(std::fs::read_to_string(daemon.path("id")).unwrap(), id);
    let error = daemon
        .run("run -d --cidfile id busybox true")
        .await
        .fails(125);
    assert!(error.contains("container ID file found"), "{error}");
    // Where no container comes about, no file does.
    daemon
        .run("create --pull never --cidfile other nosuchimage")
        .await
        .fails(125);
    assert!(!daemon.path("other").exists());
}

#[tokio::test]
async fn create_start_wait() {
    let daemon = Daemon::start();
    let id = daemon
        .args(&[
            "create",
            "--name",
            "box",
            "busybox",
            "sh",
            "-c",
            "echo hi; exit 3",
        ])
        .await
        .line();
    assert_eq!(id.len(), 64);
    let done = daemon.run("start -a box").await;
    assert_eq!((done.code, done.out.as_str()), (3, "hi\n"));
    assert_eq!(daemon.run("wait box").await.line(), "3");
    assert_eq!(daemon.run("start box").await.line(), "box");
    assert!(
        daemon
            .run("start -a box y")
            .await
            .fails(1)
            .contains("multiple")
    );
    assert!(
        daemon
            .run("start nosuch")
            .await
            .fails(1)
            .contains("No such container")
    );
}

#[tokio::test]
async fn attach_wants_one_that_runs() {
    let daemon = Daemon::start();
    daemon.run("create --name box busybox true").await.ok();
    let error = daemon.run("attach box").await.fails(1);
    assert!(
        error.contains("stopped container") && error.contains("hint: "),
        "{error}"
    );
    daemon.sleeper("web").await;
    daemon.run("pause web").await.ok();
    assert!(daemon.run("attach web").await.fails(1).contains("paused"));
}

#[tokio::test]
async fn attach_streams_to_the_end() {
    let daemon = Daemon::start();
    let script = "read line; echo got $line; exit 5";
    daemon
        .args(&[
            "run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", script,
        ])
        .await
        .ok();
    let mut command = daemon.command(["attach", "box"]);
    command.stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Kept open: the end of input would detach, since the container was not run with -a.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"this\n").await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(output.stdout, b"got this\n");
}

#[tokio::test]
async fn a_terminal_needs_a_terminal() {
    let daemon = Daemon::start();
    let error = daemon.run("run -it busybox true").await.fails(125);
    assert!(
        error.contains("not a TTY") && error.contains("hint: "),
        "{error}"
    );
    assert!(daemon.run("ps -aq").await.ok().is_empty());
}

#[tokio::test]
async fn a_large_output_is_whole() {
    let daemon = Daemon::start();
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    let out = daemon
        .args(&["run", "--rm", "busybox", "sh", "-c", script])
        .await
        .ok();
    assert_eq!(out.lines().count(), 20_000);
    assert!(out.ends_with("line 19999\n"));
}

#[tokio::test]
async fn signals_are_passed_on() {
    let daemon = Daemon::start();
    let script = "trap 'echo got; exit 44' TERM; echo ready; while :; do sleep 0.1; done";
    let mut command = daemon.command(["run", "--name", "box", "busybox", "sh", "-c", script]);
    let child = command.spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    // Ready when its log says so.
    while !daemon.run("logs box").await.out.contains("ready") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(44));
    assert_eq!(output.stdout, b"ready\ngot\n");
}

#[tokio::test]
async fn three_signals_are_enough() {
    let daemon = Daemon::start();
    let script = "trap 'echo no' INT; echo ready; while :; do sleep 0.1; done";
    let mut command = daemon.command(["run", "--name", "box", "busybox", "sh", "-c", script]);
    let child = command.spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    for said in ["ready", "ready\nno\n", "no\nno\n"] {
        while !daemon.run("logs box").await.out.contains(said) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(125));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("3 signals") && error.contains("hint: `coracle kill"),
        "{error}"
    );
    assert_eq!(daemon.run("ps -q").await.ok().lines().count(), 1);
}

#[tokio::test]
async fn a_reader_that_goes_ends_it_quietly() {
    let daemon = Daemon::start();
    let mut command = daemon.command([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "while :; do echo y; done",
    ]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(141), &b""[..])
    );
}
