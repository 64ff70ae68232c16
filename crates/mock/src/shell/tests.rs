//! The shell on scripts.

use std::sync::{Arc, Mutex};

use super::*;
use crate::fs::{Fs, Node};
use crate::process::Processes;

/// Runs a script; gives its output, errors and exit code.
async fn sh(script: &str) -> (String, String, i32) {
    let mut fs = Fs {
        root: crate::images::base::busybox(),
        ..Fs::default()
    };
    fs.root.put(
        "/script",
        Node::file("#!/bin/sh\necho script $1 $0\n", 0o755),
    );
    fs.root.put("/data", Node::file("data", 0o755));
    let world = Arc::new(World {
        fs: Arc::new(Mutex::new(fs)),
        processes: Arc::new(Processes::default()),
        hostname: "host".into(),
    });
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let process = world.processes.add(0, &argv, true);
    let (out, err) = (
        Arc::<Mutex<Vec<u8>>>::default(),
        Arc::<Mutex<Vec<u8>>>::default(),
    );
    let env = Env {
        world,
        target: process.target.clone(),
        vars: [("HOME".to_owned(), ("/root".to_owned(), true))].into(),
        cwd: "/".into(),
        user: User::default(),
        tty: None,
        io: Io {
            stdin: Source::bytes("line 1\nline 2\n".into()),
            stdout: Sink::Buffer(out.clone()),
            stderr: Sink::Buffer(err.clone()),
        },
    };
    let code = run(env, argv, process).await;
    let text = |buffer: &Mutex<Vec<u8>>| String::from_utf8(buffer.lock().unwrap().clone()).unwrap();
    (text(&out), text(&err), code)
}

async fn prints(script: &str, expected: &str) {
    let (out, err, _) = sh(script).await;
    assert_eq!(out, expected, "{script}: {err}");
}

async fn exits(script: &str, expected: i32) {
    let (_, err, code) = sh(script).await;
    assert_eq!(code, expected, "{script}: {err}");
}

#[tokio::test]
async fn exit_codes() {
    for (script, code) in [
        ("true", 0),
        ("false", 1),
        ("exit 42", 42),
        ("exit 300", 44),
        ("false; true", 0),
        ("false || exit 3", 3),
        ("true && false", 1),
        ("! true", 1),
        ("(exit 5)", 5),
        ("(exit 5); exit $?", 5),
        ("nosuch", 127),
        ("/nosuch", 127),
        ("/etc/passwd", 126),
        ("/data", 126),
        ("/bin/busybox false", 1),
        ("set -e; false; exit 9", 1),
        ("if", 2),
        ("echo 'open", 2),
        ("kill -9 $$; exit 4", 4),
        ("sleep 100 & kill $!; wait $!", 143),
        ("sleep 100 & kill -9 $!; wait $!; exit $?", 137),
        ("trap 'exit 3' TERM; kill $$; exit 1", 3),
        ("trap 'exit 3' USR1; (sleep 0.01; kill -USR1 1) & wait", 3),
        ("trap '' TERM; kill $$; exit 7", 7),
    ] {
        exits(script, code).await;
    }
}

#[tokio::test]
async fn words_are_expanded() {
    for (script, out) in [
        ("echo a   'b  c' \"d  $HOME\"", "a b  c d  /root\n"),
        ("A='x  y'; echo $A; echo \"$A\"", "x y\nx  y\n"),
        ("echo $((1 + 2)) ${NOPE:-default}", "3 default\n"),
        ("echo $(echo a; echo b) \"$(echo c)\"", "a b c\n"),
        ("echo -n a; echo -e 'b\\tc'", "ab\tc\n"),
        ("printf '%s=%d\\n' a 1 b 2", "a=1\nb=2\n"),
        ("A=1 env | grep A=", "A=1\n"),
        ("export B=2; sh -c 'echo $B $A'", "2\n"),
        ("sh -c 'echo $1 \"$@\" $#' name 'a b' c", "a b a b c 2\n"),
        ("/script x", "script x /script\n"),
        ("echo a # comment\necho b", "a\nb\n"),
        ("cd /etc && pwd; [ -f passwd ] && echo yes", "/etc\nyes\n"),
    ] {
        prints(script, out).await;
    }
}

#[tokio::test]
async fn compound_commands() {
    for (script, out) in [
        (
            "for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done",
            "1\n3\n",
        ),
        (
            "i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo $i; done",
            "1\n2\n3\n",
        ),
        ("while true; do break; done; echo out", "out\n"),
        (
            "if false; then echo a; elif true; then echo b; else echo c; fi",
            "b\n",
        ),
        ("{ echo a; echo b; } | wc -l", "2\n"),
        (
            "while read line; do echo \"<$line>\"; done",
            "<line 1>\n<line 2>\n",
        ),
    ] {
        prints(script, out).await;
    }
}

#[tokio::test]
async fn streams_are_redirected() {
    for (script, out) in [
        ("cat", "line 1\nline 2\n"),
        ("head -n 1 | cat", "line 1\n"),
        ("echo x > /f; echo y >> /f; cat < /f", "x\ny\n"),
        (
            "echo lost > /dev/null; nosuch 2>&1",
            "sh: nosuch: not found\n",
        ),
        ("yes | head -2", "y\ny\n"),
        ("seq 3 | tail -n 1", "3\n"),
        ("cat /nope || echo failed", "failed\n"),
        ("echo x > /nope/f || echo failed", "failed\n"),
        (
            "tty; stty size 2>/dev/null || echo none",
            "not a tty\nnone\n",
        ),
    ] {
        prints(script, out).await;
    }
    let (out, err, _) = sh("echo out; echo err >&2").await;
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
}

#[tokio::test]
async fn files_are_changed() {
    for (script, out) in [
        (
            "mkdir -p /a/b; touch /a/b/c; ls /a/b; rm -r /a; ls /a || echo gone",
            "c\ngone\n",
        ),
        (
            "ln -s /etc/passwd /l; readlink /l; cp /etc/group /g; mv /g /h; ls /h",
            "/etc/passwd\n/h\n",
        ),
        ("rm /nope; rm -f /nope; echo $?", "0\n"),
        ("echo 'echo hi' > /s; chmod 755 /s; sh /s", "hi\n"),
        ("id -u; whoami; hostname", "0\nroot\nhost\n"),
    ] {
        prints(script, out).await;
    }
}
