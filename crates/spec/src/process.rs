//! The process: command, environment, identity, limits.

use std::collections::{BTreeSet, HashSet};

use coracle_runtime::exec::ExecSpec;
use coracle_runtime::spec::{ContainerConfig, HostConfig, Ulimit};
use oci_spec::runtime::{
    Capability, LinuxCapabilities, LinuxCapabilitiesBuilder, PosixRlimit, PosixRlimitBuilder,
    PosixRlimitType, Process,
};

use crate::{Host, SpecError};

/// What Docker gives a process without a PATH of its own.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process with nothing set but what the specification demands.
fn bare() -> Result<Process, SpecError> {
    serde_json::from_str(r#"{"user":{"uid":0,"gid":0},"cwd":"/"}"#).map_err(SpecError::Shape)
}

/// The container's first process.
pub(crate) fn init_process(
    config: &ContainerConfig,
    host_config: &HostConfig,
    hostname: &str,
    capabilities: &BTreeSet<String>,
    no_new_privileges: bool,
    host: &Host,
) -> Result<Process, SpecError> {
    let mut process = bare()?;
    process
        .set_terminal(Some(config.tty))
        .set_args(Some(crate::command(config)?))
        .set_env(Some(environment(config, hostname)))
        .set_cwd(working_dir(&config.working_dir))
        .set_capabilities(Some(capability_sets(capabilities)?))
        .set_rlimits(Some(rlimits(&host_config.ulimits, &host.default_ulimits)?))
        .set_no_new_privileges(Some(no_new_privileges));
    if host_config.oom_score_adj != 0 {
        process.set_oom_score_adj(i32::try_from(host_config.oom_score_adj).ok());
    }
    Ok(process)
}

/// A further process in a container whose first one is `init`.
pub fn exec_process(init: &Process, exec: &ExecSpec, host: &Host) -> Result<Process, SpecError> {
    if exec.cmd.is_empty() {
        return Err(SpecError::invalid("No exec command specified"));
    }
    let mut process = bare()?;
    let mut env = init.env().clone().unwrap_or_default();
    if exec.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    for entry in &exec.env {
        let name = entry.split('=').next().unwrap_or_default();
        env.retain(|kept| kept.split('=').next() != Some(name));
        if entry.contains('=') {
            env.push(entry.clone());
        }
    }
    let capabilities = if exec.privileged {
        Some(capability_sets(
            &host.capabilities.iter().cloned().collect(),
        )?)
    } else {
        init.capabilities().clone()
    };
    process
        .set_terminal(Some(exec.tty))
        .set_args(Some(exec.cmd.clone()))
        .set_env(Some(env))
        .set_cwd(match exec.working_dir.as_str() {
            "" => init.cwd().clone(),
            given => working_dir(given),
        })
        .set_capabilities(capabilities)
        .set_rlimits(init.rlimits().clone())
        .set_no_new_privileges(init.no_new_privileges())
        .set_oom_score_adj(init.oom_score_adj());
    Ok(process)
}

fn working_dir(given: &str) -> std::path::PathBuf {
    std::path::Path::new("/").join(given)
}

/// The variables of a container's processes, in Docker's order: what every container has, then the
/// configuration's.
pub fn environment(config: &ContainerConfig, hostname: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    for entry in &config.env {
        let name = entry.split('=').next().unwrap_or_default();
        let place = env
            .iter()
            .position(|kept| kept.split('=').next() == Some(name));
        match (place, entry.contains('=')) {
            (Some(place), true) => env[place].clone_from(entry),
            // A name alone takes the variable away.
            (Some(place), false) => drop(env.remove(place)),
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
    env
}

fn capability_sets(names: &BTreeSet<String>) -> Result<LinuxCapabilities, SpecError> {
    let set: HashSet<Capability> = names
        .iter()
        .filter_map(|name| name.strip_prefix("CAP_").and_then(|name| name.parse().ok()))
        .collect();
    // No inheritable ones, as Docker since CVE-2022-24769.
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
        .map_err(|error| SpecError::invalid(error.to_string()))
}

/// The user's limits, and the defaults of those that the user doesn't name.
pub(crate) fn rlimits(own: &[Ulimit], defaults: &[Ulimit]) -> Result<Vec<PosixRlimit>, SpecError> {
    let mut limits = Vec::new();
    let inherited = defaults
        .iter()
        .filter(|limit| !own.iter().any(|other| other.name == limit.name));
    for limit in own.iter().chain(inherited) {
        // -1 is "unlimited", the largest number there is.
        #[allow(clippy::cast_sign_loss)]
        let (soft, hard) = (limit.soft as u64, limit.hard as u64);
        if soft > hard {
            return Err(SpecError::invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            )));
        }
        limits.push(
            PosixRlimitBuilder::default()
                .typ(rlimit_type(&limit.name)?)
                .soft(soft)
                .hard(hard)
                .build()
                .map_err(|error| SpecError::invalid(error.to_string()))?,
        );
    }
    Ok(limits)
}

fn rlimit_type(name: &str) -> Result<PosixRlimitType, SpecError> {
    use PosixRlimitType as T;
    Ok(match name {
        "as" => T::RlimitAs,
        "core" => T::RlimitCore,
        "cpu" => T::RlimitCpu,
        "data" => T::RlimitData,
        "fsize" => T::RlimitFsize,
        "locks" => T::RlimitLocks,
        "memlock" => T::RlimitMemlock,
        "msgqueue" => T::RlimitMsgqueue,
        "nice" => T::RlimitNice,
        "nofile" => T::RlimitNofile,
        "nproc" => T::RlimitNproc,
        "rss" => T::RlimitRss,
        "rtprio" => T::RlimitRtprio,
        "rttime" => T::RlimitRttime,
        "sigpending" => T::RlimitSigpending,
        "stack" => T::RlimitStack,
        other => return Err(SpecError::invalid(format!("invalid ulimit type: {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_dockers() {
        let config = ContainerConfig {
            env: vec!["A=1".into(), "PATH=/x".into(), "HOSTNAME".into()],
            tty: true,
            ..ContainerConfig::default()
        };
        assert_eq!(environment(&config, "h"), ["PATH=/x", "TERM=xterm", "A=1"]);
    }

    #[test]
    fn ulimits_of_the_container_win_over_the_daemons() {
        let limit = |name: &str, soft, hard| Ulimit {
            name: name.into(),
            soft,
            hard,
        };
        let limits = rlimits(
            &[limit("nofile", 10, 20)],
            &[limit("nofile", 1, 1), limit("core", -1, -1)],
        )
        .unwrap();
        assert_eq!(limits.len(), 2);
        assert_eq!((limits[0].soft(), limits[0].hard()), (10, 20));
        assert_eq!(limits[1].hard(), u64::MAX);
        assert!(rlimits(&[limit("nofile", 2, 1)], &[]).is_err());
        assert!(rlimits(&[limit("nope", 1, 1)], &[]).is_err());
    }
}
