//! `coracled --backend`: another engine behind the daemon. The other engine is a Coracle here; dockerd and
//! podman are in `crates/bridge/tests/engines/`.

use std::process::{Child, Command, Stdio};

use coracle_tests::Daemon;
use coracle_tests::fixture::binary;
use coracle_tests::output::{Output, run, wait_until};

/// A daemon without containers of its own.
struct Bridge<'a> {
    engine: &'a Daemon,
    child: Child,
    host: String,
}

impl<'a> Bridge<'a> {
    fn start(engine: &'a Daemon) -> Self {
        let socket = engine.dir().join("bridge.sock");
        let host = format!("unix://{}", socket.display());
        let child = Command::new(binary("coracled"))
            .args(["--backend", &format!("docker://{}", engine.host())])
            .args(["-H", &host, "--exec-root"])
            .arg(engine.dir().join("bridge"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the bridge serves", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        Self {
            engine,
            child,
            host,
        }
    }

    fn docker_in(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.engine.docker_command(args);
        command.env("DOCKER_HOST", &self.host);
        run(&mut command, input)
    }

    fn docker(&self, args: &[&str]) -> Output {
        self.docker_in(args, b"")
    }
}

impl Drop for Bridge<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_docker_cli_drives_another_engine() {
    let Some(d) = Daemon::start() else { return };
    let bridge = Bridge::start(&d);
    let echo = [
        "run", "--rm", "--network", "none", "busybox", "echo", "hello",
    ];
    assert_eq!(bridge.docker(&echo).ok(), "hello");
    let cat = ["run", "--rm", "-i", "--network", "none", "busybox", "cat"];
    assert_eq!(bridge.docker_in(&cat, b"piped").ok(), "piped");
    bridge
        .docker(&["run", "--rm", "busybox", "sh", "-c", "exit 7"])
        .code(7);
    bridge
        .docker(&[
            "run", "-d", "--name", "web", "busybox", "sh", "-c", "echo up; sleep 1000",
        ])
        .ok();
    // One engine, seen by two daemons.
    assert_eq!(d.inspect("web", "{{.State.Status}}"), "running");
    let listed = bridge.docker(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"]);
    assert_eq!(listed.ok(), "web busybox running");
    assert_eq!(bridge.docker(&["logs", "web"]).ok(), "up");
    bridge
        .docker(&["exec", "web", "sh", "-c", "exit 3"])
        .code(3);
    bridge
        .docker(&["exec", "web", "nosuch"])
        .code(127)
        .mentions("executable file not found");
    bridge
        .docker(&["start", "nosuch"])
        .code(1)
        .says("No such container: nosuch");
    bridge
        .docker(&["create", "--pull", "never", "nosuch-image"])
        .mentions("No such image: nosuch-image");
    bridge.docker(&["rm", "-f", "web"]).ok();
    assert_eq!(d.ok(&["ps", "-aq"]), "");
}

#[test]
fn an_engine_that_goes_away_is_told() {
    let Some(mut d) = Daemon::start() else { return };
    let host = d.host();
    {
        let bridge = Bridge::start(&d);
        bridge.docker(&["version"]).ok();
    }
    d.terminate();
    let refused = Command::new(binary("coracled"))
        .args(["--backend", &format!("docker://{host}"), "--exec-root"])
        .arg(d.dir().join("bridge"))
        .args([
            "-H",
            &format!("unix://{}", d.dir().join("bridge.sock").display()),
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains(&host), "{text}");
    let refused = Command::new(binary("coracled"))
        .args([
            "--backend", "docker", "--data-root", "/nowhere", "--validate",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && text.contains("--data-root"),
        "{text}"
    );
}
