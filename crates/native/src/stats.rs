//! What a container uses.

use std::collections::BTreeMap;

use coracle_runtime::stats as domain;
use jiff::Timestamp;

use crate::wire::answer;

answer! {
    /// One reading. Counters count from the container's start.
    pub struct Stats {
        /// When it was read.
        time: Timestamp,
        /// Processor time.
        cpu: Cpu,
        /// Memory.
        memory: Memory,
        /// Processes and threads now.
        pids: u64,
        /// The limit of those; absent where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pids_limit: Option<u64>,
        /// Block devices.
        block: Vec<Block>,
        /// Network interfaces, by name inside.
        networks: BTreeMap<String, Interface>,
    }

    /// Processor time, in nanoseconds.
    pub struct Cpu {
        /// All of it.
        total: u64,
        /// In user mode.
        user: u64,
        /// In kernel mode.
        system: u64,
        /// All of the host's, to divide by.
        host_total: u64,
        /// The host's processors.
        online: u32,
        /// Time spent waiting, because the quota had run out.
        throttled: u64,
    }

    /// Memory, in bytes.
    pub struct Memory {
        /// In use, page cache included.
        usage: u64,
        /// The same without page cache that could be dropped.
        working_set: u64,
        /// The limit; the host's memory where there is none.
        limit: u64,
    }

    /// A block device's counters.
    pub struct Block {
        /// `major:minor`.
        device: String,
        /// Bytes.
        read_bytes: u64,
        /// Bytes.
        write_bytes: u64,
        /// Operations.
        reads: u64,
        /// Operations.
        writes: u64,
    }

    /// A network interface's counters.
    pub struct Interface {
        /// Bytes.
        rx_bytes: u64,
        /// Packets.
        rx_packets: u64,
        /// Errors.
        rx_errors: u64,
        /// Packets.
        rx_dropped: u64,
        /// Bytes.
        tx_bytes: u64,
        /// Packets.
        tx_packets: u64,
        /// Errors.
        tx_errors: u64,
        /// Packets.
        tx_dropped: u64,
    }

    /// Readings of the last minutes.
    pub struct StatsHistory {
        /// Seconds between two readings.
        interval: u64,
        /// Oldest first. Few or none right after the first request, which makes the daemon collect.
        readings: Vec<Sample>,
    }

    /// One reading, in sums.
    pub struct Sample {
        /// When it was read.
        time: Timestamp,
        /// Processor time, in nanoseconds.
        cpu: u64,
        /// Bytes of memory, without page cache that could be dropped.
        memory: u64,
        /// Processes and threads.
        pids: u64,
        /// Bytes received, all interfaces.
        rx_bytes: u64,
        /// Bytes sent, all interfaces.
        tx_bytes: u64,
        /// Bytes read, all devices.
        read_bytes: u64,
        /// Bytes written, all devices.
        write_bytes: u64,
    }
}

/// Memory in use, without the page cache that the kernel would drop first.
fn working_set(memory: &domain::MemoryStats) -> u64 {
    let inactive = ["inactive_file", "total_inactive_file"]
        .iter()
        .find_map(|key| memory.detail.get(*key));
    memory.usage.saturating_sub(inactive.copied().unwrap_or(0))
}

impl From<domain::Stats> for Stats {
    fn from(stats: domain::Stats) -> Self {
        Self {
            time: stats.read,
            cpu: Cpu {
                total: stats.cpu.total,
                user: stats.cpu.user,
                system: stats.cpu.system,
                host_total: stats.cpu.host_total,
                online: stats.cpu.online,
                throttled: stats.cpu.throttled_time,
            },
            memory: Memory {
                usage: stats.memory.usage,
                working_set: working_set(&stats.memory),
                limit: stats.memory.limit,
            },
            pids: stats.pids,
            pids_limit: stats.pids_limit,
            block: stats.block.into_iter().map(Into::into).collect(),
            networks: stats
                .networks
                .into_iter()
                .map(|(name, counters)| (name, counters.into()))
                .collect(),
        }
    }
}

impl From<domain::BlockStats> for Block {
    fn from(block: domain::BlockStats) -> Self {
        Self {
            device: format!("{}:{}", block.major, block.minor),
            read_bytes: block.read_bytes,
            write_bytes: block.write_bytes,
            reads: block.reads,
            writes: block.writes,
        }
    }
}

impl From<domain::InterfaceStats> for Interface {
    fn from(counters: domain::InterfaceStats) -> Self {
        Self {
            rx_bytes: counters.rx_bytes,
            rx_packets: counters.rx_packets,
            rx_errors: counters.rx_errors,
            rx_dropped: counters.rx_dropped,
            tx_bytes: counters.tx_bytes,
            tx_packets: counters.tx_packets,
            tx_errors: counters.tx_errors,
            tx_dropped: counters.tx_dropped,
        }
    }
}

impl From<&domain::Stats> for Sample {
    fn from(stats: &domain::Stats) -> Self {
        let net = |of: fn(&domain::InterfaceStats) -> u64| stats.networks.values().map(of).sum();
        let block = |of: fn(&domain::BlockStats) -> u64| stats.block.iter().map(of).sum();
        Self {
            time: stats.read,
            cpu: stats.cpu.total,
            memory: working_set(&stats.memory),
            pids: stats.pids,
            rx_bytes: net(|n| n.rx_bytes),
            tx_bytes: net(|n| n.tx_bytes),
            read_bytes: block(|b| b.read_bytes),
            write_bytes: block(|b| b.write_bytes),
        }
    }
}
