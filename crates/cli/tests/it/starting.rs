//! The daemon of this host, which is started when it isn't there. In a mount namespace of its own,
//! with a /run of its own, and a daemon of few words.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// The binary, copied to where the daemon beside it is ours.
struct Installed(tempfile::TempDir);

impl Installed {
    fn with_daemon(script: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_coracle"), dir.path().join("coracle")).unwrap();
        if let Some(script) = script {
            let path = dir.path().join("coracled");
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a shell script in which `coracle` is the binary.
    fn run(&self, script: &str) -> Output {
        let script = format!(
            "mount --make-rprivate / && mount -t tmpfs none /run && cd {} && {script}",
            self.path().display()
        );
        Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path().display()),
            )
            .env("HOME", self.path())
            .output()
            .unwrap()
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can have a /run of its own");
    }
    root
}

#[test]
fn what_the_daemon_says_when_it_fails_is_shown() {
    if !is_root() {
        return;
    }
    let installed = Installed::with_daemon(Some("#!/bin/sh\necho it is broken >&2\nexit 3\n"));
    let output = installed.run("coracle ps");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("the daemon does not start:\nit is broken"),
        "{error}"
    );
    assert!(
        error.contains("hint: all of its log is in /run/coracle/coracled.log"),
        "{error}"
    );
    // `run` has its own code for that.
    assert_eq!(
        installed.run("coracle run busybox").status.code(),
        Some(125)
    );
}

#[test]
fn a_daemon_that_is_not_installed_is_missed() {
    if !is_root() {
        return;
    }
    let output = Installed::with_daemon(None).run("coracle ps");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("there is no coracled"), "{error}");
}

#[test]
fn it_is_given_its_options_and_a_session_of_its_own() {
    if !is_root() {
        return;
    }
    let script = "#!/bin/sh\necho \"$@\"\ncat /proc/self/stat\nexit 1\n";
    let installed = Installed::with_daemon(Some(script));
    let output = installed.run("coracle system start -- --debug -l info");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("\n--debug -l info\n"), "{error}");
    // Of proc_pid_stat(5): the parent is the daemon, and leads the session that both are in.
    let stat = error.lines().find(|line| line.contains("(cat)")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[1], fields[3], "{stat}");
}

#[test]
fn only_the_daemon_is_stopped() {
    if !is_root() {
        return;
    }
    let installed = Installed::with_daemon(None);
    let output = installed.run(
        "mkdir /run/coracle; sleep 100 & echo $! > /run/coracle/coracled.pid; coracle system stop; \
         kill $!",
    );
    // The process was there to be killed.
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "not running\n");
    let output = installed
        .run("mkdir /run/coracle; echo x > /run/coracle/coracled.pid; coracle system stop");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("holds no process id"), "{error}");
}

#[test]
fn the_log_is_shown_from_its_end() {
    if !is_root() {
        return;
    }
    let installed = Installed::with_daemon(None);
    let make = "mkdir /run/coracle; seq 1 20000 > /run/coracle/coracled.log;";
    for (options, expected) in [
        ("-n 0", ""),
        ("-n 1", "20000\n"),
        ("-n 3", "19998\n19999\n20000\n"),
    ] {
        let output = installed.run(&format!("{make} coracle system logs {options}"));
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{options}"
        );
    }
    let output = installed.run(&format!("{make} coracle system logs"));
    assert_eq!(output.stdout.len(), 108_894);
    let output = installed.run("coracle system logs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no log"));
}
