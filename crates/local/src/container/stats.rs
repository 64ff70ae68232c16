//! What a container uses.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_runtime::io::BoxStream;
use coracle_runtime::stats::{BlockStats, CpuStats, InterfaceStats, MemoryStats, Stats};
use coracle_runtime::{Result, Status};
use futures_util::stream;
use jiff::Timestamp;

use super::handle::Handle;
use crate::machine;

/// Between two readings of a stream.
const INTERVAL: Duration = Duration::from_secs(1);
/// Nanoseconds of one tick of `/proc/stat` (USER_HZ is 100 on every Linux).
const TICK: u64 = 10_000_000;

/// Readings: one, or one a second until the container is removed.
pub(crate) fn stats(handle: Handle, follow: bool) -> BoxStream<Stats> {
    let first = true;
    Box::pin(stream::unfold(
        (handle, first),
        move |(handle, first)| async move {
            if !first {
                if !follow {
                    return None;
                }
                tokio::time::sleep(INTERVAL).await;
                if handle.now().removed {
                    return None;
                }
            }
            Some((read(&handle).await, (handle, false)))
        },
    ))
}

/// One reading; zeros of a container that does not run.
async fn read(handle: &Handle) -> Result<Stats> {
    let now = handle.now();
    let Some(run) = now
        .run
        .filter(|_| now.container.state.status != Status::Created)
    else {
        return Ok(Stats {
            read: Timestamp::now(),
            ..Default::default()
        });
    };
    // It may end at any moment, which is no error of the reader's.
    let Ok(stats) = run.client.stats().await else {
        return Ok(Stats {
            read: Timestamp::now(),
            ..Default::default()
        });
    };
    let shares_network = matches!(
        now.record.host_config.network_mode.as_str(),
        "host" | "none"
    );
    let networks = if machine::is_machine(&now.record.host_config) {
        reported(&stats.networks)
    } else if shares_network {
        BTreeMap::new()
    } else {
        interfaces(now.container.state.pid)
    };
    let mut result = convert(stats);
    result.networks = networks;
    Ok(result)
}

fn convert(stats: coracle_task::Stats) -> Stats {
    Stats {
        read: Timestamp::now(),
        pids: stats.pids.current,
        pids_limit: stats.pids.limit,
        cpu: CpuStats {
            total: stats.cpu.usage_ns,
            user: stats.cpu.user_ns,
            system: stats.cpu.system_ns,
            per_cpu: stats.cpu.per_cpu_ns,
            host_total: host_cpu(),
            online: online(),
            periods: stats.cpu.periods,
            throttled_periods: stats.cpu.throttled_periods,
            throttled_time: stats.cpu.throttled_ns,
        },
        memory: MemoryStats {
            usage: stats.memory.usage,
            max_usage: stats.memory.max_usage.unwrap_or_default(),
            limit: stats.memory.limit.unwrap_or_else(crate::host::memory),
            failures: stats.memory.failcnt,
            detail: stats.memory.stat,
        },
        block: stats
            .io
            .into_iter()
            .map(|io| BlockStats {
                major: io.major,
                minor: io.minor,
                read_bytes: io.read_bytes,
                write_bytes: io.write_bytes,
                reads: io.read_ops,
                writes: io.write_ops,
            })
            .collect(),
        networks: BTreeMap::new(),
    }
}

/// All processor time of the host, nanoseconds (proc_stat(5)); guest time is in user time already.
fn host_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: u64 = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    ticks.saturating_mul(TICK)
}

fn online() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

/// The interfaces of a machine, as its shim tells them.
fn reported(networks: &[coracle_task::NetworkStats]) -> BTreeMap<String, InterfaceStats> {
    let convert = |network: &coracle_task::NetworkStats| InterfaceStats {
        rx_bytes: network.rx_bytes,
        rx_packets: network.rx_packets,
        rx_errors: network.rx_errors,
        rx_dropped: network.rx_dropped,
        tx_bytes: network.tx_bytes,
        tx_packets: network.tx_packets,
        tx_errors: network.tx_errors,
        tx_dropped: network.tx_dropped,
    };
    let named = networks.iter();
    named
        .map(|network| (network.name.clone(), convert(network)))
        .collect()
}

/// The interfaces in a process' network namespace, without its loopback (proc_pid_net_dev(5)).
fn interfaces(pid: i32) -> BTreeMap<String, InterfaceStats> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    parse_interfaces(&text)
}

fn parse_interfaces(text: &str) -> BTreeMap<String, InterfaceStats> {
    let mut interfaces = BTreeMap::new();
    for line in text.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim();
        let counters: Vec<u64> = counters
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let &[
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = counters.as_slice()
        else {
            continue;
        };
        if name != "lo" {
            interfaces.insert(
                name.to_owned(),
                InterfaceStats {
                    rx_bytes,
                    rx_packets,
                    rx_errors,
                    rx_dropped,
                    tx_bytes,
                    tx_packets,
                    tx_errors,
                    tx_dropped,
                },
            );
        }
    }
    interfaces
}

#[cfg(test)]
mod tests {
    use super::parse_interfaces;

    #[test]
    fn interfaces_are_read_by_column() {
        let text = "Inter-| Receive | Transmit\n face |bytes ...\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 20 5 6 7 0 0 0 0\n junk\n";
        let interfaces = parse_interfaces(text);
        assert_eq!(interfaces.len(), 1);
        let eth0 = &interfaces["eth0"];
        assert_eq!((eth0.rx_bytes, eth0.tx_bytes, eth0.tx_dropped), (10, 20, 7));
    }
}
