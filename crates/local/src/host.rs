//! What there is to know of the host.

use std::fs;

/// Bytes of memory.
pub(crate) fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.starts_with("MemTotal:"))
        .unwrap_or_default();
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or_default();
    kib * 1024
}

/// Processors on line.
pub(crate) fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

/// The kernel's release, machine and host name.
pub(crate) fn uname() -> [String; 3] {
    let uname = rustix::system::uname();
    [uname.release(), uname.machine(), uname.nodename()]
        .map(|text| text.to_string_lossy().into_owned())
}

/// Go's name of the machine's architecture.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// The distribution's name and version (os-release(5)).
pub(crate) fn distribution() -> (String, String) {
    let text = fs::read_to_string("/etc/os-release")
        .or_else(|_| fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let name = value("PRETTY_NAME");
    (
        if name.is_empty() {
            "Linux".into()
        } else {
            name
        },
        value("VERSION_ID"),
    )
}

/// What a specification depends on.
pub(crate) fn facts() -> coracle_spec::Host {
    coracle_spec::Host {
        rootless: !rustix::process::geteuid().is_root() || in_user_namespace(),
        cgroup_v2: std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        capabilities: bounding_set(),
        default_shm_size: 64 << 20,
        default_ulimits: Vec::new(),
        no_new_privileges: false,
        seccomp_profile: None,
        cpus: cpus(),
        swap_accounting: swap_accounting(),
        layer_size: false,
    }
}

/// The same of a virtual machine's guest, as far as it is its own.
pub(crate) fn guest_facts(host: &coracle_spec::Host) -> coracle_spec::Host {
    coracle_spec::Host {
        rootless: false,
        cgroup_v2: true,
        capabilities: coracle_spec::CAPABILITIES.map(str::to_owned).to_vec(),
        swap_accounting: true,
        layer_size: true,
        ..host.clone()
    }
}

/// Whether the daemon's root is not the host's: its ids are mapped (user_namespaces(7)).
fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Whether there is no user here but root: an ordinary user has no subordinate ids.
pub(crate) fn has_one_user() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().count() == 1 && map.split_whitespace().nth(2) == Some("1")
}

/// Whose files become that are unpacked here.
pub(crate) fn owners() -> coracle_archive::Owners {
    match has_one_user() {
        true => coracle_archive::Owners::Fixed { uid: 0, gid: 0 },
        false => coracle_archive::Owners::Archived,
    }
}

fn swap_accounting() -> bool {
    let v1 = "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes";
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    v2 || std::path::Path::new(v1).exists()
}

/// Capabilities that this process may hand on, by name (proc_pid_status(5), capabilities(7)).
fn bounding_set() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or_default();
    coracle_spec::CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(number, _)| bits & (1 << number) != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}
