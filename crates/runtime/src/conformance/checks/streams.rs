//! Attaching: output, input, terminals.

use futures_util::StreamExt;

use super::super::Subject;
use super::super::attached::{close, read, read_until, write};
use super::super::support::{all, refused, soon};
use super::super::told::event;
use crate::Status;
use crate::io::{AttachOptions, StreamKind, TerminalSize};
use crate::spec::ContainerSpec;

fn interactive(mut spec: ContainerSpec, once: bool) -> ContainerSpec {
    spec.config.open_stdin = true;
    spec.config.stdin_once = once;
    spec
}

pub(super) async fn before_the_start_all_is_seen(s: Subject) {
    for _ in 0..5 {
        let (_, written) = s
            .output(s.sh("echo out; echo err >&2; seq 1 1000; exit 3"))
            .await;
        assert_eq!(written.code, 3);
        assert_eq!(written.stderr, "err\n");
        let numbers: String = (1..=1000).map(|n| format!("{n}\n")).collect();
        assert_eq!(written.stdout, format!("out\n{numbers}"));
    }
}

pub(super) async fn a_process_that_writes_nothing(s: Subject) {
    let (_, written) = s.output(s.spec(&["true"])).await;
    assert_eq!((written.stdout.as_str(), written.stderr.as_str()), ("", ""));
}

pub(super) async fn only_the_streams_that_are_asked_for(s: Subject) {
    let id = s.create(s.sh("echo out; echo err >&2")).await;
    let options = |stdout, stderr| AttachOptions {
        stdout,
        stderr,
        stream: true,
        ..AttachOptions::default()
    };
    let out = s
        .runtime
        .attach_container(&id, options(true, false))
        .await
        .unwrap();
    let err = s
        .runtime
        .attach_container(&id, options(false, true))
        .await
        .unwrap();
    assert!(out.input.is_none() && !out.tty);
    s.start(&id).await;
    let (out, err) = (all("out", out.output).await, all("err", err.output).await);
    assert!(out.iter().all(|(kind, _)| *kind == StreamKind::Stdout));
    assert!(err.iter().all(|(kind, _)| *kind == StreamKind::Stderr));
    let text = |items: Vec<(StreamKind, bytes::Bytes)>| {
        items
            .into_iter()
            .map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned())
            .collect::<String>()
    };
    assert_eq!((text(out).as_str(), text(err).as_str()), ("out\n", "err\n"));
}

pub(super) async fn input_comes_back_up_to_its_end(s: Subject) {
    let id = s.create(interactive(s.spec(&["cat"]), true)).await;
    let mut attached = s.attach(&id, true).await;
    s.start(&id).await;
    write(&mut attached, b"one\n").await;
    assert_eq!(read_until(&mut attached, "one\n").await, "one\n");
    write(&mut attached, b"two").await;
    close(&mut attached).await;
    assert_eq!(read(attached).await.stdout, "two");
    assert_eq!(s.ended(&id).await, 0);
}

pub(super) async fn input_before_the_start_is_kept(s: Subject) {
    let id = s.create(interactive(s.spec(&["cat"]), true)).await;
    let mut attached = s.attach(&id, true).await;
    write(&mut attached, b"early\n").await;
    close(&mut attached).await;
    s.start(&id).await;
    assert_eq!(read(attached).await.stdout, "early\n");
    assert_eq!(s.ended(&id).await, 0);
}

/// More than any buffer on the way holds.
pub(super) async fn much_input(s: Subject) {
    let id = s.create(interactive(s.sh("cat | wc -c"), true)).await;
    let mut attached = s.attach(&id, true).await;
    s.start(&id).await;
    let mut input = attached.input.take().expect("an input");
    let writer = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let piece = vec![b'x'; 10_000];
        for _ in 0..300 {
            input
                .write_all(&piece)
                .await
                .expect("the input takes bytes");
        }
        input.shutdown().await.expect("the input can be closed");
        // It is open until its end was told.
        input
    });
    let written = soon("counting", read(attached)).await;
    assert_eq!(written.stdout.trim(), "3000000");
    drop(writer.await);
}

