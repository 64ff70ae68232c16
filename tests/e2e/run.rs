//! `docker run`: exit codes, streams, environment, user, entry point, names.

use coracle_tests::{Daemon, Terminal, docker_major, wait_until};

#[test]
fn exit_codes_are_the_containers_own() {
    let Some(d) = Daemon::start() else { return };
    for code in [0, 1, 42, 255] {
        d.fails(
            code,
            &[
                "run",
                "--rm",
                "busybox",
                "sh",
                "-c",
                &format!("exit {code}"),
            ],
        );
    }
    let none = d.fails(
        127,
        &["run", "--name", "none", "busybox", "no-such-command"],
    );
    none.says("executable file not found in $PATH");
    d.fails(127, &["run", "--rm", "busybox", "/no/such/file"])
        .says("no such file or directory");
    d.fails(126, &["run", "--rm", "busybox", "/etc/passwd"])
        .says("permission denied");
    let directory = d
        .docker(&["run", "--rm", "busybox", "/etc"])
        .says("is a directory");
    assert_eq!(
        directory.code,
        if docker_major() >= 23 { 126 } else { 125 },
        "{directory}"
    );
    // What didn't start is there still, with its exit code.
    assert_eq!(
        d.inspect("none", "{{.State.ExitCode}} {{.State.Status}}"),
        "127 created"
    );
    // By a signal of its own, below an init that passes it on.
    d.fails(
        137,
        &["run", "--rm", "--init", "busybox", "sh", "-c", "kill -9 $$"],
    );
    d.fails(
        143,
        &["run", "--rm", "--init", "busybox", "sh", "-c", "kill $$"],
    );
}

#[test]
fn the_daemons_own_errors_are_125() {
    let Some(d) = Daemon::start() else { return };
    d.fails(125, &["run", "--rm", "--pull", "never", "no-such-image"])
        .says("No such image");
    d.fails(125, &["run", "--rm", "127.0.0.1:1/none"])
        .says("Unable to find image");
    d.fails(
        125,
        &[
            "run", "--pull", "never", "--rm", "--network", "container:none", "busybox",
        ],
    )
    .says("No such container");
    d.fails(125, &["run", "--rm", "--network", "nowhere", "busybox"])
        .says("not found");
    d.fails(125, &["run", "--rm", "--runtime", "nosuch", "busybox"])
        .says("nosuch");
    d.fails(125, &["run", "--rm", "-u", "nosuch", "busybox"])
        .says("unable to find user nosuch");
    d.fails(125, &["run", "--rm", "--name", "no spaces", "busybox"])
        .says("Invalid container name");
    assert_eq!(
        d.ok(&["ps", "-aq"]),
        "",
        "nothing is left of containers that never were"
    );
}

#[test]
fn options_that_are_not_honoured_are_refused_by_name() {
    let Some(d) = Daemon::start() else { return };
    for (flags, word) in [
        (["--storage-opt", "size=1G"], "storage"),
        (["--log-driver", "syslog"], "syslog"),
        (["--gpus", "all"], "device"),
        (["--isolation", "hyperv"], "isolation"),
        (["--security-opt", "nonsense=1"], "nonsense"),
        (["--volume-driver", "nfs"], "VolumeDriver"),
        (["--ulimit", "nonsense=1"], "nonsense"),
        (["--sysctl", "kernel.panic=1"], "kernel.panic"),
        (["--cap-add", "NONSENSE"], "NONSENSE"),
        (["--log-opt", "nonsense=1"], "nonsense"),
    ] {
        let output = d.fails(125, &["run", "--rm", flags[0], flags[1], "busybox", "true"]);
        output.says(word);
    }
}

