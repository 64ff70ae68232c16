//! One reading, as Docker shows it.

use coracle_docker::human;
use coracle_docker::stats::{MemoryStats, StatsResponse};

use crate::output::{Row, percent, row, short_id};

/// A reading's cells.
pub(super) fn cells(stats: &StatsResponse, full: bool) -> Row {
    let id = if full { &stats.id } else { short_id(&stats.id) };
    let used = memory(&stats.memory_stats);
    let limit = stats.memory_stats.limit;
    let size = |bytes| human::size_with_precision(bytes, 3);
    let received = stats.networks.values().map(|card| card.rx_bytes).sum();
    let sent = stats.networks.values().map(|card| card.tx_bytes).sum();
    let (read, written) = blocks(stats);
    row([
        ("ID", id.into()),
        ("Container", id.into()),
        ("Name", stats.name.trim_start_matches('/').into()),
        ("CPUPerc", percent(processor(stats)).into()),
        (
            "MemUsage",
            format!(
                "{} / {}",
                human::binary_size(used),
                human::binary_size(limit)
            )
            .into(),
        ),
        ("MemPerc", percent(share(used, limit) * 100.0).into()),
        (
            "NetIO",
            format!("{} / {}", size(received), size(sent)).into(),
        ),
        (
            "BlockIO",
            format!("{} / {}", size(read), size(written)).into(),
        ),
        ("PIDs", stats.pids_stats.current.to_string().into()),
    ])
}

#[allow(clippy::cast_precision_loss, reason = "shown with two digits")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Time used since the reading before, in hundredths of one processor's.
fn processor(stats: &StatsResponse) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let used = now
        .cpu_usage
        .total_usage
        .saturating_sub(before.cpu_usage.total_usage);
    let passed = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
    let processors = match now.online_cpus {
        0 => u32::try_from(now.cpu_usage.percpu_usage.len()).unwrap_or(1),
        processors => processors,
    };
    share(used, passed) * f64::from(processors) * 100.0
}

/// Without what could be given back at once.
fn memory(stats: &MemoryStats) -> u64 {
    let cache = ["total_inactive_file", "inactive_file"]
        .into_iter()
        .find_map(|key| stats.stats.get(key));
    match cache {
        Some(cache) if *cache < stats.usage => stats.usage - cache,
        _ => stats.usage,
    }
}

fn blocks(stats: &StatsResponse) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    let entries = stats
        .blkio_stats
        .io_service_bytes_recursive
        .iter()
        .flatten();
    for entry in entries {
        match entry.op.chars().next().map(|c| c.to_ascii_lowercase()) {
            Some('r') => read = read.saturating_add(entry.value),
            Some('w') => written = written.saturating_add(entry.value),
            _ => {}
        }
    }
    (read, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_dockers() {
        let json = r#"{"name":"/web","id":"0123456789abcdef",
            "cpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":2000,"online_cpus":4},
            "precpu_stats":{"cpu_usage":{"total_usage":100},"system_cpu_usage":1000},
            "memory_stats":{"usage":3145728,"limit":10485760,"stats":{"inactive_file":1048576}},
            "pids_stats":{"current":7},
            "networks":{"eth0":{"rx_bytes":1000,"tx_bytes":2000},"eth1":{"rx_bytes":500}},
            "blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":4096},
                {"op":"write","value":1},{"op":"Total","value":4097}]}}"#;
        let stats: StatsResponse = serde_json::from_str(json).unwrap();
        let row = cells(&stats, false);
        let cell = |name: &str| row[name].as_str().unwrap().to_owned();
        assert_eq!(cell("ID"), "0123456789ab");
        assert_eq!(cell("CPUPerc"), "80.00%");
        assert_eq!(cell("MemUsage"), "2MiB / 10MiB");
        assert_eq!(cell("MemPerc"), "20.00%");
        assert_eq!(cell("NetIO"), "1.5kB / 2kB");
        assert_eq!(cell("BlockIO"), "4.1kB / 1B");
        assert_eq!(cell("PIDs"), "7");
    }
}
