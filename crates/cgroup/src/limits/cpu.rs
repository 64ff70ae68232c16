//! CPU time and CPU sets.

use std::path::Path;

use oci_spec::runtime::LinuxCpu;

use crate::Cgroup;
use crate::Error;
use crate::cgroup::Place;
use crate::files;
use crate::parse;

const CONTROLLER: &str = "cpu";

pub(super) fn apply(cgroup: &Cgroup, cpu: &LinuxCpu) -> Result<(), Error> {
    let asked = [
        ("cpu.shares", shares(cpu)?.is_some()),
        ("cpu.quota", quota(cpu).is_some()),
        ("cpu.period", period(cpu).is_some()),
        ("cpu.burst", cpu.burst().is_some()),
        ("cpu.idle", cpu.idle().is_some()),
        ("cpu.realtimePeriod", realtime_period(cpu).is_some()),
        ("cpu.realtimeRuntime", realtime_runtime(cpu).is_some()),
    ];
    if let Some((name, _)) = asked.iter().find(|(_, asked)| *asked) {
        match cgroup.need(CONTROLLER, name)? {
            Place::V1(dir) => v1(dir, cpu)?,
            Place::V2(dir) => v2(dir, cpu)?,
        }
    }
    cpuset(cgroup, "cpuset.cpus", "cpu.cpus", cpu.cpus().as_deref())?;
    cpuset(cgroup, "cpuset.mems", "cpu.mems", cpu.mems().as_deref())
}

/// 0 is "not set".
fn shares(cpu: &LinuxCpu) -> Result<Option<u64>, Error> {
    let invalid = |shares: u64, reason: &str| Err(Error::invalid("cpu.shares", shares, reason));
    match cpu.shares() {
        None | Some(0) => Ok(None),
        Some(shares @ 1) => invalid(shares, "the minimum allowed cpu-shares is 2"),
        Some(shares @ 262_145..) => invalid(shares, "the maximum allowed cpu-shares is 262144"),
        shares => Ok(shares),
    }
}

/// 0 is "not set", anything negative "unlimited".
fn quota(cpu: &LinuxCpu) -> Option<i64> {
    cpu.quota().filter(|&quota| quota != 0)
}

fn period(cpu: &LinuxCpu) -> Option<u64> {
    cpu.period().filter(|&period| period != 0)
}

fn realtime_period(cpu: &LinuxCpu) -> Option<u64> {
    cpu.realtime_period().filter(|&period| period != 0)
}

fn realtime_runtime(cpu: &LinuxCpu) -> Option<i64> {
    cpu.realtime_runtime().filter(|&runtime| runtime != 0)
}

fn v1(dir: &Path, cpu: &LinuxCpu) -> Result<(), Error> {
    let set =
        |file: &str, value: String, name: &str| files::set(dir, file, value, name, CONTROLLER);
    if let Some(shares) = shares(cpu)? {
        set("cpu.shares", shares.to_string(), "cpu.shares")?;
    }
    let mut bandwidth: Vec<(&str, String, &str)> = Vec::new();
    if let Some(period) = period(cpu) {
        bandwidth.push(("cpu.cfs_period_us", period.to_string(), "cpu.period"));
    }
    if let Some(burst) = cpu.burst() {
        bandwidth.push(("cpu.cfs_burst_us", burst.to_string(), "cpu.burst"));
    }
    if let Some(quota) = quota(cpu) {
        bandwidth.push(("cpu.cfs_quota_us", quota.max(-1).to_string(), "cpu.quota"));
    }
    in_any_order(bandwidth, set)?;
    let mut realtime: Vec<(&str, String, &str)> = Vec::new();
    if let Some(period) = realtime_period(cpu) {
        realtime.push(("cpu.rt_period_us", period.to_string(), "cpu.realtimePeriod"));
    }
    if let Some(runtime) = realtime_runtime(cpu) {
        let name = "cpu.realtimeRuntime";
        realtime.push(("cpu.rt_runtime_us", runtime.to_string(), name));
    }
    in_any_order(realtime, set)?;
    match cpu.idle() {
        Some(idle) => set("cpu.idle", idle.to_string(), "cpu.idle"),
        None => Ok(()),
    }
}