#[test]
fn streams_are_kept_apart_and_whole() {
    let Some(d) = Daemon::start() else { return };
    let both = d.docker(&[
        "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2",
    ]);
    assert_eq!(
        (both.stdout.as_str(), both.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(
        d.docker_in(&["run", "--rm", "-i", "busybox", "cat"], b"hello")
            .ok(),
        "hello"
    );
    let data: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let echoed = d
        .docker_in(&["run", "--rm", "-i", "busybox", "cat"], &data)
        .code(0);
    assert!(
        echoed.bytes == data,
        "{} bytes of {} came back",
        echoed.bytes.len(),
        data.len()
    );
    // Without -i there is no standard input to wait for.
    assert_eq!(
        d.docker_in(&["run", "--rm", "busybox", "cat"], b"unseen")
            .ok(),
        ""
    );
    // Much output, no line end, and an end right after it.
    let much = d.ok(&[
        "run", "--rm", "busybox", "sh", "-c", "seq 200000; printf end",
    ]);
    assert_eq!(much.lines().count(), 200_001);
    assert!(much.ends_with("200000\nend"));
    // Only what is attached is shown.
    let one = d.docker(&[
        "run", "--rm", "-a", "stderr", "busybox", "sh", "-c", "echo o; echo e >&2",
    ]);
    assert_eq!((one.stdout.as_str(), one.stderr.as_str()), ("", "e\n"));
}

#[test]
fn environment() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    let file = d.dir().join("env");
    std::fs::write(&file, "# a comment\nFILE=from file\nPASSED\n").unwrap();
    let mut command = d.docker_command(&[
        "run",
        "--rm",
        "-e",
        "A=1 2",
        "-e",
        "PASSED",
        "-e",
        "UNSET",
        "--env-file",
        &file.to_string_lossy(),
        "busybox",
        "env",
    ]);
    command.env("PASSED", "through").env_remove("UNSET");
    let env = coracle_tests::output::run(&mut command, b"").ok();
    let has = |line: &str| env.lines().any(|other| other == line);
    assert!(
        has("A=1 2") && has("PASSED=through") && has("FILE=from file"),
        "{env}"
    );
    assert!(
        has("HOME=/root") && env.contains("PATH=/usr/local/sbin:"),
        "{env}"
    );
    assert!(!env.contains("UNSET") && !env.contains("TERM="), "{env}");
    assert!(
        env.lines()
            .any(|line| line.starts_with("HOSTNAME=") && line.len() == 21),
        "{env}"
    );
    let image = d.ok(&[
        "run", "--rm", "-e", "FROM=command", "configured:user", "/bin/env",
    ]);
    assert!(
        image.contains("FROM=command") && image.contains("PATH=/bin"),
        "{image}"
    );
}

#[test]
fn users_groups_and_homes() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    let id = |flags: &[&str]| d.sh(flags, "id; echo $HOME");
    assert!(id(&[]).starts_with("uid=0(root) gid=0(root)"));
    assert_eq!(
        id(&["-u", "www-data"]),
        "uid=33(www-data) gid=33(www-data) groups=33(www-data)\n/var/www"
    );
    assert!(
        id(&["-u", "operator"]).contains("4(adm),6(disk)"),
        "{}",
        id(&["-u", "operator"])
    );
    assert!(id(&["-u", "1234"]).starts_with("uid=1234 gid=0(root)"));
    assert!(id(&["-u", "1234:5678"]).starts_with("uid=1234 gid=5678"));
    assert!(id(&["-u", "www-data:users"]).starts_with("uid=33(www-data) gid=100(users)"));
    assert!(
        id(&["-u", "1", "--group-add", "users", "--group-add", "777"]).contains("100(users),777")
    );
    let image = d.ok(&["run", "--rm", "configured:user", "sh", "-c", "id -un; pwd"]);
    assert_eq!(image, "www-data\n/work/deep");
    assert!(
        d.ok(&["run", "--rm", "-u", "0", "configured:user", "id"])
            .starts_with("uid=0")
    );
}

