//! `coracle`, the project's own command line, against a real daemon.

use coracle_tests::fixture::binary;
use coracle_tests::{Daemon, Output, Terminal, output, wait_until};

fn command(d: &Daemon, args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(binary("coracle"));
    command.args(args).env("CORACLE_HOST", d.host());
    command
        .env("DOCKER_CONFIG", d.dir().join("config"))
        .env_remove("DOCKER_HOST");
    command
}

pub(crate) fn coracle(d: &Daemon, args: &[&str]) -> Output {
    output::run(&mut command(d, args), b"")
}

#[test]
fn run_and_its_exit_codes() {
    let Some(d) = Daemon::start() else { return };
    for code in [0, 1, 42] {
        coracle(
            &d,
            &[
                "run",
                "--rm",
                "busybox",
                "sh",
                "-c",
                &format!("exit {code}"),
            ],
        )
        .code(code);
    }
    coracle(&d, &["run", "--rm", "busybox", "no-such-command"])
        .code(127)
        .says("executable file not found");
    coracle(&d, &["run", "--rm", "busybox", "/etc/passwd"])
        .code(126)
        .says("permission denied");
    coracle(&d, &["run", "--rm", "--network", "nowhere", "busybox"]).code(125);
    coracle(&d, &["run", "--rm", "--nonsense", "busybox"])
        .code(125)
        .says("--nonsense");
    let both = coracle(
        &d,
        &[
            "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2",
        ],
    );
    assert_eq!(
        (both.stdout.as_str(), both.stderr.as_str()),
        ("out\n", "err\n")
    );
    let echoed = output::run(
        &mut command(&d, &["run", "--rm", "-i", "busybox", "cat"]),
        b"through",
    );
    assert_eq!(echoed.ok(), "through");
}

#[test]
fn the_same_as_dockers() {
    let Some(d) = Daemon::start() else { return };
    let id = coracle(
        &d,
        &[
            "run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", "-l", "a=b", "busybox",
            "sleep", "1000",
        ],
    )
    .ok();
    assert_eq!(id.len(), 64);
    let same = |args: &[&str]| {
        let ours = coracle(&d, args).ok();
        assert_eq!(ours, d.ok(args), "{args:?}");
        ours
    };
    same(&[
        "ps",
        "--format",
        "{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.Ports}} {{.State}} {{.Labels}}",
    ]);
    same(&["ps", "-aq", "--no-trunc"]);
    same(&[
        "images", "--format", "{{.Repository}} {{.Tag}} {{.ID}} {{.Size}}",
    ]);
    same(&[
        "inspect", "--format", "{{.Id}} {{.State.Pid}} {{json .Config.Cmd}}", "web",
    ]);
    same(&["port", "web"]);
    same(&["volume", "ls", "-q"]);
    same(&[
        "network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}",
    ]);
    same(&["history", "--format", "{{.CreatedBy}} {{.Size}}", "busybox"]);
    same(&["diff", "web"]);
    same(&["top", "web", "-o", "pid,args"]);
    assert_eq!(coracle(&d, &["exec", "web", "echo", "in"]).ok(), "in");
    coracle(&d, &["exec", "web", "sh", "-c", "exit 9"]).code(9);
    coracle(&d, &["stop", "-t", "0", "web"]).ok();
    same(&["wait", "web"]);
    coracle(&d, &["rm", "web"]).ok();
    coracle(&d, &["rm", "web"])
        .code(1)
        .says("No such container: web");
}

#[test]
fn logs_and_copies() {
    let Some(d) = Daemon::start() else { return };
    coracle(
        &d,
        &[
            "run", "--name", "said", "busybox", "sh", "-c", "seq 100; echo bad >&2",
        ],
    )
    .code(0);
    let logs = coracle(&d, &["logs", "--tail", "3", "said"]).code(0);
    assert_eq!(
        (logs.stdout.as_str(), logs.stderr.as_str()),
        ("99\n100\n", "bad\n")
    );
    let file = d.dir().join("file");
    std::fs::write(&file, "content\n").unwrap();
    let path = file.display().to_string();
    coracle(&d, &["cp", &path, "said:/copied"]).ok();
    let back = d.dir().join("back").display().to_string();
    coracle(&d, &["cp", "said:/copied", &back]).ok();
    assert_eq!(std::fs::read_to_string(back).unwrap(), "content\n");
    let saved = d.dir().join("saved.tar").display().to_string();
    coracle(&d, &["commit", "said", "made:v1"]).ok();
    coracle(&d, &["save", "-o", &saved, "made:v1"]).ok();
    coracle(&d, &["rmi", "made:v1"]).ok();
    assert!(
        coracle(&d, &["load", "-i", &saved])
            .ok()
            .contains("made:v1")
    );
    assert_eq!(
        coracle(&d, &["run", "--rm", "made:v1", "cat", "/copied"]).ok(),
        "content"
    );
}

#[test]
fn a_terminal() {
    let Some(d) = Daemon::start() else { return };
    let mut terminal = Terminal::start(&command(
        &d,
        &["run", "--rm", "-it", "--name", "tty", "busybox", "sh"],
    ));
    terminal.send("tty; stty size\n");
    terminal.expect("/dev/pts/0");
    terminal.expect("24 80");
    terminal.resize(91, 31);
    wait_until("the size arrives", || {
        terminal.send("stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        terminal.screen().contains("31 91")
    });
    terminal.send("exit 5\n");
    assert_eq!(terminal.wait(), 5);
    let mut left = Terminal::start(&command(
        &d,
        &["run", "-it", "--name", "left", "busybox", "sh"],
    ));
    left.send("echo in-$((2+2))\n");
    left.expect("in-4");
    left.send("\x10\x11");
    left.wait();
    assert_eq!(d.inspect("left", "{{.State.Running}}"), "true");
}

#[test]
fn about_the_daemon() {
    let Some(mut d) = Daemon::start() else { return };
    assert!(coracle(&d, &["version"]).ok().contains("1.47"));
    let root = coracle(&d, &["info", "--format", "{{.DockerRootDir}}"]).ok();
    assert_eq!(root, d.dir().join("data").display().to_string());
    let df = coracle(&d, &["system", "df", "--format", "json"]).ok();
    assert!(df.contains("Images"), "{df}");
    coracle(&d, &["system", "status"]).code(0);
    d.kill();
    let down = coracle(&d, &["--host", &d.host(), "ps"]);
    assert_ne!(down.code, 0);
    assert!(
        !down.stderr.is_empty() && !down.stderr.contains("panicked"),
        "{down}"
    );
    d.spawn();
}
