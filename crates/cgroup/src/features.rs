//! What a host can limit, as `docker info` lists it.

use std::path::Path;
use std::path::PathBuf;

use crate::Hierarchy;

/// What can be limited here. A limit that is missing is an error of [`crate::Cgroup::create`], so
/// whoever wants to warn and drop, as dockerd does, looks here first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Features {
    /// `memory.limit`
    pub memory_limit: bool,
    /// `memory.swap`
    pub swap_limit: bool,
    /// `memory.reservation`
    pub memory_reservation: bool,
    /// `memory.swappiness`
    pub memory_swappiness: bool,
    /// `memory.disableOOMKiller`
    pub oom_kill_disable: bool,
    /// `memory.kernelTCP`
    pub kernel_memory_tcp: bool,
    /// `cpu.shares`
    pub cpu_shares: bool,
    /// `cpu.quota` and `cpu.period`
    pub cpu_quota: bool,
    /// `cpu.realtimeRuntime` and `cpu.realtimePeriod`
    pub cpu_realtime: bool,
    /// `cpu.cpus` and `cpu.mems`
    pub cpuset: bool,
    /// `pids.limit`
    pub pids_limit: bool,
    /// `blockIO.weight`
    pub blkio_weight: bool,
    /// `blockIO.weightDevice`
    pub blkio_weight_device: bool,
    /// `blockIO.throttle…`
    pub blkio_throttle: bool,
    /// Device rules.
    pub devices: bool,
    /// Pausing.
    pub freezer: bool,
}

impl Hierarchy {
    /// What can be limited here.
    #[must_use]
    pub fn features(&self) -> Features {
        let v2 = self.v2_controllers();
        let has_v2 = |name: &str| v2.iter().any(|other| other == name);
        // Limits aren't in the root of the v2 tree; any cgroup below tells.
        let sample = self.v2.as_deref().and_then(below);
        let file = |v1: &str, v1_file: &str, v2: &str, v2_file: &str| match self.v1(v1) {
            Some(root) => root.join(v1_file).exists(),
            None => match (&sample, v2_file) {
                (_, "") => false,
                // Only this one depends on more than the controller.
                (Some(dir), "memory.swap.max") if dir.join("memory.max").exists() => {
                    dir.join(v2_file).exists()
                }
                _ => has_v2(v2),
            },
        };
        let memory = |v1: &str, v2: &str| file("memory", v1, "memory", v2);
        let blkio_weight = |suffix: &str| {
            self.v1("blkio").map_or(has_v2("io"), |root| {
                ["blkio.weight", "blkio.bfq.weight"]
                    .iter()
                    .any(|name| exists_below(root, &format!("{name}{suffix}")))
            })
        };
        Features {
            memory_limit: memory("memory.limit_in_bytes", "memory.max"),
            swap_limit: memory("memory.memsw.limit_in_bytes", "memory.swap.max"),
            memory_reservation: memory("memory.soft_limit_in_bytes", "memory.low"),
            memory_swappiness: memory("memory.swappiness", ""),
            oom_kill_disable: memory("memory.oom_control", ""),
            kernel_memory_tcp: memory("memory.kmem.tcp.limit_in_bytes", ""),
            cpu_shares: file("cpu", "cpu.shares", "cpu", "cpu.weight"),
            cpu_quota: file("cpu", "cpu.cfs_quota_us", "cpu", "cpu.max"),
            cpu_realtime: file("cpu", "cpu.rt_runtime_us", "cpu", ""),
            cpuset: file("cpuset", "cpuset.cpus", "cpuset", "cpuset.cpus"),
            pids_limit: self.v1("pids").is_some() || has_v2("pids"),
            blkio_weight: blkio_weight(""),
            blkio_weight_device: blkio_weight("_device"),
            blkio_throttle: file("blkio", "blkio.throttle.read_bps_device", "io", "io.max"),
            devices: !self.rootless() && (self.v1("devices").is_some() || self.v2.is_some()),
            freezer: self.v1("freezer").is_some() || self.v2.is_some(),
        }
    }
}

fn below(root: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(root).ok()?;
    let mut dirs = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.next().map(|entry| entry.path())
}

fn exists_below(root: &Path, file: &str) -> bool {
    root.join(file).exists() || below(root).is_some_and(|dir| dir.join(file).exists())
}
