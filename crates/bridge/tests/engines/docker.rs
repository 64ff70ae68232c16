//! dockerd: the one that is installed, else the one that `fixtures/dockerd` has fetched.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Engine;

/// Why it can't be run here.
pub(crate) fn obstacle() -> Option<String> {
    place()
        .is_none()
        .then(|| "needs dockerd: installed, or fetched by fixtures/dockerd".to_owned())
}

/// Where dockerd is, and the root that it was unpacked in, if it isn't installed.
fn place() -> Option<(PathBuf, Option<PathBuf>)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dockerd");
    let kept = Command::new(script).arg("--kept").output().ok();
    let kept = kept
        .filter(|kept| kept.status.success())
        .and_then(|kept| String::from_utf8(kept.stdout).ok())
        .map(|root| PathBuf::from(root.trim()));
    if let Some(root) = kept {
        return Some((root.join("usr/sbin/dockerd"), Some(root)));
    }
    ["/usr/sbin/dockerd", "/usr/bin/dockerd"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .map(|path| (path, None))
}

/// Folders of libraries in an unpacked root.
fn libraries(root: &Path) -> Vec<PathBuf> {
    let tuple = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["usr/lib", "lib"]
        .into_iter()
        .map(|folder| root.join(folder).join(&tuple))
        .filter(|folder| folder.is_dir())
        .collect()
}

/// Starts a daemon, which starts a containerd of its own.
pub(crate) fn start(directory: &Path) -> Engine {
    let (program, root) = place().expect("dockerd");
    let socket = directory.join("engine.sock");
    let group = format!("docker-bridged-{}", std::process::id());
    let config = directory.join("daemon.json");
    // Its own default is above what some hosts allow.
    let limits =
        r#"{"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 20000, "Soft": 20000}}}"#;
    std::fs::write(&config, limits).expect("a configuration");
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(config)
        .arg("--data-root")
        .arg(directory.join("data"))
        .arg("--exec-root")
        .arg(directory.join("run"))
        .arg("--pidfile")
        .arg(directory.join("pid"))
        .args(["--cgroup-parent", &format!("/{group}")])
        .args(["--log-level", "warn"])
        .arg("-H")
        .arg(format!("unix://{}", socket.display()));
    if let Some(root) = root {
        let own = ["usr/sbin", "usr/bin", "sbin"].map(|folder| root.join(folder));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = own.into_iter().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(all).expect("a path"));
        let libraries = std::env::join_paths(libraries(&root)).expect("a path");
        command.env("LD_LIBRARY_PATH", libraries);
    }
    Engine::start(command, directory, socket, &group)
}
