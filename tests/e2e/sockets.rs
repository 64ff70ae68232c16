//! Unix sockets of containers, published at paths of the host.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle_tests::{Daemon, fixture, output, wait_until};
use rustix::process::Signal;

/// The option of docker's client, which has no `--publish-socket`.
const ANNOTATION: &str = "coracle.publish-sockets=";

/// A static program that serves a unix socket: `serve PATH`.
fn server(d: &Daemon) -> PathBuf {
    let program = d.dir().join("serve");
    if !program.exists() {
        let source = fixture::repository().join("tests/e2e/sockets/serve.c");
        let made = Command::new("cc")
            .args(["-O1", "-static", "-o"])
            .args([&program, &source])
            .status();
        assert!(made.expect("run cc").success());
    }
    program
}

fn coracle(d: &Daemon, args: &[&str]) -> output::Output {
    let mut command = Command::new(fixture::binary("coracle"));
    let command = command.env("DOCKER_HOST", d.host()).args(args);
    output::run(command, b"")
}

/// A container that serves `/s`, reached at `host`.
fn start(d: &Daemon, name: &str, flags: &[&str], host: &Path) {
    let program = format!("{}:/serve:ro", server(d).display());
    let pair = format!("{}:/s", host.display());
    let line = [
        "run", "-d", "--network", "none", "--name", name, "-v", &program, "--publish-socket", &pair,
    ];
    coracle(d, &[&line, flags, &["busybox", "/serve", "/s"]].concat()).ok();
    wait_until("it serves", || d.ok(&["logs", name]) == "serves");
}

fn ask(host: &Path, text: &[u8]) -> String {
    let mut stream = UnixStream::connect(host).unwrap();
    stream.write_all(text).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What is promised of containers of any kind.
pub(crate) fn published(d: &Daemon) {
    let folder = d.dir().join("published");
    fs::create_dir_all(&folder).unwrap();
    chown(&folder, Some(4321), Some(1234)).unwrap();
    let host = folder.join("s.sock");
    start(d, "serves", &[], &host);
    // For the owner of its directory, and nobody else.
    let made = fs::symlink_metadata(&host).unwrap();
    assert_eq!((made.uid(), made.gid()), (4321, 1234));
    assert_eq!(made.mode() & 0o7777, 0o600);
    assert_eq!(ask(&host, b"you"), "heard you");
    let long = "x".repeat(600_000);
    assert_eq!(ask(&host, long.as_bytes()).len(), 6 + long.len());
    // The last words arrive, and then it is gone.
    assert_eq!(ask(&host, b"bye"), "heard bye");
    assert_eq!(d.ok(&["wait", "serves"]), "3");
    assert!(!host.exists());
    // Each run has its own.
    d.ok(&["start", "serves"]);
    wait_until("it serves again", || {
        d.ok(&["logs", "serves"]) == "serves\nserves"
    });
    assert_eq!(ask(&host, b"again"), "heard again");
    // A path that is taken is left alone.
    let other = format!("{ANNOTATION}{}:/s", host.display());
    let line = [
        "run", "--rm", "--network", "none", "--annotation", &other, "busybox", "true",
    ];
    let refused = d.fails(125, &line);
    refused.says("there is a file already");
    assert_eq!(ask(&host, b"still"), "heard still");
    d.ok(&["rm", "-f", "serves"]);
    assert!(!host.exists());
    // What somebody else has put there since, too.
    start(d, "replaced", &[], &host);
    fs::remove_file(&host).unwrap();
    fs::write(&host, "mine").unwrap();
    d.ok(&["rm", "-f", "replaced"]);
    assert_eq!(fs::read_to_string(&host).unwrap(), "mine");
    fs::remove_file(&host).unwrap();
}

#[test]
fn published_by_processes() {
    let Some(d) = Daemon::start() else { return };
    published(&d);
    let refused = |pair: &str, why: &str| {
        let line = ["run", "--rm", "--publish-socket", pair, "busybox", "true"];
        coracle(&d, &line).says(why);
    };
    refused("run/s:/run/s", "the host's path must be absolute");
    refused("/run/../s:/run/s", "the host's path must be absolute");
    refused("/run/s:s", "the container's path must be absolute");
    refused("/run/s", "want HOST:CONTAINER");
    let nowhere = format!("{}/nowhere/s:/s", d.dir().display());
    refused(&nowhere, "its directory does not exist");
    // A command that can't be started leaves nothing.
    let host = d.dir().join("unused.sock");
    let pair = format!("{}:/s", host.display());
    let line = [
        "run", "--rm", "--publish-socket", &pair, "busybox", "/nonexistent",
    ];
    coracle(&d, &line).says("nonexistent");
    assert!(!host.exists());
    // Nothing serves it: who connects sees the end.
    let id = coracle(
        &d,
        &[
            "run", "-d", "--publish-socket", &pair, "busybox", "sleep", "1000",
        ],
    )
    .ok();
    assert_eq!(ask(&host, b""), "");
    d.ok(&["rm", "-f", id.trim()]);
}

/// The daemon's death changes nothing; after a shim's the daemon removes what is left.
#[test]
fn published_sockets_and_crashes() {
    let Some(mut d) = Daemon::start() else { return };
    let host = d.dir().join("s.sock");
    start(&d, "serves", &[], &host);
    d.kill();
    assert_eq!(ask(&host, b"alone"), "heard alone");
    assert_eq!(ask(&host, b"bye"), "heard bye");
    wait_until("the shim removes it", || !host.exists());
    d.spawn();
    d.until("serves", "{{.State.Running}}", "false");
    assert_eq!(d.inspect("serves", "{{.State.ExitCode}}"), "3");
    d.ok(&["start", "serves"]);
    let id = d.inspect("serves", "{{.Id}}");
    let file = d.dir().join("exec/containers").join(id).join("shim.pid");
    let shim = fs::read_to_string(file).unwrap().trim().parse().unwrap();
    let shim = rustix::process::Pid::from_raw(shim).unwrap();
    rustix::process::kill_process(shim, Signal::KILL).unwrap();
    wait_until("the daemon removes it", || !host.exists());
    d.until("serves", "{{.State.Running}}", "false");
}
