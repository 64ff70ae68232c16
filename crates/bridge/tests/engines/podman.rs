//! podman's Docker-compatible service.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::Engine;

/// Asks for it.
const WANTED: &str = "CORACLE_TEST_PODMAN";

/// Why it can't be run here.
pub(crate) fn obstacle() -> Option<String> {
    if std::env::var_os(WANTED).is_none() {
        return Some(format!(
            "podman 4.3 has races of its own in its API, other ones in each run: set {WANTED}=1"
        ));
    }
    let there = Path::new("/usr/bin/podman").exists() && Path::new("/usr/bin/crun").exists();
    (!there).then(|| "needs podman and crun".to_owned())
}

/// Starts a service, with storage and configuration of its own.
pub(crate) fn start(directory: &Path) -> Engine {
    // crun refuses an empty tree of version 2 beside version 1. The mount namespace is our own.
    if Path::new("/sys/fs/cgroup/unified").is_dir() {
        let _ = Command::new("umount")
            .arg("/sys/fs/cgroup/unified")
            .status();
    }
    let socket = directory.join("engine.sock");
    let config = directory.join("containers.conf");
    // Its own defaults are above what some hosts allow.
    let pids = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
    let pids = pids.trim().parse().unwrap_or(32_768_u64);
    let text = format!(
        "[containers]\n\
         default_ulimits = [\"nofile=20000:20000\", \"nproc={pids}:{pids}\"]\n\
         [engine]\n\
         cgroup_manager = \"cgroupfs\"\n\
         runtime = \"crun\"\n\
         events_logger = \"file\"\n"
    );
    fs::write(&config, text).expect("a configuration");
    let mut command = Command::new("podman");
    for (flag, folder) in [
        ("--root", "root"),
        ("--runroot", "run"),
        ("--tmpdir", "tmp"),
        ("--network-config-dir", "networks"),
    ] {
        command.arg(flag).arg(directory.join(folder));
    }
    command
        .args([
            "--storage-driver",
            "overlay",
            "--cgroup-manager",
            "cgroupfs",
        ])
        .args(["system", "service", "-t", "0"])
        .arg(format!("unix://{}", socket.display()))
        .env("CONTAINERS_CONF", config);
    Engine::start(command, directory, socket, "libpod_parent")
}
