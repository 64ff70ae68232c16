//! Memory and processors.

use coracle_runtime::spec::HostConfig;

use crate::{Host, SpecError};

/// The least memory a container can have, bytes (Docker's).
const MIN_MEMORY: i64 = 6 << 20;

pub(super) fn memory(
    config: &HostConfig,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<(), SpecError> {
    let HostConfig {
        memory,
        memory_swap,
        memory_reservation,
        ..
    } = *config;
    if memory != 0 && memory < MIN_MEMORY {
        return Err(SpecError::invalid("Minimum memory limit allowed is 6MB"));
    }
    if memory > 0 && memory_swap > 0 && memory_swap < memory {
        return Err(SpecError::invalid(
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ));
    }
    if memory == 0 && memory_swap > 0 {
        return Err(SpecError::invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    }
    if let Some(swappiness) = config.memory_swappiness.filter(|n| *n != -1) {
        if !(0..=100).contains(&swappiness) {
            return Err(SpecError::invalid(format!(
                "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
            )));
        }
        if host.cgroup_v2 {
            return Err(SpecError::unsupported(
                "MemorySwappiness",
                "control groups v2 have none",
            ));
        }
    }
    if memory_reservation != 0 && memory_reservation < MIN_MEMORY {
        return Err(SpecError::invalid(
            "Minimum memory reservation allowed is 6MB",
        ));
    }
    if memory > 0 && memory_reservation > memory {
        return Err(SpecError::invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    if config.oom_kill_disable == Some(true) {
        if host.cgroup_v2 {
            return Err(SpecError::unsupported(
                "OomKillDisable",
                "control groups v2 have none",
            ));
        }
        if memory == 0 {
            warnings.push(
                "OOM killer is disabled for the container, but no memory limit is set, this can \
                 result in the system running out of resources."
                    .to_owned(),
            );
        }
    }
    if memory > 0 && memory_swap != -1 && !host.swap_accounting {
        warnings.push(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. \
             Memory limited without swap."
                .to_owned(),
        );
    }
    Ok(())
}

pub(super) fn cpu(config: &HostConfig, host: &Host) -> Result<(), SpecError> {
    if config.nano_cpus > 0 && (config.cpu_period > 0 || config.cpu_quota > 0) {
        let other = if config.cpu_period > 0 {
            "CPU Period"
        } else {
            "CPU Quota"
        };
        return Err(SpecError::invalid(format!(
            "Conflicting options: Nano CPUs and {other} cannot both be set."
        )));
    }
    let most = i64::from(host.cpus.max(1)) * 1_000_000_000;
    if config.nano_cpus < 0 || config.nano_cpus > most {
        return Err(SpecError::invalid(format!(
            "range of CPUs is from 0.01 to {}.00, as there are only {0} CPUs available",
            host.cpus
        )));
    }
    if config.cpu_shares < 0 {
        return Err(SpecError::invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            config.cpu_shares
        )));
    }
    if config.cpu_period != 0 && !(1_000..=1_000_000).contains(&config.cpu_period) {
        return Err(SpecError::invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if config.cpu_quota > 0 && config.cpu_quota < 1_000 {
        return Err(SpecError::invalid(
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ));
    }
    for (list, name) in [(&config.cpuset_cpus, "cpus"), (&config.cpuset_mems, "mems")] {
        if !list.is_empty() && !is_set(list) {
            return Err(SpecError::invalid(format!(
                "Invalid value {list} for cpuset {name}"
            )));
        }
    }
    let most = host.cpus.max(1) - 1;
    if highest(&config.cpuset_cpus).is_some_and(|cpu| cpu > most) {
        return Err(SpecError::invalid(format!(
            "Requested CPUs are not available - requested {}, available: 0-{most}",
            config.cpuset_cpus
        )));
    }
    Ok(())
}

/// The highest number in a set.
fn highest(list: &str) -> Option<u32> {
    list.split([',', '-'])
        .filter_map(|number| number.parse().ok())
        .max()
}

/// Whether it reads as `0-2,5`.
fn is_set(list: &str) -> bool {
    list.split(',').all(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) => first <= last && last < 8192,
            _ => false,
        }
    })
}
