//! Coracle itself: the workspace's daemon and shim.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Engine;

/// Why it can't be run here.
pub(crate) fn obstacle() -> Option<String> {
    if !Path::new("/usr/sbin/nft").exists() {
        return Some("needs nft (package nftables)".into());
    }
    // Outside of the namespaces: cargo may want the network.
    build();
    None
}

/// Where the workspace's programs are.
fn programs() -> PathBuf {
    let own = std::env::current_exe().expect("the test's own path");
    // `<target>/<profile>/deps/<test>`
    own.ancestors()
        .nth(2)
        .expect("the profile's directory")
        .to_owned()
}

fn build() {
    let profile = programs();
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "-p", "coracled", "-p", "coracle-shim"])
        .arg("--target-dir")
        .arg(profile.parent().expect("the target directory"));
    if profile.file_name().is_some_and(|name| name == "release") {
        build.arg("--release");
    }
    let built = build.status().expect("cargo runs");
    assert!(built.success(), "the daemon can't be built");
}

/// Starts a daemon.
pub(crate) fn start(directory: &Path) -> Engine {
    let socket = directory.join("engine.sock");
    let group = format!("coracle-bridged-{}", std::process::id());
    let mut command = Command::new(programs().join("coracled"));
    command
        .arg("--data-root")
        .arg(directory.join("data"))
        .arg("--exec-root")
        .arg(directory.join("run"))
        .arg("--shim")
        .arg(programs().join("coracle-shim"))
        .args(["--cgroup-parent", &format!("/{group}")])
        .args(["--default-runtime", "process", "--log-level", "warn"])
        .arg("-H")
        .arg(format!("unix://{}", socket.display()));
    Engine::start(command, directory, socket, &group)
}
