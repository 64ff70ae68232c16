//! What a container uses.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// One reading of a container's use of the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// When it was read.
    pub read: Timestamp,
    /// Processes and threads now.
    pub pids: u64,
    /// Limit of the same; `None` where there is none.
    pub pids_limit: Option<u64>,
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Block devices.
    pub block: Vec<BlockStats>,
    /// Network interfaces, by name inside.
    pub networks: BTreeMap<String, InterfaceStats>,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuStats {
    /// All of the container's.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In kernel mode.
    pub system: u64,
    /// By processor, where the kernel tells.
    pub per_cpu: Vec<u64>,
    /// All of the host's.
    pub host_total: u64,
    /// Processors on line.
    pub online: u32,
    /// Periods that had a quota.
    pub periods: u64,
    /// Periods in which it ran out.
    pub throttled_periods: u64,
    /// Time spent waiting for the next.
    pub throttled_time: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryStats {
    /// In use, page cache included.
    pub usage: u64,
    /// The most ever, where the kernel tells.
    pub max_usage: u64,
    /// Limit; the host's memory where there is none.
    pub limit: u64,
    /// Times that the limit was hit.
    pub failures: u64,
    /// The kernel's own breakdown.
    pub detail: BTreeMap<String, u64>,
}

/// A block device's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// Device numbers.
    pub major: u64,
    /// Device numbers.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// A network interface's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Errors while receiving.
    pub rx_errors: u64,
    /// Packets dropped while receiving.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Errors while sending.
    pub tx_errors: u64,
    /// Packets dropped while sending.
    pub tx_dropped: u64,
}
