//! Options that are refused, by name, before anything is made; and those that only warn.

use std::net::IpAddr;

use coracle_runtime::signal;
use coracle_runtime::spec::{ContainerConfig, HostConfig};

use crate::devices::device_access;
use crate::process::rlimits;
use crate::{Host, SecurityOptions, SpecError, capabilities};

/// The least memory a container can have, bytes (Docker's).
const MIN_MEMORY: i64 = 6 << 20;

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

/// Reads `80/tcp`, `80`, or a range of either; gives first, last and protocol.
pub fn exposed_port(text: &str) -> Result<(u16, u16, &str), SpecError> {
    let invalid = || SpecError::invalid(format!("invalid port specification: \"{text}\""));
    let (ports, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    if !matches!(proto, "tcp" | "udp" | "sctp") {
        return Err(invalid());
    }
    let number = |word: &str| {
        word.parse::<u16>()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(invalid)
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(ports)?, number(ports)?),
    };
    if first > last {
        Err(invalid())
    } else {
        Ok((first, last, proto))
    }
}

fn memory(config: &HostConfig, host: &Host, warnings: &mut Vec<String>) -> Result<(), SpecError> {
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

fn cpu(config: &HostConfig, host: &Host) -> Result<(), SpecError> {
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

/// Only what belongs to a namespace of the container's own (Docker's list).
fn sysctl(name: &str, value: &str, host_network: bool, host_ipc: bool) -> Result<(), SpecError> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let of_host = |namespace: &str| {
        SpecError::invalid(format!(
            "sysctl \"{name}\" is not allowed in the host's {namespace} namespace"
        ))
    };
    if name.contains("..") || value.contains('\0') {
        return Err(SpecError::invalid(format!(
            "sysctl '{name}' is not allowed"
        )));
    }
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        return if host_ipc {
            Err(of_host("ipc"))
        } else {
            Ok(())
        };
    }
    if name.starts_with("net.") {
        return if host_network {
            Err(of_host("network"))
        } else {
            Ok(())
        };
    }
    Err(SpecError::invalid(format!(
        "sysctl '{name}' is not allowed: it does not belong to a namespace"
    )))
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

/// Checks a MAC address: six octets.
pub fn check_mac(mac: &str) -> Result<[u8; 6], SpecError> {
    let invalid = || SpecError::invalid(format!("invalid MAC address: {mac}"));
    let mut octets = [0; 6];
    let mut parts = mac.split([':', '-']);
    for octet in &mut octets {
        let part = parts
            .next()
            .filter(|part| part.len() == 2)
            .ok_or_else(invalid)?;
        *octet = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
    }
    if parts.next().is_some() {
        Err(invalid())
    } else {
        Ok(octets)
    }
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

    #[test]
    fn sysctls_belong_to_namespaces() {
        assert!(sysctl("net.core.somaxconn", "1", false, false).is_ok());
        assert!(sysctl("net.core.somaxconn", "1", true, false).is_err());
        assert!(sysctl("kernel.shmmax", "1", false, false).is_ok());
        assert!(sysctl("kernel.panic", "1", false, false).is_err());
        assert!(sysctl("net.../../kernel.panic", "1", false, false).is_err());
    }

    #[test]
    fn ports() {
        assert_eq!(exposed_port("80").unwrap(), (80, 80, "tcp"));
        assert_eq!(exposed_port("80-82/udp").unwrap(), (80, 82, "udp"));
        for bad in ["", "0", "80/x", "82-80", "65536", "-1"] {
            assert!(exposed_port(bad).is_err(), "{bad}");
        }
    }
}
