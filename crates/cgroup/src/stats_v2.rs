//! Statistics of the v2 tree.

use std::path::Path;

use crate::CpuStats;
use crate::Error;
use crate::HugetlbStats;
use crate::IoEntry;
use crate::IoStats;
use crate::MemoryStats;
use crate::Pressure;
use crate::PressureLine;
use crate::files::read_optional;
use crate::parse;
use crate::stats_v1::page_sizes;

pub(crate) fn cpu(dir: &Path) -> Result<CpuStats, Error> {
    let text = read_optional(dir, "cpu.stat")?.unwrap_or_default();
    let value = |key| parse::value_of(&text, key).unwrap_or(0);
    let nanoseconds = |key| value(key).saturating_mul(1000);
    Ok(CpuStats {
        total: nanoseconds("usage_usec"),
        user: nanoseconds("user_usec"),
        system: nanoseconds("system_usec"),
        per_cpu: Vec::new(),
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_time: nanoseconds("throttled_usec"),
    })
}

pub(crate) fn memory(dir: &Path) -> Result<Option<MemoryStats>, Error> {
    let limit = |file| -> Result<Option<u64>, Error> {
        let text = read_optional(dir, file)?;
        Ok(text.and_then(|text| parse::limit(&text)))
    };
    let Some(usage) = limit("memory.current")? else {
        return Ok(None);
    };
    let stat = parse::flat(&read_optional(dir, "memory.stat")?.unwrap_or_default());
    let value = |key| stat.get(key).copied().unwrap_or(0);
    let events = read_optional(dir, "memory.events")?.unwrap_or_default();
    Ok(Some(MemoryStats {
        usage,
        max_usage: limit("memory.peak")?,
        limit: limit("memory.max")?,
        swap: limit("memory.swap.current")?,
        cache: value("file"),
        inactive_file: value("inactive_file"),
        fail_count: parse::value_of(&events, "oom").unwrap_or(0),
        oom_kills: parse::value_of(&events, "oom_kill").unwrap_or(0),
        stat,
    }))
}

pub(crate) fn io(dir: &Path) -> Result<IoStats, Error> {
    let mut stats = IoStats::default();
    let text = read_optional(dir, "io.stat")?.unwrap_or_default();
    for ((major, minor), values) in parse::v2_io(&text) {
        let entry = |op: &str, key: &str| {
            values.get(key).map(|&value| IoEntry {
                major,
                minor,
                op: op.to_owned(),
                value,
            })
        };
        let bytes = [
            ("read", "rbytes"),
            ("write", "wbytes"),
            ("discard", "dbytes"),
        ];
        let operations = [("read", "rios"), ("write", "wios"), ("discard", "dios")];
        stats
            .service_bytes
            .extend(bytes.iter().filter_map(|(op, key)| entry(op, key)));
        stats
            .serviced
            .extend(operations.iter().filter_map(|(op, key)| entry(op, key)));
    }
    Ok(stats)
}

pub(crate) fn hugetlb(dir: &Path) -> Result<Vec<HugetlbStats>, Error> {
    let mut stats = Vec::new();
    for page_size in page_sizes(dir, ".current") {
        let file = |name: &str| read_optional(dir, &format!("hugetlb.{page_size}.{name}"));
        let usage = file("current")?.map_or(0, |text| parse::number(&text));
        let events = file("events")?.unwrap_or_default();
        stats.push(HugetlbStats {
            usage,
            max_usage: None,
            fail_count: parse::value_of(&events, "max").unwrap_or(0),
            page_size,
        });
    }
    Ok(stats)
}

/// None where the kernel doesn't account it.
pub(crate) fn pressure(dir: &Path, file: &str) -> Result<Option<Pressure>, Error> {
    Ok(read_optional(dir, file)?.and_then(|text| parse_pressure(&text)))
}

fn parse_pressure(text: &str) -> Option<Pressure> {
    let line = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let value = |key: &str| {
            let mut words = line.split_whitespace();
            words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        let percent = |key| value(key).and_then(hundredths).unwrap_or(0);
        Some(PressureLine {
            avg10: percent("avg10"),
            avg60: percent("avg60"),
            avg300: percent("avg300"),
            total: value("total")?.parse().ok()?,
        })
    };
    Some(Pressure {
        some: line("some ")?,
        full: line("full ").unwrap_or_default(),
    })
}

/// `12.34` as 1234.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.')?;
    let fraction: u32 = match fraction.len() {
        2 => fraction.parse().ok()?,
        _ => return None,
    };
    whole
        .parse::<u32>()
        .ok()?
        .checked_mul(100)?
        .checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pressure_lines() {
        let text = "some avg10=1.05 avg60=100.00 avg300=0.10 total=77\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
        let pressure = parse_pressure(text).unwrap();
        assert_eq!(pressure.some.avg10, 105);
        assert_eq!(pressure.some.avg60, 10_000);
        assert_eq!(pressure.some.total, 77);
        assert_eq!(pressure.full.total, 3);
        assert_eq!(parse_pressure(""), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "((some|full) |avg10=|total=|[0-9.]{0,12}| |\n){0,30}") {
            parse_pressure(&text);
        }
    }
}
