//! What containers and the machine use.

use std::fs;

use coracle_guest::{DiskStats, Failure, Json, MachineStats, Reply};
use coracle_task::{NetworkStats, Stats};

use crate::disks;
use crate::error::{During, Result};

/// The answer for a container.
pub(crate) fn container(stats: &Stats) -> Result<Reply> {
    Ok(Reply::Stats {
        stats: Json::new(stats).map_err(|error| Failure::internal(error.to_string()))?,
        interfaces: interfaces()?,
    })
}

fn interfaces() -> Result<Vec<NetworkStats>> {
    let links = coracle_network::interface::links()
        .map_err(|error| Failure::internal(error.to_string()))?;
    let cards = links.into_iter().filter(|link| link.name != "lo");
    Ok(cards
        .map(|link| {
            let statistics = link.statistics;
            NetworkStats {
                name: link.name,
                rx_bytes: statistics.rx_bytes,
                rx_packets: statistics.rx_packets,
                rx_errors: statistics.rx_errors,
                rx_dropped: statistics.rx_dropped,
                tx_bytes: statistics.tx_bytes,
                tx_packets: statistics.tx_packets,
                tx_errors: statistics.tx_errors,
                tx_dropped: statistics.tx_dropped,
            }
        })
        .collect())
}

/// The whole machine.
pub(crate) fn machine() -> Result<MachineStats> {
    let read = |path: &str| fs::read_to_string(path).during(|| format!("read {path}"));
    let uptime = read("/proc/uptime")?;
    let uptime = uptime.split('.').collect::<String>();
    // Seconds with two digits after the point.
    let hundredths: u64 = uptime
        .split_ascii_whitespace()
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default();
    Ok(MachineStats {
        memory: memory(&read("/proc/meminfo")?),
        load: load(&read("/proc/loadavg")?),
        uptime_ms: hundredths * 10,
        interfaces: interfaces()?,
        disks: block(&read("/proc/diskstats")?, &disks::list()?),
    })
}

/// `/proc/meminfo` (proc(5)).
fn memory(text: &str) -> Vec<(String, u64)> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let mut words = rest.split_ascii_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        let unit = if words.next() == Some("kB") { 1024 } else { 1 };
        Some((name.to_owned(), number.saturating_mul(unit)))
    };
    text.lines().filter_map(line).collect()
}

/// `/proc/loadavg`, in hundredths.
fn load(text: &str) -> [u64; 3] {
    let mut words = text.split(' ');
    std::array::from_fn(|_| {
        let word = words.next().unwrap_or_default();
        word.replace('.', "").parse().unwrap_or_default()
    })
}

/// `/proc/diskstats` (the kernel's admin-guide/iostats.rst), whose sectors have 512 bytes.
fn block(text: &str, disks: &[(String, String)]) -> Vec<DiskStats> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (name, serial) = disks
            .iter()
            .find(|(name, _)| Some(&name.as_str()) == words.get(2))?;
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        Some(DiskStats {
            name: name.clone(),
            serial: serial.clone(),
            read_ops: number(3)?,
            read_bytes: number(5)?.saturating_mul(512),
            write_ops: number(7)?,
            write_bytes: number(9)?.saturating_mul(512),
        })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        let text = "MemTotal:  100 kB\nHugePages_Total:       3\nbad\n";
        assert_eq!(
            memory(text),
            [("MemTotal".into(), 102_400), ("HugePages_Total".into(), 3)]
        );
        assert_eq!(load("0.05 1.20 10.00 1/2 3\n"), [5, 120, 1000]);
        let disks = [("vda".to_owned(), "root".to_owned())];
        let text = " 254 0 vda 10 1 20 5 30 2 40 6 0 0 0\n 254 16 vdb 1 1 1 1 1 1 1 1 1 1\n 7\n";
        let found = block(text, &disks);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (
                found[0].read_bytes,
                found[0].write_ops,
                found[0].write_bytes
            ),
            (10_240, 30, 20_480)
        );
        machine().unwrap();
    }
}
