//! Options that are refused, by name, before anything is made; and those that only warn.

mod limits;
mod sysctl;
mod words;

use std::net::IpAddr;

use coracle_runtime::signal;
use coracle_runtime::spec::{ContainerConfig, HostConfig};

use limits::{cpu, memory};
use sysctl::sysctl;

pub use words::{check_mac, exposed_port};

use crate::devices::device_access;
use crate::process::rlimits;
use crate::{Host, SecurityOptions, SpecError, capabilities};

/// Checks a configuration as it came from the user. Gives warnings.
pub fn check(
    config: &ContainerConfig,
    host_config: &HostConfig,
    host: &Host,
) -> Result<Vec<String>, SpecError> {
    let mut warnings = Vec::new();
    unsupported(config, host_config, host)?;
    portable(config, &mut warnings)?;
    memory(host_config, host, &mut warnings)?;
    cpu(host_config, host)?;
    modes(host_config)?;
    restart(host_config)?;
    names(host_config)?;
    capabilities(host_config, host)?;
    rlimits(&host_config.ulimits, &[])?;
    for mapping in &host_config.devices {
        device_access(mapping)?;
    }
    SecurityOptions::parse(&host_config.security_opt, host_config.privileged, host)?;
    if !(-1000..=1000).contains(&host_config.oom_score_adj) {
        return Err(SpecError::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host_config.oom_score_adj
        )));
    }
    if host_config.blkio_weight != 0 && !(10..=1000).contains(&host_config.blkio_weight) {
        return Err(SpecError::invalid(
            "Range of blkio weight is from 10 to 1000".to_owned(),
        ));
    }
    crate::secret_files(host_config)?;
    crate::published_sockets(host_config)?;
    if host_config.shm_size < 0 {
        return Err(SpecError::invalid("SHM size can not be less than 0"));
    }
    Ok(warnings)
}

/// What has a name in the API and no meaning here.
fn unsupported(
    config: &ContainerConfig,
    host_config: &HostConfig,
    host: &Host,
) -> Result<(), SpecError> {
    let windows = "it is for Windows";
    let checks: [(bool, &'static str, &str); 12] = [
        (config.args_escaped, "ArgsEscaped", windows),
        (
            !matches!(host_config.isolation.as_str(), "" | "default"),
            "Isolation",
            windows,
        ),
        (host_config.cpu_count != 0, "CpuCount", windows),
        (host_config.cpu_percent != 0, "CpuPercent", windows),
        (host_config.io_maximum_iops != 0, "IOMaximumIOps", windows),
        (
            host_config.io_maximum_bandwidth != 0,
            "IOMaximumBandwidth",
            windows,
        ),
        (!host_config.cgroup.is_empty(), "Cgroup", "use CgroupParent"),
        (
            host_config.kernel_memory != 0,
            "KernelMemory",
            "the kernel has dropped it; use Memory",
        ),
        (
            host_config.kernel_memory_tcp != 0,
            "KernelMemoryTCP",
            "use Memory",
        ),
        (
            !host_config.device_requests.is_empty(),
            "DeviceRequests",
            "no device driver is known; use Devices",
        ),
        (
            !matches!(host_config.userns_mode.as_str(), "" | "host"),
            "UsernsMode",
            "only the daemon's own user namespace can be used",
        ),
        (
            !matches!(host_config.volume_driver.as_str(), "" | "local"),
            "VolumeDriver",
            "there is only \"local\"",
        ),
    ];
    for (given, option, why) in checks {
        if given {
            return Err(SpecError::unsupported(option, why));
        }
    }
    let known = |option: &&String| host.layer_size && matches!(option.as_str(), "size" | "journal");
    if let Some(option) = host_config.storage_opt.keys().find(|option| !known(option)) {
        let why = match option.as_str() {
            "journal" => "\"journal\" needs a disk of its own: use --runtime vm".to_owned(),
            other => format!("{other:?} needs a root file system with quotas"),
        };
        return Err(SpecError::unsupported("StorageOpt", why));
    }
    crate::legacy_links(host_config)?;
    if let Some(mac) = Some(&config.mac_address).filter(|mac| !mac.is_empty()) {
        check_mac(mac)?;
    }
    Ok(())
}

fn portable(config: &ContainerConfig, warnings: &mut Vec<String>) -> Result<(), SpecError> {
    if let Some(name) = config.stop_signal.as_ref().filter(|name| !name.is_empty()) {
        signal::parse(name).map_err(|error| SpecError::invalid(error.to_string()))?;
    }
    for entry in &config.env {
        if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
            return Err(SpecError::invalid(format!(
                "invalid environment variable: {entry}"
            )));
        }
    }
    if config.hostname.len() > 63 && !config.hostname.is_empty() {
        return Err(SpecError::invalid(format!(
            "invalid hostname: {}",
            config.hostname
        )));
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(SpecError::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    for port in config.exposed_ports.keys() {
        exposed_port(port)?;
    }
    for path in config.volumes.keys() {
        if !path.starts_with('/') {
            return Err(SpecError::invalid(format!(
                "invalid volume specification: '{path}'"
            )));
        }
    }
    if let Some(check) = &config.healthcheck {
        let durations = [
            check.interval,
            check.timeout,
            check.start_period,
            check.start_interval,
        ];
        for (value, name) in
            durations
                .into_iter()
                .zip(["Interval", "Timeout", "StartPeriod", "StartInterval"])
        {
            if value != 0 && value < 1_000_000 {
                return Err(SpecError::invalid(format!(
                    "{name} in Healthcheck cannot be less than 1ms"
                )));
            }
        }
        if check.retries < 0 {
            return Err(SpecError::invalid(
                "Retries in Healthcheck cannot be negative",
            ));
        }
        // dockerd takes it, and says so in its log when the container starts.
        let kind = check.test.first().map_or("", String::as_str);
        if !matches!(kind, "" | "NONE" | "CMD" | "CMD-SHELL") {
            warnings.push(format!(
                "Unknown healthcheck type '{kind}' (expected 'CMD'): health is not checked."
            ));
        }
    }
    Ok(())
}

fn modes(config: &HostConfig) -> Result<(), SpecError> {
    let joins = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|name| !name.is_empty())
    };
    let ipc = config.ipc_mode.as_str();
    if !matches!(ipc, "" | "none" | "private" | "shareable" | "host") && !joins(ipc) {
        return Err(SpecError::invalid(format!("invalid IPC mode: {ipc}")));
    }
    let pid = config.pid_mode.as_str();
    if !matches!(pid, "" | "private" | "host") && !joins(pid) {
        return Err(SpecError::invalid(format!("invalid PID mode: {pid}")));
    }
    if !matches!(config.uts_mode.as_str(), "" | "host") {
        return Err(SpecError::invalid(format!(
            "invalid UTS mode: {}",
            config.uts_mode
        )));
    }
    if !matches!(config.cgroupns_mode.as_str(), "" | "private" | "host") {
        return Err(SpecError::invalid(format!(
            "invalid cgroup namespace mode: {}",
            config.cgroupns_mode
        )));
    }
    if config.network_mode == "container:" {
        return Err(SpecError::invalid(
            "invalid container format container:<name|id>",
        ));
    }
    let host_network = config.network_mode == "host";
    for (name, value) in &config.sysctls {
        sysctl(name, value, host_network, ipc == "host")?;
    }
    Ok(())
}

