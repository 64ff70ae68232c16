//! `docker update`: what is given over what is there.

use coracle_runtime::spec::HostConfig;
use coracle_runtime::{Result, RuntimeError};

/// Puts the fields that are given over the ones that are there.
pub fn overlay(current: &mut HostConfig, new: &HostConfig) -> Result<()> {
    if current.auto_remove && !matches!(new.restart_policy.name.as_str(), "" | "no") {
        return Err(RuntimeError::InvalidState(
            "Restart policy cannot be updated because AutoRemove is enabled for the container"
                .into(),
        ));
    }
    if !new.restart_policy.name.is_empty() {
        current.restart_policy = new.restart_policy.clone();
    }
    let numbers = [
        (&mut current.memory, new.memory),
        (&mut current.memory_swap, new.memory_swap),
        (&mut current.memory_reservation, new.memory_reservation),
        (&mut current.cpu_shares, new.cpu_shares),
        (&mut current.cpu_realtime_period, new.cpu_realtime_period),
        (&mut current.cpu_realtime_runtime, new.cpu_realtime_runtime),
    ];
    for (field, value) in numbers {
        if value != 0 {
            *field = value;
        }
    }
    // CPUs are given in one of two ways, and the other one's old values must not contradict it.
    if new.nano_cpus != 0 {
        if current.cpu_period > 0 || current.cpu_quota > 0 {
            return Err(conflict("Nano CPUs", "CPU Period"));
        }
        current.nano_cpus = new.nano_cpus;
    }
    if new.cpu_period != 0 || new.cpu_quota != 0 {
        if current.nano_cpus > 0 {
            return Err(conflict("CPU Period", "Nano CPUs"));
        }
        if new.cpu_period != 0 {
            current.cpu_period = new.cpu_period;
        }
        if new.cpu_quota != 0 {
            current.cpu_quota = new.cpu_quota;
        }
    }
    for (field, value) in [
        (&mut current.cpuset_cpus, &new.cpuset_cpus),
        (&mut current.cpuset_mems, &new.cpuset_mems),
    ] {
        if !value.is_empty() {
            field.clone_from(value);
        }
    }
    if new.blkio_weight != 0 {
        current.blkio_weight = new.blkio_weight;
    }
    if let Some(limit) = new.pids_limit {
        current.pids_limit = Some(limit);
    }
    Ok(())
}

fn conflict(new: &str, old: &str) -> RuntimeError {
    RuntimeError::InvalidArgument(format!(
        "Conflicting options: {new} cannot be updated as {old} has already been set"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_changes() {
        let mut current = HostConfig {
            memory: 10,
            cpu_shares: 5,
            ..Default::default()
        };
        let new = HostConfig {
            memory: 20,
            pids_limit: Some(7),
            ..Default::default()
        };
        overlay(&mut current, &new).unwrap();
        assert_eq!(
            (current.memory, current.cpu_shares, current.pids_limit),
            (20, 5, Some(7))
        );
    }

    #[test]
    fn the_two_ways_of_giving_cpus_exclude_each_other() {
        let mut current = HostConfig {
            nano_cpus: 1,
            ..Default::default()
        };
        let new = HostConfig {
            cpu_quota: 1000,
            ..Default::default()
        };
        assert!(overlay(&mut current, &new).is_err());
    }
}
