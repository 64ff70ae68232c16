//! Standard streams: attach, input, terminals, execs.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod common;

use std::time::Duration;
use std::time::Instant;

use common::*;
use coracle_task::*;

#[tokio::test]
async fn attached_before_the_start_one_sees_it_all() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("seq 1 300000; echo oops >&2");
    let client = container.launch().await;
    let mut both = client.attach(None, ALL).await.unwrap().output;
    let options = AttachOptions {
        stdout: false,
        ..ALL
    };
    let mut errors = client.attach(None, options).await.unwrap().output;
    soon(client.start()).await.unwrap();
    let (stdout, stderr) = read_all(&mut both).await;
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(stdout == expected.as_bytes(), "{} bytes", stdout.len());
    assert_eq!(stderr, b"oops\n");
    assert_eq!(
        read_all(&mut errors).await,
        (Vec::new(), b"oops\n".to_vec())
    );
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 0);
    let mut late = client.attach(None, ALL).await.unwrap().output;
    assert_eq!(
        soon(late.next()).await.unwrap(),
        None,
        "after the end there is nothing"
    );
    assert!(container.logged("stdout") == expected);
    drop((client, both, errors, late));
    container.gone().await;
}

#[tokio::test]
async fn a_slow_client_delays_and_loses_nothing() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("seq 1 300000; touch /tmp/done");
    let client = container.launch().await;
    let mut slow = client.attach(None, ALL).await.unwrap().output;
    soon(client.start()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let done = container.dir.path().join("root/tmp/done");
    assert!(!done.exists(), "the container waits");
    let gone = client.attach(None, ALL).await.unwrap();
    drop(gone);
    let (stdout, _) = read_all(&mut slow).await;
    assert_eq!(stdout.iter().filter(|b| **b == b'\n').count(), 300_000);
    drop((client, slow));
    container.gone().await;
}

#[tokio::test]
async fn a_client_that_goes_away_delays_nobody() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("seq 1 300000");
    let client = container.launch().await;
    let stuck = client.attach(None, ALL).await.unwrap();
    soon(client.start()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Half of it: its input alone keeps no output.
    let Attached { stdin, output } = stuck;
    drop(output);
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 0);
    drop((client, stdin));
    container.gone().await;
}

#[tokio::test]
async fn a_stuck_client_does_not_delay_the_end() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("head -c 250000 /dev/zero | tr '\\0' x; exit 4");
    container
        .config
        .spec
        .linux_mut()
        .as_mut()
        .unwrap()
        .set_devices(Some(
            serde_json::from_str(
                r#"[{"path":"/dev/zero","type":"c","major":1,"minor":5,"fileMode":438}]"#,
            )
            .unwrap(),
        ));
    let root = container.dir.path().join("root/bin/tr");
    std::os::unix::fs::symlink("busybox", root).unwrap();
    let client = container.launch().await;
    let mut stuck = client.attach(None, ALL).await.unwrap().output;
    soon(client.start()).await.unwrap();
    let begin = Instant::now();
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 4);
    assert!(begin.elapsed() < Duration::from_secs(20));
    // And yet it gets everything, even from a shim that was told to leave.
    soon(client.shutdown()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(read_all(&mut stuck).await.0.len(), 250_000);
    assert_eq!(container.logged("stdout").len(), 250_000);
    drop(client);
    container.gone().await;
}

