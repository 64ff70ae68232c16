//! Changing a container's resources and restart policy.

use std::sync::Arc;

use coracle_runtime::container::UpdateOptions;
use coracle_runtime::spec::HostConfig;
use coracle_runtime::{Result, RuntimeError, Status};

use super::actor::{Actor, save_record, task_error};
use super::record::Record;
use super::restart;
use crate::machine;

impl Actor {
    /// Changes what was given, at once where it runs. On an error nothing is changed.
    pub(super) async fn update(&mut self, options: UpdateOptions) -> Result<Vec<String>> {
        if self.run.state.status == Status::Removing {
            return Err(RuntimeError::InvalidState(
                "container is marked for removal".into(),
            ));
        }
        let mut record = Record::clone(&self.record);
        overlay(&mut record.host_config, &options.host)?;
        let warnings = coracle_spec::check(
            &record.config,
            &record.host_config,
            &machine::facts(&self.engine.config, &record.host_config),
        )?;
        if machine::is_machine(&record.host_config) {
            machine::check::check(&record.host_config)?;
        }
        if let Some(task) = &self.task {
            let resources = coracle_spec::resources(&record.host_config)?;
            match task.client.update(resources).await.map_err(task_error) {
                Ok(()) => {}
                // It has just ended: what is saved holds from the next start on.
                Err(RuntimeError::InvalidState(_)) => {}
                Err(error) => return Err(error),
            }
        }
        save_record(&record, &self.dirs)
            .await
            .map_err(|error| RuntimeError::Internal(format!("cannot save the change: {error}")))?;
        self.record = Arc::new(record);
        // A container that waits for a restart that is no longer wanted stops waiting.
        if self.run.state.status == Status::Restarting {
            let policy = &self.record.host_config.restart_policy;
            if !restart::wanted(policy, self.last.code, self.run.restart_count, false) {
                self.restart_at = None;
                self.run.state.status = Status::Exited;
            }
        }
        self.save_and_publish().await;
        self.emit("update", &[]);
        Ok(warnings)
    }
}

/// Puts the fields that are given over the ones that are there.
fn overlay(current: &mut HostConfig, new: &HostConfig) -> Result<()> {
    if current.auto_remove && !matches!(new.restart_policy.name.as_str(), "" | "no") {
        return Err(RuntimeError::InvalidArgument(
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
