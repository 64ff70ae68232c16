//! What a container uses. Counters count from the container's start; what a sandbox or kernel
//! doesn't know is 0 or `None`.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

/// One reading of a container's resource use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// When it was read.
    pub read: Timestamp,
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Block devices, ordered by (major, minor).
    pub io: Vec<IoStats>,
    /// Network interfaces but the loopback; only of a sandbox whose network this host can't see.
    pub networks: Vec<NetworkStats>,
}

/// One process of a container, of a sandbox whose processes are not this host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessInfo {
    /// Its id there.
    pub pid: i32,
    /// Its parent's.
    pub ppid: i32,
    /// The user that it runs as.
    pub uid: u32,
    /// Its state, as proc_pid_stat(5) has it.
    pub state: String,
    /// The number of its terminal, 0 without one.
    pub tty: u32,
    /// Processor time, in seconds.
    pub cpu_s: u64,
    /// For how many seconds it has run.
    pub age_s: u64,
    /// Bytes of its address space.
    pub virtual_bytes: u64,
    /// Bytes of it in memory.
    pub resident_bytes: u64,
    /// The program's name.
    pub name: String,
    /// The command line; the name in brackets where there is none.
    pub command: String,
}

/// What went through one network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStats {
    /// Its name.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Packets received and dropped.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets dropped on their way out.
    pub tx_dropped: u64,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    /// In all.
    pub usage_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// Per processor; empty on cgroup v2.
    pub per_cpu_ns: Vec<u64>,
    /// Periods of the bandwidth controller.
    pub periods: u64,
    /// Periods in which the container was throttled.
    pub throttled_periods: u64,
    /// For how long it was throttled.
    pub throttled_ns: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// In use, page cache included.
    pub usage: u64,
    /// The most that ever was in use, if known.
    pub max_usage: Option<u64>,
    /// The limit; `None`: no limit.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub failcnt: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// Swap in use, if known.
    pub swap: Option<u64>,
    /// `memory.stat` of the kernel, as it is.
    pub stat: std::collections::BTreeMap<String, u64>,
    /// Whether this is a unified (v2) hierarchy: `stat`'s names differ.
    pub unified: bool,
}

/// Numbers of processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// How many there may be; `None`: no limit.
    pub limit: Option<u64>,
}

/// Traffic with one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IoStats {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub read_ops: u64,
    /// Writes.
    pub write_ops: u64,
}
