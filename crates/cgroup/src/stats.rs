//! What a cgroup has used.

use std::collections::BTreeMap;

use crate::Cgroup;
use crate::Error;
use crate::cgroup::Place;
use crate::files;
use crate::parse;
use crate::stats_v1;
use crate::stats_v2;

/// What a cgroup has used so far. A part whose controller is missing is `None`, or zero.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: Option<MemoryStats>,
    /// Processes and threads.
    pub pids: Option<PidsStats>,
    /// Block devices.
    pub io: IoStats,
    /// Huge pages, by size.
    pub hugetlb: Vec<HugetlbStats>,
    /// Time lost for want of CPU; only where there is a v2 tree (PSI).
    pub cpu_pressure: Option<Pressure>,
    /// Time lost for want of memory.
    pub memory_pressure: Option<Pressure>,
    /// Time lost waiting for block devices.
    pub io_pressure: Option<Pressure>,
}

/// CPU time, in nanoseconds. v1 counts user and system time by the clock's ticks, so that their sum
/// is not exactly the total.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CpuStats {
    /// All.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// All, by CPU; empty in v2.
    pub per_cpu: Vec<u64>,
    /// Periods in which there was a quota and something to run.
    pub periods: u64,
    /// Those of them in which the quota was used up.
    pub throttled_periods: u64,
    /// For how long that was so.
    pub throttled_time: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MemoryStats {
    /// In use, page cache included.
    pub usage: u64,
    /// The most that was in use; v2 tells since Linux 5.19.
    pub max_usage: Option<u64>,
    /// `None` is unlimited.
    pub limit: Option<u64>,
    /// Swap in use, if it is accounted.
    pub swap: Option<u64>,
    /// Page cache.
    pub cache: u64,
    /// Page cache that could be dropped; `docker stats` subtracts it.
    pub inactive_file: u64,
    /// How often the limit was hit (v1), or the OOM killer was called (v2's `oom`), as dockerd
    /// reports it.
    pub fail_count: u64,
    /// Processes that the OOM killer has killed.
    pub oom_kills: u64,
    /// All of `memory.stat`.
    pub stat: BTreeMap<String, u64>,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// `None` is unlimited.
    pub limit: Option<u64>,
}

/// Traffic with block devices, of the cgroup and those below it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IoStats {
    /// Bytes.
    pub service_bytes: Vec<IoEntry>,
    /// Operations.
    pub serviced: Vec<IoEntry>,
}

/// Traffic of one kind with one device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IoEntry {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// As the kernel has it: v1 `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`; v2 `read`,
    /// `write`, `discard`.
    pub op: String,
    /// Bytes or operations.
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HugetlbStats {
    /// The size, as `2MB`.
    pub page_size: String,
    /// In use.
    pub usage: u64,
    /// The most that was in use; v1 only.
    pub max_usage: Option<u64>,
    /// How often the limit was hit.
    pub fail_count: u64,
}

/// Pressure stall information (Linux: Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// At least one task waited.
    pub some: PressureLine,
    /// All tasks waited.
    pub full: PressureLine,
}

/// How much time was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PressureLine {
    /// Of the last 10 seconds, in hundredths of a percent.
    pub avg10: u32,
    /// Of the last minute, in hundredths of a percent.
    pub avg60: u32,
    /// Of the last five minutes, in hundredths of a percent.
    pub avg300: u32,
    /// In all, in microseconds.
    pub total: u64,
}

impl Cgroup {
    /// What it has used so far. A cgroup that is gone has used nothing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        match (self.v1("cpuacct"), self.v1("cpu"), self.v2.as_deref()) {
            (None, None, Some(dir)) => stats.cpu = stats_v2::cpu(dir)?,
            (acct, cpu, _) => stats.cpu = stats_v1::cpu(acct, cpu)?,
        }
        stats.memory = match self.place("memory") {
            Some(Place::V1(dir)) => stats_v1::memory(dir)?,
            Some(Place::V2(dir)) => stats_v2::memory(dir)?,
            None => None,
        };
        stats.io = match self.place("blkio") {
            Some(Place::V1(dir)) => stats_v1::io(dir)?,
            Some(Place::V2(dir)) => stats_v2::io(dir)?,
            None => IoStats::default(),
        };
        stats.hugetlb = match self.place("hugetlb") {
            Some(Place::V1(dir)) => stats_v1::hugetlb(dir)?,
            Some(Place::V2(dir)) => stats_v2::hugetlb(dir)?,
            None => Vec::new(),
        };
        if let Some(Place::V1(dir) | Place::V2(dir)) = self.place("pids")
            && let Some(current) = files::read_optional(dir, "pids.current")?
        {
            let max = files::read_optional(dir, "pids.max")?;
            stats.pids = Some(PidsStats {
                current: parse::number(&current),
                limit: max.and_then(|text| parse::limit(&text)),
            });
        }
        if let Some(dir) = self.v2.as_deref() {
            stats.cpu_pressure = stats_v2::pressure(dir, "cpu.pressure")?;
            stats.memory_pressure = stats_v2::pressure(dir, "memory.pressure")?;
            stats.io_pressure = stats_v2::pressure(dir, "io.pressure")?;
        }
        Ok(stats)
    }
}