#[test]
fn working_directories_are_made() {
    let Some(d) = Daemon::start() else { return };
    assert_eq!(d.sh(&["-w", "/made/by/docker"], "pwd"), "/made/by/docker");
    assert_eq!(d.sh(&["-w", "/tmp"], "pwd"), "/tmp");
    d.fails(125, &["run", "--rm", "-w", "relative", "busybox", "pwd"])
        .says("relative");
    d.fails(125, &["run", "--rm", "-w", "/etc/passwd", "busybox", "pwd"])
        .says("not a directory");
}

#[test]
fn entry_points() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    assert_eq!(d.ok(&["run", "--rm", "configured:entry"]), "entry default");
    assert_eq!(
        d.ok(&["run", "--rm", "configured:entry", "own", "words"]),
        "entry own words"
    );
    assert_eq!(
        d.ok(&[
            "run", "--rm", "--entrypoint", "id", "configured:entry", "-u"
        ]),
        "0"
    );
    // Another entry point drops the image's command; an empty one resets it.
    assert_eq!(
        d.ok(&[
            "run", "--rm", "--entrypoint", "/bin/echo", "configured:entry"
        ]),
        ""
    );
    assert_eq!(
        d.ok(&[
            "run", "--rm", "--entrypoint", "", "configured:entry", "echo", "x"
        ]),
        "x"
    );
    d.fails(
        125,
        &["run", "--rm", "--entrypoint", "", "configured:entry"],
    )
    .says("no command specified");
}

