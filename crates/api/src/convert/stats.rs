//! Statistics.

use coracle_docker::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats,
    StatsResponse, ThrottlingData,
};
use coracle_docker::time::Time;
use coracle_runtime::stats::{self, BlockStats, Stats};

/// A reading, with the processors of the one before.
pub(crate) fn response(
    name: &str,
    id: &str,
    stats: Stats,
    before: Option<&StatsResponse>,
) -> StatsResponse {
    let entries = |op: &str, value: fn(&BlockStats) -> u64| {
        stats
            .block
            .iter()
            .map(|device| BlkioEntry {
                major: device.major,
                minor: device.minor,
                op: op.to_owned(),
                value: value(device),
            })
            .collect::<Vec<_>>()
    };
    let by_device = |read: fn(&BlockStats) -> u64, write: fn(&BlockStats) -> u64| {
        let mut all = entries("read", read);
        all.extend(entries("write", write));
        all.sort_by_key(|entry| (entry.major, entry.minor));
        Some(all).filter(|all| !all.is_empty())
    };
    StatsResponse {
        name: format!("/{name}"),
        id: id.to_owned(),
        read: stats.read.into(),
        preread: before.map_or(Time(None), |before| before.read),
        pids_stats: PidsStats {
            current: stats.pids,
            // A running container without a limit has the greatest number there is.
            limit: match stats.pids_limit {
                Some(limit) => limit,
                None if stats.pids > 0 => u64::MAX,
                None => 0,
            },
        },
        blkio_stats: BlkioStats {
            io_service_bytes_recursive: by_device(|d| d.read_bytes, |d| d.write_bytes),
            io_serviced_recursive: by_device(|d| d.reads, |d| d.writes),
            ..BlkioStats::default()
        },
        cpu_stats: cpu(stats.cpu),
        precpu_stats: before
            .map(|before| before.cpu_stats.clone())
            .unwrap_or_default(),
        memory_stats: MemoryStats {
            usage: stats.memory.usage,
            max_usage: stats.memory.max_usage,
            stats: stats.memory.detail,
            failcnt: stats.memory.failures,
            limit: stats.memory.limit,
        },
        networks: stats
            .networks
            .into_iter()
            .map(|(name, interface)| {
                let interface = NetworkStats {
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
            })
            .collect(),
        ..StatsResponse::default()
    }
}

fn cpu(cpu: stats::CpuStats) -> CpuStats {
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cpu.total,
            percpu_usage: cpu.per_cpu,
            usage_in_kernelmode: cpu.system,
            usage_in_usermode: cpu.user,
        },
        system_cpu_usage: cpu.host_total,
        online_cpus: cpu.online,
        throttling_data: ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_time,
        },
    }
}
