//! Statistics (in snake case, unlike everything else).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Time;
use crate::wire::is_default;

/// Declares structs in snake case, every field optional when read.
macro_rules! snake {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[serde(deserialize_with = "crate::wire::null_default")]
                pub $field: $ty,
            )*
        }
    )*};
}

snake! {
    /// A line of `GET /containers/{id}/stats`.
    pub struct StatsResponse {
        /// With a leading slash.
        #[serde(skip_serializing_if = "is_default")]
        pub name: String,
        /// The container's id.
        #[serde(skip_serializing_if = "is_default")]
        pub id: String,
        /// When it was read.
        pub read: Time,
        /// When the reading before was.
        pub preread: Time,
        /// Processes.
        pub pids_stats: PidsStats,
        /// Block devices.
        pub blkio_stats: BlkioStats,
        /// Windows only.
        pub num_procs: u32,
        /// Windows only.
        pub storage_stats: StorageStats,
        /// Processors.
        pub cpu_stats: CpuStats,
        /// Processors in the reading before.
        pub precpu_stats: CpuStats,
        /// Memory.
        pub memory_stats: MemoryStats,
        /// Networks, by interface.
        #[serde(skip_serializing_if = "is_default")]
        pub networks: BTreeMap<String, NetworkStats>,
    }

    /// Processes.
    pub struct PidsStats {
        /// Now.
        #[serde(skip_serializing_if = "is_default")]
        pub current: u64,
        /// At most; the greatest number there is where unlimited.
        #[serde(skip_serializing_if = "is_default")]
        pub limit: u64,
    }

    /// Windows only.
    pub struct StorageStats {}

    /// Block devices.
    pub struct BlkioStats {
        /// Bytes.
        pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
        /// Operations.
        pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
        /// Not collected.
        pub io_queue_recursive: Option<Vec<BlkioEntry>>,
        /// Not collected.
        pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
        /// Not collected.
        pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
        /// Not collected.
        pub io_merged_recursive: Option<Vec<BlkioEntry>>,
        /// Not collected.
        pub io_time_recursive: Option<Vec<BlkioEntry>>,
        /// Not collected.
        pub sectors_recursive: Option<Vec<BlkioEntry>>,
    }

    /// A counter of a block device.
    pub struct BlkioEntry {
        /// Device number.
        pub major: u64,
        /// Device number.
        pub minor: u64,
        /// `read`, `write`.
        pub op: String,
        /// Count.
        pub value: u64,
    }

    /// Processors.
    pub struct CpuStats {
        /// Time used.
        pub cpu_usage: CpuUsage,
        /// The host's time, ns.
        #[serde(skip_serializing_if = "is_default")]
        pub system_cpu_usage: u64,
        /// Processors on line.
        #[serde(skip_serializing_if = "is_default")]
        pub online_cpus: u32,
        /// Throttling.
        pub throttling_data: ThrottlingData,
    }

    /// Processor time, ns.
    pub struct CpuUsage {
        /// All.
        pub total_usage: u64,
        /// By processor (cgroup v1).
        #[serde(skip_serializing_if = "is_default")]
        pub percpu_usage: Vec<u64>,
        /// In the kernel.
        pub usage_in_kernelmode: u64,
        /// In user mode.
        pub usage_in_usermode: u64,
    }

    /// Throttling.
    pub struct ThrottlingData {
        /// Periods with a quota.
        pub periods: u64,
        /// Periods in which it ran out.
        pub throttled_periods: u64,
        /// Time throttled, ns.
        pub throttled_time: u64,
    }

    /// Memory, bytes.
    pub struct MemoryStats {
        /// In use, cache included.
        #[serde(skip_serializing_if = "is_default")]
        pub usage: u64,
        /// The most ever (cgroup v1).
        #[serde(skip_serializing_if = "is_default")]
        pub max_usage: u64,
        /// The kernel's breakdown.
        #[serde(skip_serializing_if = "is_default")]
        pub stats: BTreeMap<String, u64>,
        /// Times the limit was hit.
        #[serde(skip_serializing_if = "is_default")]
        pub failcnt: u64,
        /// At most.
        #[serde(skip_serializing_if = "is_default")]
        pub limit: u64,
    }

    /// A network interface.
    pub struct NetworkStats {
        /// Bytes received.
        pub rx_bytes: u64,
        /// Packets received.
        pub rx_packets: u64,
        /// Errors.
        pub rx_errors: u64,
        /// Dropped.
        pub rx_dropped: u64,
        /// Bytes sent.
        pub tx_bytes: u64,
        /// Packets sent.
        pub tx_packets: u64,
        /// Errors.
        pub tx_errors: u64,
        /// Dropped.
        pub tx_dropped: u64,
    }
}
