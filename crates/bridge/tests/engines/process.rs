//! An engine's process, and what is left of it to be cleared away.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an engine may take to come up, or to go.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine that runs.
pub(crate) struct Engine {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
    directory: PathBuf,
    /// The top-level control group of its containers.
    group: String,
}

impl Engine {
    /// Starts it, and waits for its socket.
    pub(crate) fn start(
        mut command: Command,
        directory: &Path,
        socket: PathBuf,
        group: &str,
    ) -> Self {
        let log = directory.join("engine.log");
        let file = File::create(&log).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("the engine's program");
        let mut engine = Self {
            child,
            socket,
            log,
            directory: directory.to_owned(),
            group: group.to_owned(),
        };
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(&engine.socket).is_err() {
            let ended = engine.child.try_wait().expect("the engine's state");
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "the engine does not come up: {ended:?}\n{}",
                engine.logged()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        engine
    }

    /// Its address.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The end of its log.
    fn logged(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("ENGINE_LOG").is_some() {
            println!("engine's log:\n{}", self.logged());
        }
        // By its own process id; `Child::kill` would be SIGKILL, and leave what it supervises.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for pid in helpers(&self.directory) {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
        remove_groups(&self.group);
    }
}

/// Processes that the engine has left, which name its directory, or have its environment. (podman's monitors
/// of execs stay for minutes, and its name server for good.)
fn helpers(directory: &Path) -> Vec<u32> {
    let own = std::process::id();
    let wanted = directory.to_string_lossy();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let named = ["cmdline", "environ"].into_iter().any(|file| {
                let text = fs::read(entry.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&text).contains(&*wanted)
            });
            (named && pid != own).then_some(pid)
        })
        .collect()
}

/// Removes a top-level control group, and those in it, which are empty by now.
fn remove_groups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    let mut groups: Vec<_> = hierarchies.map(|entry| entry.path().join(name)).collect();
    groups.push(root.join(name));
    for group in groups.iter().filter(|group| group.is_dir()) {
        remove_below(group);
    }
}

fn remove_below(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.path().is_dir()) {
        remove_below(&entry.path());
    }
    let _ = fs::remove_dir(group);
}
