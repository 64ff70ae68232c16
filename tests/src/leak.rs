//! What a daemon may have left behind: mounts, processes, control groups, namespaces.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// Mount points below a directory, in this mount namespace.
#[must_use]
pub fn mounts(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}

/// The control groups below a top-level one, in every hierarchy, innermost first.
#[must_use]
pub fn cgroups(parent: &str) -> Vec<PathBuf> {
    let name = parent.trim_matches('/');
    let top = Path::new("/sys/fs/cgroup");
    let mut roots = vec![top.to_owned()];
    roots.extend(children(top));
    let mut found = Vec::new();
    for root in roots {
        let group = root.join(name);
        // `cpuacct` and the like may be links to one hierarchy.
        if group.is_dir() && !root.is_symlink() {
            walk(&group, &mut found);
        }
    }
    found
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for child in children(dir) {
        walk(&child, found);
    }
    found.push(dir.to_owned());
}

/// A process and why it is held to be a daemon's.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its command line.
    pub line: String,
}

/// Processes in a control group, in a network namespace, or with `dir` in their command line or
/// environment; this one and `spared` are left out.
#[must_use]
pub fn processes(dir: &Path, parent: &str, netns: u64, spared: &[u32]) -> Vec<Process> {
    use std::os::unix::fs::MetadataExt;
    let own = std::process::id();
    let dir = dir.to_string_lossy().into_owned();
    let group = format!("/{}", parent.trim_matches('/'));
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if pid == own || spared.contains(&pid) {
            continue;
        }
        let proc = entry.path();
        let read = |name: &str| {
            let data = fs::read(proc.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&data).replace('\0', " ")
        };
        let groups = read("cgroup");
        let in_group = groups.lines().any(|line| {
            line.splitn(3, ':')
                .nth(2)
                .is_some_and(|path| path == group || path.starts_with(&format!("{group}/")))
        });
        let in_netns =
            netns != 0 && fs::metadata(proc.join("ns/net")).is_ok_and(|meta| meta.ino() == netns);
        let line = read("cmdline");
        // A dead one that nobody has waited for yet.
        let dead = read("stat")
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim().starts_with('Z'));
        if !dead && (in_group || in_netns || line.contains(&dir) || read("environ").contains(&dir))
        {
            found.push(Process {
                pid: pid.cast_signed(),
                line,
            });
        }
    }
    found
}

/// Ends what is left, so that one failure doesn't make the next.
pub fn sweep(dir: &Path, parent: &str, netns: u64) {
    for process in processes(dir, parent, netns, &[]) {
        kill(process.pid, Signal::KILL);
    }
    for _ in 0..100 {
        if processes(dir, parent, netns, &[]).is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for point in mounts(dir).iter().rev() {
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
    for group in cgroups(parent) {
        let _ = fs::remove_dir(group);
    }
}

/// Sends a signal to a process of ours.
pub fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
