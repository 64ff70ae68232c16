//! What of a container can be changed later: its limits, and what happens when it ends.

use coracle_runtime::container::UpdateOptions;
use coracle_runtime::spec::{HostConfig, RestartPolicy, Ulimit};

use crate::wire::{body, words};

body! {
    /// What to change of a container. What is not given stays as it is.
    pub struct ContainerUpdate {
        ; // What may be left out:
        /// Limits.
        resources: Resources,
        /// What happens when it ends.
        restart_policy: Option<RestartRule>,
    }

    /// Limits. What is 0 or not given is no limit, or in an update stays as it is.
    pub struct Resources {
        ; // What may be left out:
        /// Processors, in billionths: 1,500,000,000 is one and a half.
        nano_cpus: i64,
        /// Relative weight, 2 to 262144.
        cpu_shares: i64,
        /// Processors to run on: `0-2,5`.
        cpuset_cpus: String,
        /// Memory nodes to use.
        cpuset_mems: String,
        /// Bytes.
        memory: i64,
        /// Bytes of memory and swap together; -1 for as much swap as there is.
        memory_swap: i64,
        /// Soft limit, bytes.
        memory_reservation: i64,
        /// Processes and threads; -1 for no limit.
        pids: Option<i64>,
        /// Relative weight of block devices, 10 to 1000.
        block_weight: u16,
        /// Limits of processes, as setrlimit(2) has them.
        ulimits: Vec<UlimitRule>,
    }

    /// A limit of processes.
    pub struct UlimitRule {
        /// `nofile`, `nproc`, `core` …
        name: String,
        /// Soft limit; -1 for none.
        soft: i64,
        /// Hard limit; -1 for none.
        hard: i64,
        ; // What may be left out:
    }

    /// What happens when a container ends.
    pub struct RestartRule {
        ; // What may be left out:
        /// When to start it again.
        name: RestartName,
        /// With `onFailure`: restarts before giving up; 0 for ever.
        #[cfg_attr(feature = "openapi", schema(minimum = 0))]
        max_retries: u32,
    }
}

words! {
    /// When to start a container again.
    pub enum RestartName {
        /// Never.
        #[default]
        No = "no",
        /// Always.
        Always = "always",
        /// Always, unless somebody stopped it.
        UnlessStopped = "unless-stopped",
        /// Where its exit code is not 0.
        OnFailure = "on-failure",
    }
}

impl From<ContainerUpdate> for UpdateOptions {
    fn from(update: ContainerUpdate) -> Self {
        let mut host = HostConfig::default();
        update.resources.put(&mut host);
        if let Some(rule) = update.restart_policy {
            host.restart_policy = rule.into();
        }
        Self { host }
    }
}

impl Resources {
    pub(crate) fn put(self, host: &mut HostConfig) {
        host.nano_cpus = self.nano_cpus;
        host.cpu_shares = self.cpu_shares;
        host.cpuset_cpus = self.cpuset_cpus;
        host.cpuset_mems = self.cpuset_mems;
        host.memory = self.memory;
        host.memory_swap = self.memory_swap;
        host.memory_reservation = self.memory_reservation;
        host.pids_limit = self.pids;
        host.blkio_weight = self.block_weight;
        let ulimits = self.ulimits.into_iter().map(|rule| Ulimit {
            name: rule.name,
            soft: rule.soft,
            hard: rule.hard,
        });
        host.ulimits = ulimits.collect();
    }
}

impl From<&HostConfig> for Resources {
    fn from(host: &HostConfig) -> Self {
        let ulimits = host.ulimits.iter().map(|limit| UlimitRule {
            name: limit.name.clone(),
            soft: limit.soft,
            hard: limit.hard,
        });
        Self {
            nano_cpus: host.nano_cpus,
            cpu_shares: host.cpu_shares,
            cpuset_cpus: host.cpuset_cpus.clone(),
            cpuset_mems: host.cpuset_mems.clone(),
            memory: host.memory,
            memory_swap: host.memory_swap,
            memory_reservation: host.memory_reservation,
            pids: host.pids_limit,
            block_weight: host.blkio_weight,
            ulimits: ulimits.collect(),
        }
    }
}

impl From<RestartRule> for RestartPolicy {
    fn from(rule: RestartRule) -> Self {
        Self {
            name: rule.name.docker().to_owned(),
            maximum_retry_count: rule.max_retries.into(),
        }
    }
}