pub(super) async fn much_output(s: Subject) {
    let (_, written) = s.output(s.sh("seq 1 200000")).await;
    assert_eq!(written.stdout.lines().count(), 200_000);
    assert!(written.stdout.ends_with("\n200000\n"));
}

pub(super) async fn without_open_input_there_is_none(s: Subject) {
    let id = s.create(s.spec(&["cat"])).await;
    let attached = s.attach(&id, true).await;
    assert!(attached.input.is_none());
    s.start(&id).await;
    // Its input is at its end from the beginning.
    assert_eq!(s.ended(&id).await, 0);
}

/// Without `stdin_once` the input outlives who writes to it.
pub(super) async fn input_that_is_kept_open(s: Subject) {
    let id = s.launch(interactive(s.spec(&["cat"]), false)).await;
    for text in ["one\n", "two\n"] {
        let mut attached = s.attach(&id, true).await;
        write(&mut attached, text.as_bytes()).await;
        read_until(&mut attached, text).await;
        close(&mut attached).await;
        drop(attached);
    }
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(s.status(&id).await, Status::Running);
    assert_eq!(s.logged(&id).await, ["one\n", "two\n"]);
}

pub(super) async fn detaching_leaves_the_process_alone(s: Subject) {
    let id = s.polite().await;
    let mut listener = s.listen();
    let attached = s.attach(&id, false).await;
    drop(attached);
    s.runtime.detach_container(&id).await.unwrap();
    event(&mut listener, &id, "detach").await;
    refused!(s.runtime.detach_container("nobody").await, NotFound);
    s.kill(&id, "USR1").await;
    s.until_logged(&id, "one").await;
    let mut attached = s.attach(&id, false).await;
    s.kill(&id, "TERM").await;
    assert_eq!(
        read_until(&mut attached, "bye\n").await,
        "bye\n",
        "only what comes from now on"
    );
    assert!(soon("the end", attached.output.next()).await.is_none());
}

pub(super) async fn many_at_once_see_the_same(s: Subject) {
    let id = s.create(s.sh("seq 1 5000")).await;
    let mut readers = Vec::new();
    for _ in 0..8 {
        let attached = s.attach(&id, false).await;
        readers.push(tokio::spawn(read(attached)));
    }
    // One that reads nothing holds nobody up for ever: it is dropped below.
    let idle = s.attach(&id, false).await;
    s.start(&id).await;
    drop(idle);
    for reader in readers {
        assert_eq!(reader.await.unwrap().stdout.lines().count(), 5000);
    }
}

/// First what was logged, then what comes: each line once.
pub(super) async fn logs_first_without_a_gap_or_a_repeat(s: Subject) {
    let script =
        "for i in 1 2 3 4 5 6 7 8 9 10; do seq ${i}001 ${i}100; sleep 0.03; done; sleep 0.3";
    let id = s.launch(s.sh(script)).await;
    let mut readers = Vec::new();
    for _ in 0..6 {
        tokio::time::sleep(std::time::Duration::from_millis(40)).await;
        let options = AttachOptions {
            stdout: true,
            stderr: true,
            logs: true,
            stream: true,
            stdin: false,
        };
        let attached = s.runtime.attach_container(&id, options).await.unwrap();
        readers.push(tokio::spawn(read(attached)));
    }
    let expected: String = (1..=10)
        .flat_map(|i| (1..=100).map(move |n| format!("{}\n", i * 1000 + n)))
        .collect();
    for reader in readers {
        let stdout = reader.await.unwrap().stdout;
        assert_eq!(stdout.lines().count(), 1000, "lines");
        assert_eq!(stdout, expected);
    }
}

/// Before its start, and between two runs: what was logged, and then what the next run says.
pub(super) async fn logs_and_the_next_run(s: Subject) {
    let id = s
        .create(s.sh("echo out; echo err >&2; sleep 0.1; printf end"))
        .await;
    for runs in 1..=2 {
        let options = AttachOptions {
            stdout: true,
            stderr: true,
            logs: true,
            stream: true,
            stdin: false,
        };
        let attached = s.runtime.attach_container(&id, options).await.unwrap();
        s.start(&id).await;
        let seen = read(attached).await;
        assert_eq!(seen.stdout, "out\nend".repeat(runs));
        assert_eq!(seen.stderr, "err\n".repeat(runs));
        s.ended(&id).await;
    }
}

