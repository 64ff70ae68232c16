//! The host's hierarchies, a parent of our own in them, and processes that end with the test.

use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_cgroup::Cgroup;
use coracle_cgroup::Error;
use coracle_cgroup::Hierarchy;
use coracle_cgroup::Layout;
use oci_spec::runtime::LinuxResources;

/// The host's cgroups as they are, and on a hybrid host also each version without the other.
pub(crate) fn hierarchies() -> Vec<(&'static str, Hierarchy)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return Vec::new();
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = "/sys/fs/cgroup".as_ref();
    let host = Hierarchy::detect(root, &mounts).unwrap();
    if host.layout() != Layout::Hybrid {
        return vec![("the host", host)];
    }
    let only = |v2: bool| {
        let lines = mounts
            .lines()
            .filter(|line| line.contains(" - cgroup2 ") == v2);
        Hierarchy::detect(root, &lines.collect::<Vec<_>>().join("\n")).unwrap()
    };
    vec![("hybrid", host), ("v1", only(false)), ("v2", only(true))]
}

pub(crate) fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

const V2_ROOTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// The v2 controllers that are switched on for top-level cgroups.
fn switched_on() -> Option<(&'static str, Vec<String>)> {
    V2_ROOTS.iter().find_map(|root| {
        let text = std::fs::read_to_string(format!("{root}/cgroup.subtree_control")).ok()?;
        Some((*root, text.split_whitespace().map(str::to_owned).collect()))
    })
}

/// Those that were before the tests.
static BEFORE: OnceLock<Vec<String>> = OnceLock::new();

/// A top-level cgroup that is removed with all that is in it, and the controllers that it needed
/// switched off again.
pub(crate) struct Parent {
    hierarchy: Hierarchy,
    path: String,
}

impl Parent {
    pub(crate) fn new(hierarchy: &Hierarchy) -> Parent {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        BEFORE.get_or_init(|| switched_on().map_or(Vec::new(), |(_, on)| on));
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Parent {
            hierarchy: hierarchy.clone(),
            path: format!("/coracle-test-{}-{next}", std::process::id()),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn create(&self, name: &str, limits: &LinuxResources) -> Result<Cgroup, Error> {
        Cgroup::create(&self.hierarchy, &self.path, name, limits)
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let name = self.path.trim_start_matches('/');
        if let Ok(cgroup) = Cgroup::open(&self.hierarchy, "/", name) {
            let _ = cgroup.kill(Duration::from_secs(5));
            let _ = cgroup.delete();
        }
        let before = BEFORE.get().unwrap();
        let (root, on) = switched_on().unwrap_or(("", Vec::new()));
        for name in on.iter().filter(|name| !before.contains(name)) {
            // Refused while another test needs it; the last one succeeds.
            let _ = std::fs::write(format!("{root}/cgroup.subtree_control"), format!("-{name}"));
        }
    }
}

/// A process, killed at the end.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn of(child: Child) -> Running {
        Running(child)
    }

    pub(crate) fn start(cgroup: &Cgroup) -> Running {
        Running::start_shell(cgroup, "exec sleep 1000")
    }

    pub(crate) fn start_busy(cgroup: &Cgroup) -> Running {
        Running::start_shell(cgroup, "while :; do :; done")
    }

    /// Runs a script as soon as its shell is in the cgroup.
    pub(crate) fn start_shell(cgroup: &Cgroup, script: &str) -> Running {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let running = Running(child);
        cgroup.add(running.id()).unwrap();
        std::io::Write::write_all(&mut stdin.unwrap(), b"go\n").unwrap();
        running
    }

    pub(crate) fn id(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Whether it ended well.
    pub(crate) fn wait(&mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