/// Sets values that must fit each other at any moment, without knowing the present ones: what is
/// refused is tried once more after the others.
fn in_any_order(
    values: Vec<(&str, String, &str)>,
    set: impl Fn(&str, String, &str) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut refused = Vec::new();
    for (file, value, name) in values {
        match set(file, value.clone(), name) {
            Err(Error::Invalid { .. }) => refused.push((file, value, name)),
            result => result?,
        }
    }
    refused
        .into_iter()
        .try_for_each(|(file, value, name)| set(file, value, name))
}

fn v2(dir: &Path, cpu: &LinuxCpu) -> Result<(), Error> {
    for (name, asked) in [
        ("cpu.realtimePeriod", realtime_period(cpu).is_some()),
        ("cpu.realtimeRuntime", realtime_runtime(cpu).is_some()),
    ] {
        if asked {
            let reason = "cgroup v2 doesn't have realtime limits";
            return Err(Error::unsupported(name, reason));
        }
    }
    let set =
        |file: &str, value: String, name: &str| files::set(dir, file, value, name, CONTROLLER);
    if let Some(idle) = cpu.idle() {
        set("cpu.idle", idle.to_string(), "cpu.idle")?;
    }
    if let Some(shares) = shares(cpu)? {
        set("cpu.weight", weight(shares).to_string(), "cpu.shares")?;
    }
    let mut bandwidth = Vec::new();
    if let Some(max) = max(dir, cpu)? {
        bandwidth.push(("cpu.max", max, "cpu.quota"));
    }
    if let Some(burst) = cpu.burst() {
        bandwidth.push(("cpu.max.burst", burst.to_string(), "cpu.burst"));
    }
    in_any_order(bandwidth, set)
}

/// `quota period`; the quota alone leaves the period as it is.
fn max(dir: &Path, cpu: &LinuxCpu) -> Result<Option<String>, Error> {
    let quota = quota(cpu).map(|quota| match quota {
        ..0 => "max".to_owned(),
        quota => quota.to_string(),
    });
    Ok(match (quota, period(cpu)) {
        (Some(quota), Some(period)) => Some(format!("{quota} {period}")),
        (Some(quota), None) => Some(quota),
        (None, Some(period)) => {
            let now = files::read_optional(dir, "cpu.max")?.unwrap_or_default();
            let quota = now.split_whitespace().next().unwrap_or("max");
            Some(format!("{quota} {period}"))
        }
        (None, None) => None,
    })
}

/// v1's shares (2 to 262144, by default 1024) as v2's weight (1 to 10000, by default 100), by the
/// curve through these three points that runc and crun use.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // Rounded up, but not for the error of the computation.
    (10_f64.powf(exponent) - 1e-9).ceil() as u64
}

fn cpuset(cgroup: &Cgroup, file: &str, name: &str, list: Option<&str>) -> Result<(), Error> {
    let Some(list) = list.filter(|list| !list.is_empty()) else {
        return Ok(());
    };
    if !parse::is_list(list) {
        return Err(Error::invalid(name, list, "it is not a list such as 0-3,7"));
    }
    let controller = "cpuset";
    let (Place::V1(dir) | Place::V2(dir)) = cgroup.need(controller, name)?;
    files::set(dir, file, list, name, controller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_shares() {
        let known = [
            (2, 1),
            (1024, 100),
            (262_144, 10_000),
            (0, 1),
            (u64::MAX, 10_000),
        ];
        for (shares, expected) in known {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        let all: Vec<_> = (2..=262_144).map(weight).collect();
        assert!(all.is_sorted());
        assert!(all.iter().all(|weight| (1..=10_000).contains(weight)));
    }
}