pub(super) async fn only_logs(s: Subject) {
    let (id, _) = s.run(s.sh("echo a; echo b")).await;
    let options = AttachOptions {
        stdout: true,
        stderr: true,
        logs: true,
        ..AttachOptions::default()
    };
    let attached = s.runtime.attach_container(&id, options).await.unwrap();
    assert_eq!(read(attached).await.stdout, "a\nb\n");
}

pub(super) async fn a_terminal(s: Subject) {
    let mut spec = interactive(
        s.sh("tty; echo err >&2; read line; echo \"<$line>\"; exit 6"),
        false,
    );
    spec.config.tty = true;
    let id = s.create(spec).await;
    let mut attached = s.attach(&id, true).await;
    assert!(attached.tty);
    s.start(&id).await;
    let seen = read_until(&mut attached, "err\r\n").await;
    assert!(
        seen.starts_with("/dev/pts/") || seen.starts_with("/dev/console"),
        "{seen:?}"
    );
    write(&mut attached, b"typed\n").await;
    let seen = read_until(&mut attached, "<typed>\r\n").await;
    assert!(
        seen.starts_with("typed\r\n"),
        "what is typed is shown: {seen:?}"
    );
    assert_eq!(s.ended(&id).await, 6);
    assert!(soon("the end", attached.output.next()).await.is_none());
}

pub(super) async fn control_keys(s: Subject) {
    // ^D ends the input of `cat`, and with it the container.
    let mut spec = interactive(s.spec(&["cat"]), true);
    spec.config.tty = true;
    let id = s.create(spec).await;
    let mut attached = s.attach(&id, true).await;
    s.start(&id).await;
    write(&mut attached, b"x\n").await;
    read_until(&mut attached, "x\r\nx\r\n").await;
    write(&mut attached, b"\x04").await;
    assert_eq!(s.ended(&id).await, 0);
    // ^C interrupts what handles it.
    let mut spec = interactive(
        s.sh("trap 'exit 9' INT; echo ready; sleep 1000 & wait"),
        true,
    );
    spec.config.tty = true;
    let id = s.create(spec).await;
    let mut attached = s.attach(&id, true).await;
    s.start(&id).await;
    read_until(&mut attached, "ready").await;
    write(&mut attached, b"\x03").await;
    assert_eq!(s.ended(&id).await, 9);
}

pub(super) async fn a_terminals_size(s: Subject) {
    let mut spec = interactive(s.sh("while read line; do stty size; done"), false);
    spec.config.tty = true;
    spec.host.console_size = Some([11, 22]);
    let id = s.create(spec).await;
    let mut attached = s.attach(&id, true).await;
    s.start(&id).await;
    write(&mut attached, b"\n").await;
    read_until(&mut attached, "11 22\r\n").await;
    for (rows, cols) in [(40, 120), (24, 81)] {
        let size = TerminalSize { rows, cols };
        soon("resize", s.runtime.resize_container(&id, size))
            .await
            .unwrap();
        write(&mut attached, b"\n").await;
        read_until(&mut attached, &format!("{rows} {cols}\r\n")).await;
    }
    s.kill(&id, "KILL").await;
    s.ended(&id).await;
    let size = TerminalSize { rows: 1, cols: 1 };
    refused!(
        s.runtime.resize_container(&id, size).await,
        InvalidState,
        "is not running"
    );
}

/// Whoever waits for the output of a start that fails learns that there is none.
pub(super) async fn a_failed_start_ends_the_streams(s: Subject) {
    let id = s.create(s.spec(&["/nosuch"])).await;
    let attached = s.attach(&id, false).await;
    assert!(s.runtime.start_container(&id).await.is_err());
    assert_eq!(read(attached).await.stdout, "");
}

pub(super) async fn removal_ends_the_streams(s: Subject) {
    let id = s.create(s.spec(&["true"])).await;
    let attached = s.attach(&id, false).await;
    s.remove(&id).await;
    assert_eq!(read(attached).await.stdout, "");
}
