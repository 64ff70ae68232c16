//! `docker attach` and `docker start -a`, and leaving again.

use std::io::Write;
use std::process::Stdio;

use coracle_tests::{Daemon, Terminal, output};

#[test]
fn detach_keys_leave_it_running() {
    let Some(d) = Daemon::start() else { return };
    let mut terminal =
        Terminal::start(&d.docker_command(&["run", "-it", "--name", "kept", "busybox", "sh"]));
    terminal.send("echo first-$((1+1))\n");
    terminal.expect("first-2");
    terminal.send("\x10\x11");
    assert_eq!(terminal.wait(), 0);
    assert_eq!(d.inspect("kept", "{{.State.Running}}"), "true");
    let mut again =
        Terminal::start(&d.docker_command(&["attach", "--detach-keys", "ctrl-a,x", "kept"]));
    again.send("echo second-$((1+2))\n");
    again.expect("second-3");
    // The first key alone is passed on.
    again.send("\x01");
    again.send("x");
    // Where `run` is content, `attach` says "read escape sequence" and fails.
    assert_eq!(again.wait(), 1);
    assert_eq!(d.inspect("kept", "{{.State.Running}}"), "true");
    let mut last = Terminal::start(&d.docker_command(&["attach", "kept"]));
    last.send("exit 5\n");
    assert_eq!(last.wait(), 5);
}

#[test]
fn attach_shows_what_comes_and_the_exit_code() {
    let Some(d) = Daemon::start() else { return };
    let script = "read line; echo got $line; echo wrong >&2; exit 6";
    let id = d.ok(&[
        "run", "-d", "-i", "--network", "none", "busybox", "sh", "-c", script,
    ]);
    // As with docker, the client that closes its standard input is shown no more: this one doesn't.
    let mut command = d.docker_command(&["attach", &id]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"words\n").unwrap();
    let output = output::finish(child, "attach".into(), Vec::new()).code(6);
    drop(stdin);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("got words\n", "wrong\n")
    );
    d.fails(1, &["attach", &id])
        .says("cannot attach to a stopped container");
    d.fails(1, &["attach", "nobody"])
        .says("No such container: nobody");
}

#[test]
fn start_attached() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&["create", "busybox", "sh", "-c", "echo ran; exit 4"]);
    for _ in 0..3 {
        assert_eq!(d.fails(4, &["start", "-a", &id]).stdout, "ran\n");
    }
    let cat = d.ok(&["create", "-i", "busybox", "cat"]);
    assert_eq!(
        d.docker_in(&["start", "-ai", &cat], b"to and fro")
            .code(0)
            .stdout,
        "to and fro"
    );
    assert_eq!(d.ok(&["logs", &id]), "ran\nran\nran");
}

#[test]
fn several_clients_see_the_same() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "-i", "busybox", "sh", "-c", "read line; seq 5000; sleep 0.2",
    ]);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut command = d.docker_command(&["attach", "--no-stdin", &id]);
            command.stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(700));
    d.docker_in(&["attach", &id], b"go\n").code(0);
    for reader in readers {
        let output = output::finish(reader, "attach".into(), Vec::new()).code(0);
        assert_eq!(output.stdout.lines().count(), 5000);
    }
}

#[test]
fn a_client_that_goes_away_does_no_harm() {
    let Some(d) = Daemon::start() else { return };
    let mut command = d.docker_command(&[
        "run", "--name", "left", "busybox", "sh", "-c", "while :; do echo x; done",
    ]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    d.until("left", "{{.State.Running}}", "true");
    let _ = child.kill();
    let _ = child.wait();
    let lines = || d.ok(&["logs", "--tail", "1", "left"]);
    assert_eq!(lines(), "x");
    assert_eq!(d.inspect("left", "{{.State.Running}}"), "true");
    d.ok(&["kill", "left"]);
}
