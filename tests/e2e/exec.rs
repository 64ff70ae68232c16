//! `docker exec`.

use coracle_tests::{Daemon, Terminal, wait_until};

#[test]
fn streams_and_codes() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&[]);
    for code in [0, 1, 42] {
        d.fails(code, &["exec", &id, "sh", "-c", &format!("exit {code}")]);
    }
    d.fails(127, &["exec", &id, "no-such-command"])
        .mentions("executable file not found in $PATH");
    d.fails(126, &["exec", &id, "/etc/passwd"])
        .mentions("permission denied");
    d.fails(137, &["exec", &id, "sh", "-c", "kill -9 $$"]);
    let both = d.docker(&["exec", &id, "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(
        (both.stdout.as_str(), both.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(
        d.docker_in(&["exec", "-i", &id, "cat"], b"through").ok(),
        "through"
    );
    assert_eq!(d.docker_in(&["exec", &id, "cat"], b"unseen").ok(), "");
    let data = vec![b'x'; 2_000_000];
    assert_eq!(
        d.docker_in(&["exec", "-i", &id, "wc", "-c"], &data).ok(),
        "2000000"
    );
    d.fails(1, &["exec", "nobody", "true"])
        .says("No such container: nobody");
}

#[test]
fn settings() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&["-e", "OWN=container", "-w", "/tmp", "-u", "33"]);
    assert_eq!(
        d.ok(&["exec", &id, "sh", "-c", "id -u; pwd; echo $OWN $HOME"]),
        "33\n/tmp\ncontainer /var/www"
    );
    let line = [
        "exec", "-u", "operator:users", "-w", "/etc", "-e", "OWN=exec", "-e", "NEW=1", &id, "sh",
        "-c",
    ];
    let shown = d.ok(&[&line[..], &["id -un; id -gn; pwd; echo $OWN $NEW $HOME"]].concat());
    assert_eq!(shown, "operator\nusers\n/etc\nexec 1 /var");
    d.fails(126, &["exec", "-u", "nosuch", &id, "true"])
        .mentions("unable to find user nosuch");
    let missing = d.docker(&["exec", "-w", "/no/such", &id, "pwd"]);
    assert_ne!(missing.code, 0, "{missing}");
    let powers = d.ok(&[
        "exec", "--privileged", "-u", "0", &id, "grep", "CapEff", "/proc/self/status",
    ]);
    assert!(!powers.ends_with("a80425fb"), "{powers}");
}

#[test]
fn it_is_in_the_container() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&["--pids-limit", "50"]);
    for kind in ["pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let seen = |pid: &str| d.ok(&["exec", &id, "readlink", &format!("/proc/{pid}/ns/{kind}")]);
        assert_eq!(seen("self"), seen("1"), "{kind}");
    }
    d.ok(&["exec", "-d", &id, "sleep", "500"]);
    let count: u32 = d
        .cgroup_file(&id, "pids/pids.current", "pids.current")
        .parse()
        .unwrap();
    assert_eq!(count, 2);
    let status = d.ok(&[
        "exec", &id, "grep", "-E", "^(Seccomp|CapEff|CapBnd):", "/proc/self/status",
    ]);
    assert_eq!(
        status,
        "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nSeccomp:\t2"
    );
}

#[test]
fn a_terminal() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&[]);
    let mut terminal = Terminal::start(&d.docker_command(&["exec", "-it", &id, "sh"]));
    terminal.send("tty; stty size; echo TERM=$TERM\n");
    terminal.expect("/dev/pts/");
    terminal.expect("24 80");
    terminal.expect("TERM=xterm");
    wait_until("the size arrives", || {
        terminal.resize(99, 33);
        terminal.send("stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        terminal.screen().contains("33 99")
    });
    terminal.send("exit 12\n");
    assert_eq!(terminal.wait(), 12);
    let mut left = Terminal::start(&d.docker_command(&["exec", "-it", &id, "sh"]));
    left.send("echo in-$((2+2))\n");
    left.expect("in-4");
    left.send("\x10\x11");
    left.wait();
    assert_eq!(d.inspect(&id, "{{.State.Running}}"), "true");
}

#[test]
fn detached() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&[]);
    assert_eq!(
        d.ok(&[
            "exec", "-d", &id, "sh", "-c", "sleep 0.3; echo done >/tmp/mark"
        ]),
        ""
    );
    wait_until("it has run", || {
        d.docker(&["exec", &id, "cat", "/tmp/mark"]).stdout == "done\n"
    });
}

#[test]
fn only_where_something_runs() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&["create", "busybox", "sleep", "100"]);
    d.fails(1, &["exec", &id, "true"]).says("is not running");
    d.ok(&["start", &id]);
    d.ok(&["pause", &id]);
    d.fails(1, &["exec", &id, "true"])
        .says("is paused, unpause the container before exec");
    d.ok(&["unpause", &id]);
    d.ok(&["exec", &id, "true"]);
    // Execs end with the container.
    let mut command = d.docker_command(&["exec", &id, "sleep", "500"]);
    let mut child = command.spawn().unwrap();
    wait_until("it runs", || d.ok(&["top", &id]).contains("sleep 500"));
    d.ok(&["kill", &id]);
    let code = coracle_tests::output::wait(&mut child, std::time::Duration::from_secs(20));
    assert_eq!(code, Some(137));
}

#[test]
fn many_at_once() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&[]);
    std::thread::scope(|scope| {
        for n in 0..20 {
            let (d, id) = (&d, &id);
            scope.spawn(move || {
                let output = d.docker(&["exec", id, "sh", "-c", &format!("echo {n}; exit {n}")]);
                assert_eq!(output.code(n).stdout, format!("{n}\n"));
            });
        }
    });
}

#[test]
fn they_can_be_inspected() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&[]);
    let body = serde_json::json!({"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": true});
    let made = d.api("POST", &format!("/v1.47/containers/{id}/exec"), Some(&body));
    assert_eq!(made.status, 201, "{}", made.text());
    let exec = made.json()["Id"].as_str().unwrap().to_owned();
    let before = d
        .api("GET", &format!("/v1.47/exec/{exec}/json"), None)
        .json();
    assert_eq!(
        (before["Running"].as_bool(), &before["ExitCode"]),
        (Some(false), &serde_json::Value::Null)
    );
    let start = serde_json::json!({"Detach": true});
    assert_eq!(
        d.api("POST", &format!("/v1.47/exec/{exec}/start"), Some(&start))
            .status,
        200
    );
    wait_until("it ends", || {
        d.api("GET", &format!("/v1.47/exec/{exec}/json"), None)
            .json()["ExitCode"]
            == 3
    });
    let _ = d
        .api("POST", &format!("/v1.47/exec/{exec}/start"), Some(&start))
        .error(409);
    let _ = d.api("GET", "/v1.47/exec/none/json", None).error(404);
}