#[tokio::test]
async fn stdin_makes_the_round() {
    if !can_run() {
        return;
    }
    let mut container = Container::command(&["cat"]).with(|config| {
        config.open_stdin = true;
        config.stdin_once = true;
    });
    let client = container.launch().await;
    let Attached {
        mut stdin,
        mut output,
    } = client.attach(None, ALL).await.unwrap();
    // More than fits into pipes and buffers, and some of it before the start.
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let expected = data.clone();
    let write = tokio::spawn(async move {
        stdin.write(&data).await.unwrap();
        stdin.close().await.unwrap();
        stdin
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    soon(client.start()).await.unwrap();
    let (stdout, _) = read_all(&mut output).await;
    assert!(stdout == expected, "{} bytes", stdout.len());
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 0);
    drop((client, output, soon(write).await.unwrap()));
    container.gone().await;
}

#[tokio::test]
async fn when_stdin_ends() {
    if !can_run() {
        return;
    }
    // The end of a client's input, or the client's own, is that of stdin if it is for one.
    for close in [true, false] {
        let mut container = Container::command(&["cat"]).with(|config| {
            config.open_stdin = true;
            config.stdin_once = true;
        });
        let client = container.launch().await;
        let mut attached = client.attach(None, ALL).await.unwrap();
        soon(client.start()).await.unwrap();
        attached.stdin.write(b"x").await.unwrap();
        read_until(&mut attached.output, "x").await;
        if close {
            attached.stdin.close().await.unwrap();
        } else {
            drop(attached);
        }
        assert_eq!(soon(client.wait(None)).await.unwrap().code, 0);
        drop(client);
        container.gone().await;
    }

    // Otherwise it stays, until told.
    let mut container = Container::command(&["cat"]).with(|config| config.open_stdin = true);
    let client = container.launch().await;
    soon(client.start()).await.unwrap();
    for text in ["one", "two"] {
        let mut attached = client.attach(None, ALL).await.unwrap();
        attached.stdin.write(text.as_bytes()).await.unwrap();
        read_until(&mut attached.output, text).await;
        attached.stdin.close().await.unwrap();
    }
    let early = tokio::time::timeout(Duration::from_millis(100), client.wait(None)).await;
    assert!(early.is_err());
    client.close_stdin(None).await.unwrap();
    client.close_stdin(None).await.unwrap();
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 0);
    drop(client);
    container.gone().await;

    // And without it there is none.
    let mut container = Container::command(&["cat"]);
    let client = container.launch().await;
    let mut attached = client.attach(None, ALL).await.unwrap();
    attached.stdin.write(b"nobody reads this").await.unwrap();
    soon(client.start()).await.unwrap();
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 0);
    drop((client, attached));
    container.gone().await;
}

#[tokio::test]
async fn a_terminal() {
    if !can_run() {
        return;
    }
    let script = "stty size; read x; stty size; echo \"<$x>\"; [ -t 2 ] && exit 6";
    let mut container = Container::shell(script).with(|config| {
        config.terminal = true;
        config.open_stdin = true;
        config.stdin_once = true;
        config.console_size = Some((24, 80));
    });
    let client = container.launch().await;
    let mut attached = client.attach(None, ALL).await.unwrap();
    soon(client.start()).await.unwrap();
    read_until(&mut attached.output, "24 80\r\n").await;
    client.resize(None, 30, 100).await.unwrap();
    // The end of input is no hang-up.
    attached.stdin.close().await.unwrap();
    client.close_stdin(None).await.unwrap();
    let mut attached_again = client.attach(None, ALL).await.unwrap();
    attached_again.stdin.write(b"typed\n").await.unwrap();
    let seen = read_until(&mut attached_again.output, "<typed>").await;
    assert!(seen.contains("30 100\r\n"), "{seen:?}");
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 6);
    assert!(container.logged("stdout").contains("<typed>\r\n"));
    drop((client, attached, attached_again));
    container.gone().await;
}