fn restart(config: &HostConfig) -> Result<(), SpecError> {
    let policy = &config.restart_policy;
    match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" if policy.maximum_retry_count != 0 => {
            return Err(SpecError::invalid(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            ));
        }
        "" | "no" | "always" | "unless-stopped" => {}
        "on-failure" if policy.maximum_retry_count < 0 => {
            return Err(SpecError::invalid(
                "invalid restart policy: maximum retry count cannot be negative",
            ));
        }
        "on-failure" => {}
        other => {
            return Err(SpecError::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', \
                 'on-failure', or 'unless-stopped'"
            )));
        }
    }
    if config.auto_remove && !matches!(policy.name.as_str(), "" | "no") {
        return Err(SpecError::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    Ok(())
}

fn names(config: &HostConfig) -> Result<(), SpecError> {
    for host in &config.extra_hosts {
        let (name, address) = host
            .split_once(':')
            .ok_or_else(|| SpecError::invalid(format!("bad format for add-host: \"{host}\"")))?;
        if name.is_empty() {
            return Err(SpecError::invalid(format!(
                "bad format for add-host: \"{host}\""
            )));
        }
        let address = address.trim_start_matches('[').trim_end_matches(']');
        if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            return Err(SpecError::invalid(format!(
                "invalid IP address in add-host: \"{address}\""
            )));
        }
    }
    for server in &config.dns {
        if server.parse::<IpAddr>().is_err() {
            return Err(SpecError::invalid(format!(
                "bad nameserver address: {server}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_runtime::spec::RestartPolicy;

    fn host() -> Host {
        Host {
            cpus: 2,
            swap_accounting: true,
            layer_size: false,
            ..Default::default()
        }
    }

    fn refused(host_config: HostConfig) -> String {
        check(&ContainerConfig::default(), &host_config, &host())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_name() {
        let cases = [
            (
                HostConfig {
                    kernel_memory: 1,
                    ..Default::default()
                },
                "KernelMemory",
            ),
            (
                HostConfig {
                    links: vec!["a:b:c".into()],
                    ..Default::default()
                },
                "links",
            ),
            (
                HostConfig {
                    userns_mode: "private".into(),
                    ..Default::default()
                },
                "UsernsMode",
            ),
            (
                HostConfig {
                    isolation: "hyperv".into(),
                    ..Default::default()
                },
                "Isolation",
            ),
            (
                HostConfig {
                    storage_opt: [("size".to_owned(), "1G".to_owned())].into(),
                    ..Default::default()
                },
                "StorageOpt",
            ),
            (
                HostConfig {
                    security_opt: vec!["apparmor=x".into()],
                    ..Default::default()
                },
                "apparmor",
            ),
        ];
        for (config, name) in cases {
            let text = refused(config);
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn dockers_texts() {
        assert_eq!(
            refused(HostConfig {
                memory: 1024,
                ..Default::default()
            }),
            "Minimum memory limit allowed is 6MB"
        );
        assert_eq!(
            refused(HostConfig {
                nano_cpus: 99_000_000_000,
                ..Default::default()
            }),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
        );
        let always = RestartPolicy {
            name: "always".into(),
            maximum_retry_count: 0,
        };
        assert_eq!(
            refused(HostConfig {
                auto_remove: true,
                restart_policy: always,
                ..Default::default()
            }),
            "can't create 'AutoRemove' container with restart policy"
        );
    }
}
