//! Further processes in running containers.

use futures_util::StreamExt;

use super::super::Subject;
use super::super::attached::{close, read, read_until, write};
use super::super::support::{fails_saying, refused, soon};
use super::super::told::event;
use crate::exec::StartExec;
use crate::io::TerminalSize;

pub(super) async fn exit_codes(s: Subject) {
    let id = s.sleeper().await;
    for (script, expected) in [
        ("true", 0),
        ("exit 1", 1),
        ("exit 42", 42),
        ("kill -9 $$", 137),
    ] {
        let done = s.exec(&id, s.exec_spec(&["sh", "-c", script])).await;
        assert_eq!(done.code, expected, "{script}");
    }
}

pub(super) async fn both_streams(s: Subject) {
    let id = s.sleeper().await;
    let done = s
        .exec(&id, s.exec_spec(&["sh", "-c", "echo out; echo err >&2"]))
        .await;
    assert_eq!(
        (done.stdout.as_str(), done.stderr.as_str()),
        ("out\n", "err\n")
    );
    // None of it is the container's.
    assert!(s.logged(&id).await.is_empty());
    // Only what is asked for.
    let mut spec = s.exec_spec(&["sh", "-c", "echo out; echo err >&2"]);
    spec.attach_stderr = false;
    let done = s.exec(&id, spec).await;
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", ""));
}

pub(super) async fn its_life_as_inspected(s: Subject) {
    let id = s.sleeper().await;
    let mut spec = s.exec_spec(&["cat"]);
    spec.attach_stdin = true;
    let exec = s.create_exec(&id, spec.clone()).await;
    let before = s.runtime.inspect_exec(&exec).await.unwrap();
    assert_eq!(
        (before.id.as_str(), before.container_id.as_str()),
        (exec.as_str(), id.as_str())
    );
    assert_eq!(
        (before.running, before.exit_code, before.pid),
        (false, None, 0)
    );
    assert_eq!(before.spec, spec);
    let mut attached = s.start_exec(&exec).await;
    let during = s.runtime.inspect_exec(&exec).await.unwrap();
    assert!(
        during.running && during.pid > 0 && during.exit_code.is_none(),
        "{during:?}"
    );
    assert!(s.inspect(&id).await.exec_ids.contains(&exec));
    refused!(
        s.runtime.start_exec(&exec, StartExec::default()).await,
        InvalidState,
        "already running"
    );
    write(&mut attached, b"x").await;
    close(&mut attached).await;
    assert_eq!(read(attached).await.stdout, "x");
    assert_eq!(s.exec_ended(&exec).await, 0);
    assert_eq!(s.runtime.inspect_exec(&exec).await.unwrap().pid, 0);
    refused!(
        s.runtime.start_exec(&exec, StartExec::default()).await,
        InvalidState,
        "has already run"
    );
    s.until(&id, "the exec is forgotten", |container| {
        !container.exec_ids.contains(&exec)
    })
    .await;
}

pub(super) async fn input_comes_back_up_to_its_end(s: Subject) {
    let id = s.sleeper().await;
    let mut spec = s.exec_spec(&["cat"]);
    spec.attach_stdin = true;
    let exec = s.create_exec(&id, spec).await;
    let mut attached = s.start_exec(&exec).await;
    write(&mut attached, b"one\n").await;
    read_until(&mut attached, "one\n").await;
    close(&mut attached).await;
    assert_eq!(read(attached).await.stdout, "");
    assert_eq!(s.exec_ended(&exec).await, 0);
    // Without an attached input there is none.
    let done = s.exec(&id, s.exec_spec(&["cat"])).await;
    assert_eq!((done.stdout.as_str(), done.code), ("", 0));
}

pub(super) async fn a_terminal(s: Subject) {
    let id = s.sleeper().await;
    let mut spec = s.exec_spec(&["sh", "-c", "tty; while read line; do stty size; done"]);
    spec.tty = true;
    spec.attach_stdin = true;
    spec.console_size = Some([11, 22]);
    let exec = s.create_exec(&id, spec).await;
    let mut attached = s.start_exec(&exec).await;
    assert!(attached.tty);
    read_until(&mut attached, "/dev/pts/").await;
    write(&mut attached, b"\n").await;
    read_until(&mut attached, "11 22\r\n").await;
    let size = TerminalSize { rows: 33, cols: 44 };
    soon("resize", s.runtime.resize_exec(&exec, size))
        .await
        .unwrap();
    write(&mut attached, b"\n").await;
    read_until(&mut attached, "33 44\r\n").await;
    write(&mut attached, b"\x04").await;
    s.exec_ended(&exec).await;
    refused!(
        s.runtime.resize_exec(&exec, size).await,
        InvalidState,
        "is not running"
    );
}