#[test]
fn names_ids_and_removal() {
    let Some(d) = Daemon::start() else { return };
    let cidfile = d.dir().join("cid");
    let id = d.sleeper(&["--name", "one", "--cidfile", &cidfile.to_string_lossy()]);
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(std::fs::read_to_string(cidfile).unwrap(), id);
    let conflict = d.fails(125, &["run", "--name", "one", "busybox"]);
    conflict.says(&format!(
        "Conflict. The container name \"/one\" is already in use by container \"{id}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    ));
    // By any beginning that is one container's only.
    assert_eq!(d.inspect(&id[..6], "{{.Name}}"), "/one");
    d.fails(1, &["rm", "one"])
        .says("container is running: stop the container before removing or force remove");
    assert_eq!(d.ok(&["rm", "-f", "one"]), "one");
    d.fails(1, &["rm", "one"]).says("No such container: one");
    // --rm, in the foreground and detached.
    d.ok(&["run", "--rm", "--name", "gone", "busybox", "true"]);
    d.ok(&[
        "run", "-d", "--rm", "--name", "soon", "busybox", "sleep", "0.2",
    ]);
    wait_until("both are removed", || d.ok(&["ps", "-aq"]).is_empty());
    // The name is free again at once.
    for _ in 0..5 {
        d.ok(&["run", "--rm", "--name", "again", "busybox", "true"]);
    }
    let generated = d.ok(&["create", "busybox"]);
    let name = d.inspect(&generated, "{{.Name}}");
    assert!(name.contains('_') && name.len() > 4, "{name}");
}

#[test]
fn a_terminal() {
    let Some(d) = Daemon::start() else { return };
    let mut terminal = Terminal::start(&d.docker_command(&[
        "run",
        "--rm",
        "-it",
        "--name",
        "tty",
        "busybox",
        "sh",
        "-c",
        "tty; echo TERM=$TERM; read line; stty size; echo got $line; exit 3",
    ]));
    terminal.expect("/dev/pts/0\r\n");
    terminal.expect("TERM=xterm");
    wait_until("the size arrives", || {
        terminal.resize(101, 37);
        d.docker(&["exec", "tty", "sh", "-c", "stty size </dev/pts/0"])
            .stdout
            .trim()
            == "37 101"
    });
    terminal.send("words\n");
    terminal.expect("37 101");
    terminal.expect("got words");
    assert_eq!(terminal.wait(), 3);
    // Both streams are one.
    let mut terminal =
        Terminal::start(&d.docker_command(&["run", "--rm", "-t", "busybox", "ls", "/nothing"]));
    terminal.expect("No such file or directory");
    assert_eq!(terminal.wait(), 1);
}

#[test]
fn interrupting_the_client_stops_the_container() {
    let Some(d) = Daemon::start() else { return };
    let mut terminal = Terminal::start(&d.docker_command(&[
        "run",
        "--rm",
        "-it",
        "busybox",
        "sh",
        "-c",
        "trap 'echo trapped; exit 9' INT; echo ready; while :; do sleep 0.1; done",
    ]));
    terminal.expect("ready");
    terminal.send("\x03");
    terminal.expect("trapped");
    assert_eq!(terminal.wait(), 9);
    // Without a terminal the client passes its signals on.
    let mut command = d.docker_command(&[
        "run", "--rm", "--name", "proxied", "busybox", "sh", "-c",
        "trap 'exit 8' TERM; while :; do sleep 0.1; done",
    ]);
    let mut child = command.spawn().unwrap();
    d.until("proxied", "{{.State.Running}}", "true");
    // The client listens for signals a moment after the start.
    std::thread::sleep(std::time::Duration::from_millis(300));
    coracle_tests::leak::kill(child.id().cast_signed(), rustix::process::Signal::TERM);
    let code = coracle_tests::output::wait(&mut child, std::time::Duration::from_secs(20));
    assert_eq!(code, Some(8));
}

#[test]
fn an_init_reaps_and_forwards() {
    let Some(d) = Daemon::start() else { return };
    let pids = d.sh(
        &["--init"],
        "cat /proc/1/comm; (sleep 0 &) ; sleep 0.5; ps -o stat,comm | grep -c '^Z' || true",
    );
    let mut lines = pids.lines();
    assert_ne!(lines.next(), Some("sh"), "{pids}");
    assert_eq!(lines.next(), Some("0"), "no zombie: {pids}");
    let id = d.sleeper(&["--init"]);
    let begun = std::time::Instant::now();
    d.ok(&["stop", &id]);
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(9),
        "init passes SIGTERM on"
    );
    assert_eq!(d.inspect(&id, "{{.State.ExitCode}}"), "143");
}

#[test]
fn labels_annotations_and_stop_settings_are_kept() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    let file = d.dir().join("labels");
    std::fs::write(&file, "from.file=yes\n").unwrap();
    let id = d.ok(&[
        "create",
        "-l",
        "own=1",
        "--label-file",
        &file.to_string_lossy(),
        "--stop-signal",
        "SIGINT",
        "--stop-timeout",
        "3",
        "-h",
        "named",
        "--domainname",
        "example.org",
        "configured:labels",
    ]);
    assert_eq!(
        d.inspect(&id, r#"{{index .Config.Labels "org.example.two"}}"#),
        "two words"
    );
    assert_eq!(
        d.inspect(
            &id,
            r#"{{.Config.Labels.own}} {{index .Config.Labels "from.file"}}"#
        ),
        "1 yes"
    );
    if docker_major() >= 24 {
        let noted = d.ok(&["create", "--annotation", "note=x", "busybox"]);
        assert_eq!(d.inspect(&noted, "{{.HostConfig.Annotations.note}}"), "x");
    }
    assert_eq!(
        d.inspect(&id, "{{.Config.StopSignal}} {{.Config.StopTimeout}}"),
        "SIGINT 3"
    );
    assert_eq!(
        d.inspect(&id, "{{.Config.Hostname}}.{{.Config.Domainname}}"),
        "named.example.org"
    );
}

#[test]
fn fifty_at_once() {
    let Some(d) = Daemon::start() else { return };
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..50)
            .map(|n| {
                let d = &d;
                scope.spawn(move || {
                    let script = format!("echo {n}; exit {n}");
                    d.docker(&[
                        "run", "--rm", "--network", "none", "busybox", "sh", "-c", &script,
                    ])
                })
            })
            .collect();
        for (n, run) in runs.into_iter().enumerate() {
            let output = run.join().unwrap().code(i32::try_from(n).unwrap());
            assert_eq!(output.stdout.trim(), n.to_string());
        }
    });
    wait_until("all are removed", || d.ok(&["ps", "-aq"]).is_empty());
}
