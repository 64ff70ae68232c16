//! What a cgroup has used, in the task protocol's terms.

use std::collections::BTreeMap;

use coracle_task::CpuStats;
use coracle_task::IoStats;
use coracle_task::MemoryStats;
use coracle_task::PidsStats;
use coracle_task::Stats;
use jiff::Timestamp;

pub(crate) fn convert(from: coracle_cgroup::Stats) -> Stats {
    let cpu = from.cpu;
    Stats {
        read: Timestamp::now(),
        cpu: CpuStats {
            usage_ns: cpu.total,
            user_ns: cpu.user,
            system_ns: cpu.system,
            per_cpu_ns: cpu.per_cpu,
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_ns: cpu.throttled_time,
        },
        memory: from.memory.map(memory).unwrap_or_default(),
        pids: from.pids.map_or_else(PidsStats::default, |pids| PidsStats {
            current: pids.current,
            limit: pids.limit,
        }),
        io: io(&from.io),
        networks: Vec::new(),
    }
}

fn memory(from: coracle_cgroup::MemoryStats) -> MemoryStats {
    MemoryStats {
        usage: from.usage,
        max_usage: from.max_usage,
        limit: from.limit,
        failcnt: from.fail_count,
        oom_kills: from.oom_kills,
        swap: from.swap,
        // Only v2 tells memory of its processes by this name.
        unified: from.stat.contains_key("anon"),
        stat: from.stat,
    }
}

fn io(from: &coracle_cgroup::IoStats) -> Vec<IoStats> {
    let mut devices = BTreeMap::new();
    let entries = from.service_bytes.iter().map(|entry| (entry, true));
    let entries = entries.chain(from.serviced.iter().map(|entry| (entry, false)));
    for (entry, is_bytes) in entries {
        let device = devices
            .entry((entry.major, entry.minor))
            .or_insert_with(|| IoStats {
                major: entry.major,
                minor: entry.minor,
                ..IoStats::default()
            });
        let place = match (entry.op.to_ascii_lowercase().as_str(), is_bytes) {
            ("read", true) => &mut device.read_bytes,
            ("read", false) => &mut device.read_ops,
            ("write", true) => &mut device.write_bytes,
            ("write", false) => &mut device.write_ops,
            _ => continue,
        };
        *place = entry.value;
    }
    devices.into_values().collect()
}