pub(super) async fn environment_directory_and_user(s: Subject) {
    let mut container = s.spec(&["sleep", "1000"]);
    container.config.env = vec!["A=1".into(), "B=2".into()];
    container.config.user = "daemon".into();
    container.config.working_dir = "/tmp".into();
    let id = s.launch(container).await;
    let script = ["sh", "-c", "echo $A$B $(pwd) $(id -u):$(id -g)"];
    let done = s.exec(&id, s.exec_spec(&script)).await;
    assert_eq!(done.stdout, "12 /tmp 1:1\n", "the container's");
    let mut spec = s.exec_spec(&script);
    spec.env = vec!["B=3".into()];
    spec.working_dir = "/etc".into();
    spec.user = "nobody".into();
    let done = s.exec(&id, spec).await;
    assert_eq!(done.stdout, "13 /etc 65534:65534\n", "its own");
    let mut spec = s.exec_spec(&script);
    spec.user = "0".into();
    assert_eq!(s.exec(&id, spec).await.stdout, "12 /tmp 0:0\n");
}

pub(super) async fn what_cannot_run(s: Subject) {
    let id = s.sleeper().await;
    for (command, words, expected) in [
        ("nosuch-command", "executable file not found in $PATH", 127),
        ("/nosuch", "no such file or directory", 127),
        ("/etc/passwd", "permission denied", 126),
    ] {
        let exec = s.create_exec(&id, s.exec_spec(&[command])).await;
        let result = s.runtime.start_exec(&exec, StartExec::default()).await;
        refused!(result, InvalidArgument, words);
        assert_eq!(s.exec_ended(&exec).await, expected, "{command}");
    }
    refused!(
        s.runtime.create_exec(&id, s.exec_spec(&[])).await,
        InvalidArgument,
        "no exec command"
    );
    let mut spec = s.exec_spec(&["true"]);
    spec.user = "nosuch".into();
    let result = match s.runtime.create_exec(&id, spec).await {
        Ok(exec) => s
            .runtime
            .start_exec(&exec, StartExec::default())
            .await
            .map(drop),
        Err(error) => Err(error),
    };
    fails_saying("unable to find user nosuch", result);
}

pub(super) async fn detached(s: Subject) {
    let id = s.sleeper().await;
    let exec = s
        .create_exec(
            &id,
            s.exec_spec(&["sh", "-c", "echo lost; touch /done; exit 5"]),
        )
        .await;
    let start = StartExec {
        detach: true,
        ..StartExec::default()
    };
    let streams = soon("start exec", s.runtime.start_exec(&exec, start))
        .await
        .unwrap();
    assert!(streams.is_none());
    assert_eq!(s.exec_ended(&exec).await, 5);
    assert_eq!(
        s.exec(&id, s.exec_spec(&["test", "-f", "/done"]))
            .await
            .code,
        0
    );
}

pub(super) async fn the_containers_end_ends_it(s: Subject) {
    let id = s.sleeper().await;
    let exec = s.create_exec(&id, s.exec_spec(&["sleep", "1000"])).await;
    let idle = s.create_exec(&id, s.exec_spec(&["true"])).await;
    let mut attached = s.start_exec(&exec).await;
    s.kill(&id, "KILL").await;
    s.ended(&id).await;
    assert!(soon("the end", attached.output.next()).await.is_none());
    assert_eq!(s.exec_ended(&exec).await, 137);
    assert!(s.inspect(&id).await.exec_ids.is_empty());
    refused!(
        s.runtime.start_exec(&idle, StartExec::default()).await,
        InvalidState
    );
    s.remove(&id).await;
    refused!(s.runtime.inspect_exec(&exec).await, NotFound);
}

pub(super) async fn detaching_leaves_it_alone(s: Subject) {
    let id = s.sleeper().await;
    let exec = s
        .create_exec(
            &id,
            s.exec_spec(&["sh", "-c", "echo x; sleep 0.3; touch /done; exit 4"]),
        )
        .await;
    let mut attached = s.start_exec(&exec).await;
    read_until(&mut attached, "x\n").await;
    let mut listener = s.listen();
    drop(attached);
    s.runtime.detach_exec(&exec).await.unwrap();
    let told = event(&mut listener, &id, "exec_detach").await;
    assert_eq!(told.attributes["execID"], exec);
    refused!(s.runtime.detach_exec("none").await, NotFound);
    assert_eq!(s.exec_ended(&exec).await, 4);
    assert_eq!(
        s.exec(&id, s.exec_spec(&["test", "-f", "/done"]))
            .await
            .code,
        0
    );
}

pub(super) async fn events(s: Subject) {
    let id = s.sleeper().await;
    let mut listener = s.listen();
    let exec = s
        .create_exec(&id, s.exec_spec(&["sh", "-c", "exit 9"]))
        .await;
    read(s.start_exec(&exec).await).await;
    for action in [
        "exec_create: sh -c exit 9",
        "exec_start: sh -c exit 9",
        "exec_die",
    ] {
        let told = event(&mut listener, &id, action).await;
        assert_eq!(told.attributes["execID"], exec, "{action}");
        if action == "exec_die" {
            assert_eq!(told.attributes["exitCode"], "9");
        }
    }
}

pub(super) async fn many_at_once(s: Subject) {
    let id = s.sleeper().await;
    let execs = (0..20).map(|n| {
        let (s, id) = (s.clone(), id.clone());
        async move {
            let script = format!("echo {n}; exit {n}");
            let done = s.exec(&id, s.exec_spec(&["sh", "-c", &script])).await;
            assert_eq!((done.stdout, done.code), (format!("{n}\n"), n));
        }
    });
    futures_util::future::join_all(execs).await;
}
