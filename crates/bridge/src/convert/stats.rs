//! Statistics.

use std::collections::BTreeMap;

use coracle_docker::stats::{BlkioEntry, StatsResponse};
use coracle_runtime::stats::{BlockStats, CpuStats, InterfaceStats, MemoryStats, Stats};
use jiff::Timestamp;

/// A reading.
pub(crate) fn reading(told: StatsResponse) -> Stats {
    let cpu = told.cpu_stats;
    let memory = told.memory_stats;
    let networks = told.networks.into_iter().map(|(name, interface)| {
        let interface = InterfaceStats {
            rx_bytes: interface.rx_bytes,
            rx_packets: interface.rx_packets,
            rx_errors: interface.rx_errors,
            rx_dropped: interface.rx_dropped,
            tx_bytes: interface.tx_bytes,
            tx_packets: interface.tx_packets,
            tx_errors: interface.tx_errors,
            tx_dropped: interface.tx_dropped,
        };
        (name, interface)
    });
    Stats {
        // Of what doesn't run, engines give a reading without a time.
        read: told.read.0.unwrap_or_else(Timestamp::now),
        pids: told.pids_stats.current,
        pids_limit: Some(told.pids_stats.limit).filter(|limit| !matches!(limit, 0 | &u64::MAX)),
        cpu: CpuStats {
            total: cpu.cpu_usage.total_usage,
            user: cpu.cpu_usage.usage_in_usermode,
            system: cpu.cpu_usage.usage_in_kernelmode,
            per_cpu: cpu.cpu_usage.percpu_usage,
            host_total: cpu.system_cpu_usage,
            online: cpu.online_cpus,
            periods: cpu.throttling_data.periods,
            throttled_periods: cpu.throttling_data.throttled_periods,
            throttled_time: cpu.throttling_data.throttled_time,
        },
        memory: MemoryStats {
            usage: memory.usage,
            max_usage: memory.max_usage,
            limit: memory.limit,
            failures: memory.failcnt,
            detail: memory.stats,
        },
        block: block(
            told.blkio_stats.io_service_bytes_recursive,
            told.blkio_stats.io_serviced_recursive,
        ),
        networks: networks.collect(),
    }
}

fn block(bytes: Option<Vec<BlkioEntry>>, operations: Option<Vec<BlkioEntry>>) -> Vec<BlockStats> {
    let mut devices: BTreeMap<(u64, u64), BlockStats> = BTreeMap::new();
    let mut add = |entry: BlkioEntry, counts: bool| {
        let (major, minor) = (entry.major, entry.minor);
        let device = devices.entry((major, minor)).or_insert(BlockStats {
            major,
            minor,
            ..BlockStats::default()
        });
        // With cgroup v1 there are further words, and their sum.
        let counter = match entry.op.to_ascii_lowercase().as_str() {
            "read" if counts => &mut device.reads,
            "write" if counts => &mut device.writes,
            "read" => &mut device.read_bytes,
            "write" => &mut device.write_bytes,
            _ => return,
        };
        *counter = counter.saturating_add(entry.value);
    };
    for entry in bytes.unwrap_or_default() {
        add(entry, false);
    }
    for entry in operations.unwrap_or_default() {
        add(entry, true);
    }
    devices.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_put_together() {
        let entry = |op: &str, value| BlkioEntry {
            major: 8,
            minor: 1,
            op: op.into(),
            value,
        };
        let bytes = vec![entry("Read", 1), entry("write", 2), entry("Total", 3)];
        let counts = vec![entry("read", 4), entry("Write", 5), entry("Sync", 9)];
        assert_eq!(
            block(Some(bytes), Some(counts)),
            [BlockStats {
                major: 8,
                minor: 1,
                read_bytes: 1,
                write_bytes: 2,
                reads: 4,
                writes: 5,
            }]
        );
        assert!(block(None, None).is_empty());
    }
}
