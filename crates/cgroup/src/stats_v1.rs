//! Statistics of v1 hierarchies.

use std::path::Path;

use crate::CpuStats;
use crate::Error;
use crate::HugetlbStats;
use crate::IoEntry;
use crate::IoStats;
use crate::MemoryStats;
use crate::files::read_optional;
use crate::parse;

/// `USER_HZ`, the same on every architecture that we have.
const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / 100;

/// What "unlimited" reads as: `PAGE_COUNTER_MAX` pages; smaller on machines with larger pages.
const UNLIMITED: u64 = i64::MAX as u64 - 0xf_ffff;

pub(crate) fn cpu(acct: Option<&Path>, cpu: Option<&Path>) -> Result<CpuStats, Error> {
    let mut stats = CpuStats::default();
    if let Some(dir) = acct {
        let number = |file| -> Result<Option<u64>, Error> {
            Ok(read_optional(dir, file)?.map(|text| parse::number(&text)))
        };
        // In nanoseconds since Linux 4.6.
        match (number("cpuacct.usage_user")?, number("cpuacct.usage_sys")?) {
            (Some(user), Some(system)) => (stats.user, stats.system) = (user, system),
            _ => {
                let text = read_optional(dir, "cpuacct.stat")?.unwrap_or_default();
                let ticks = |key| parse::value_of(&text, key).unwrap_or(0);
                stats.user = ticks("user").saturating_mul(NANOSECONDS_PER_TICK);
                stats.system = ticks("system").saturating_mul(NANOSECONDS_PER_TICK);
            }
        }
        stats.total = number("cpuacct.usage")?.unwrap_or(0);
        if let Some(text) = read_optional(dir, "cpuacct.usage_percpu")? {
            stats.per_cpu = parse::numbers(&text);
        }
    }
    if let Some(dir) = cpu
        && let Some(text) = read_optional(dir, "cpu.stat")?
    {
        let value = |key| parse::value_of(&text, key).unwrap_or(0);
        stats.periods = value("nr_periods");
        stats.throttled_periods = value("nr_throttled");
        stats.throttled_time = value("throttled_time");
    }
    Ok(stats)
}

pub(crate) fn memory(dir: &Path) -> Result<Option<MemoryStats>, Error> {
    let number = |file| -> Result<Option<u64>, Error> {
        Ok(read_optional(dir, file)?.map(|text| parse::number(&text)))
    };
    let Some(usage) = number("memory.usage_in_bytes")? else {
        return Ok(None);
    };
    let stat = parse::flat(&read_optional(dir, "memory.stat")?.unwrap_or_default());
    // The sums over the cgroups below, as the usage is one too.
    let sum = |key: &str| stat.get(&format!("total_{key}")).copied().unwrap_or(0);
    let oom = read_optional(dir, "memory.oom_control")?.unwrap_or_default();
    Ok(Some(MemoryStats {
        usage,
        max_usage: number("memory.max_usage_in_bytes")?,
        limit: number("memory.limit_in_bytes")?.filter(|&limit| limit < UNLIMITED),
        swap: number("memory.memsw.usage_in_bytes")?.map(|both| both.saturating_sub(usage)),
        cache: sum("cache"),
        inactive_file: sum("inactive_file"),
        fail_count: number("memory.failcnt")?.unwrap_or(0),
        oom_kills: parse::value_of(&oom, "oom_kill").unwrap_or(0),
        stat,
    }))
}

pub(crate) fn io(dir: &Path) -> Result<IoStats, Error> {
    // BFQ has its own count, and the other stays empty, or the other way round.
    let entries = |files: [&str; 2]| -> Result<Vec<IoEntry>, Error> {
        for file in files {
            let text = read_optional(dir, file)?.unwrap_or_default();
            let entries = parse::v1_io(&text);
            if !entries.is_empty() {
                return Ok(entries.into_iter().map(entry).collect());
            }
        }
        Ok(Vec::new())
    };
    Ok(IoStats {
        service_bytes: entries([
            "blkio.throttle.io_service_bytes_recursive",
            "blkio.bfq.io_service_bytes_recursive",
        ])?,
        serviced: entries([
            "blkio.throttle.io_serviced_recursive",
            "blkio.bfq.io_serviced_recursive",
        ])?,
    })
}

fn entry(((major, minor), op, value): ((u64, u64), &str, u64)) -> IoEntry {
    IoEntry {
        major,
        minor,
        op: op.to_owned(),
        value,
    }
}

pub(crate) fn hugetlb(dir: &Path) -> Result<Vec<HugetlbStats>, Error> {
    let mut stats = Vec::new();
    for page_size in page_sizes(dir, ".usage_in_bytes") {
        let number = |file: &str| -> Result<Option<u64>, Error> {
            let text = read_optional(dir, &format!("hugetlb.{page_size}.{file}"))?;
            Ok(text.map(|text| parse::number(&text)))
        };
        stats.push(HugetlbStats {
            usage: number("usage_in_bytes")?.unwrap_or(0),
            max_usage: number("max_usage_in_bytes")?,
            fail_count: number("failcnt")?.unwrap_or(0),
            page_size,
        });
    }
    Ok(stats)
}

/// The sizes of huge pages that a cgroup has files for.
pub(crate) fn page_sizes(dir: &Path, suffix: &str) -> Vec<String> {
    let size = |name: &str| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?;
        (!size.contains('.')).then(|| size.to_owned())
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut sizes: Vec<_> = entries
        .filter_map(|entry| size(entry.file_name().to_str()?))
        .collect();
    sizes.sort();
    sizes
}