#[tokio::test]
async fn execs() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("sleep 1000");
    let client = container.launch().await;
    let refused = client.exec(exec("early", &["true"])).await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::InvalidState));
    soon(client.start()).await.unwrap();
    let mut events = client.events().await.unwrap();

    let script = "echo out; echo err >&2; ls /proc | grep -c '^1$'; exit 3";
    client.exec(exec("a", &["sh", "-c", script])).await.unwrap();
    let again = client.exec(exec("a", &["true"])).await.unwrap_err();
    assert_eq!(again.kind(), Some(ErrorKind::AlreadyExists));
    let mut output = client.attach(Some("a"), ALL).await.unwrap().output;
    let started = soon(client.start_exec("a")).await.unwrap();
    let (stdout, stderr) = read_all(&mut output).await;
    assert_eq!(
        (&stdout[..], &stderr[..]),
        (&b"out\n1\n"[..], &b"err\n"[..])
    );
    let exit = soon(client.wait(Some("a"))).await.unwrap();
    assert_eq!(exit.code, 3);
    let started = Event::ExecStarted {
        exec_id: "a".into(),
        pid: started.pid,
    };
    assert_eq!(soon(events.next()).await.unwrap(), started);
    let exited = Event::ExecExited {
        exec_id: "a".into(),
        exit: exit.clone(),
    };
    assert_eq!(soon(events.next()).await.unwrap(), exited);
    let state = client.state().await.unwrap();
    assert_eq!(state.execs.len(), 1);
    assert_eq!(state.execs[0].exit, Some(exit));
    client.delete_exec("a").await.unwrap();
    assert_eq!(
        client.delete_exec("a").await.unwrap_err().kind(),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(client.state().await.unwrap().execs, []);

    client
        .exec(ExecConfig {
            stdin: true,
            ..exec("cat", &["cat"])
        })
        .await
        .unwrap();
    let mut attached = client.attach(Some("cat"), ALL).await.unwrap();
    soon(client.start_exec("cat")).await.unwrap();
    attached.stdin.write(b"hello").await.unwrap();
    attached.stdin.close().await.unwrap();
    assert_eq!(read_all(&mut attached.output).await.0, b"hello");
    assert_eq!(soon(client.wait(Some("cat"))).await.unwrap().code, 0);

    let size = Some((11, 22));
    let tty = ExecConfig {
        terminal: true,
        stdin: true,
        console_size: size,
        ..exec("tty", &["sh", "-c", "stty size; read x; stty size"])
    };
    client.exec(tty).await.unwrap();
    let mut attached = client.attach(Some("tty"), ALL).await.unwrap();
    soon(client.start_exec("tty")).await.unwrap();
    read_until(&mut attached.output, "11 22").await;
    client.resize(Some("tty"), 33, 44).await.unwrap();
    attached.stdin.write(b"\n").await.unwrap();
    read_until(&mut attached.output, "33 44").await;
    assert_eq!(soon(client.wait(Some("tty"))).await.unwrap().code, 0);
    assert!(client.resize(Some("cat"), 1, 1).await.is_err());

    for (id, command, code) in [("nf", "nosuch", 127), ("ne", "/bin/notexec", 126)] {
        client.exec(exec(id, &[command])).await.unwrap();
        let error = soon(client.start_exec(id)).await.unwrap_err();
        assert_eq!(error.kind().unwrap().exit_code(), code, "{error}");
        assert_eq!(soon(client.wait(Some(id))).await.unwrap().code, code);
    }

    // Detached: nobody reads it, and it isn't logged.
    client
        .exec(exec("det", &["sh", "-c", "seq 1 100000; sleep 1000"]))
        .await
        .unwrap();
    soon(client.start_exec("det")).await.unwrap();
    let refused = client.delete_exec("det").await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::InvalidState));
    client.kill(Some("det"), 9, false).await.unwrap();
    let exit = soon(client.wait(Some("det"))).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert_eq!(container.logged("stdout"), "");

    // One that is never started ends with the container, at the latest.
    client.exec(exec("never", &["true"])).await.unwrap();
    let mut idle = client.attach(Some("never"), ALL).await.unwrap().output;
    client.exec(exec("deleted", &["true"])).await.unwrap();
    let waiting = client.clone();
    let wait = tokio::spawn(async move { waiting.wait(Some("deleted")).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.delete_exec("deleted").await.unwrap();
    assert!(soon(wait).await.unwrap().unwrap().error.is_some());

    // One that the container's end takes along.
    client.exec(exec("last", &["sleep", "1000"])).await.unwrap();
    soon(client.start_exec("last")).await.unwrap();
    client.kill(None, 9, false).await.unwrap();
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 137);
    assert_eq!(soon(client.wait(Some("last"))).await.unwrap().code, 137);
    assert!(
        soon(client.wait(Some("never")))
            .await
            .unwrap()
            .error
            .is_some()
    );
    assert_eq!(soon(idle.next()).await.unwrap(), None);
    drop(idle);
    drop((client, events));
    container.gone().await;
}

#[tokio::test]
async fn an_execs_background_child_holds_nobody_for_long() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("sleep 1000");
    let client = container.launch().await;
    soon(client.start()).await.unwrap();
    client
        .exec(exec(
            "bg",
            &["sh", "-c", "(sleep 0.3; echo late; sleep 1000) &"],
        ))
        .await
        .unwrap();
    let mut attached = client.attach(Some("bg"), ALL).await.unwrap();
    let begin = Instant::now();
    soon(client.start_exec("bg")).await.unwrap();
    assert_eq!(read_all(&mut attached.output).await.0, b"late\n");
    assert!(begin.elapsed() < Duration::from_secs(20));
    client.kill(None, 9, false).await.unwrap();
    soon(client.wait(None)).await.unwrap();
    drop((client, attached));
    container.gone().await;
}
