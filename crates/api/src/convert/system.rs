//! Version and info.

use std::collections::BTreeMap;

use coracle_docker::system::{
    AddressPool, Component, HostDnsInfo, IndexConfig, InfoResponse, MachineInfo, PlatformName,
    Plugins, RegistryConfig, RuntimeInfo, Swarm, VersionResponse,
};
use coracle_docker::time::format_fixed;
use coracle_docker::{API_VERSION, MIN_API_VERSION};
use coracle_runtime::system::{Info, Version};
use jiff::Timestamp;

/// `GET /version`.
pub(crate) fn version(version: Version) -> VersionResponse {
    let details = [
        ("ApiVersion", API_VERSION),
        ("Arch", &version.arch),
        ("Experimental", "false"),
        ("GitCommit", &version.revision),
        ("KernelVersion", &version.kernel),
        ("MinAPIVersion", MIN_API_VERSION),
        ("Os", &version.os),
    ];
    VersionResponse {
        platform: PlatformName {
            name: version.product.clone(),
        },
        components: vec![Component {
            name: "Engine".to_owned(),
            version: version.version.clone(),
            details: details
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        }],
        version: version.version,
        api_version: API_VERSION.to_owned(),
        min_api_version: MIN_API_VERSION.to_owned(),
        git_commit: version.revision,
        os: version.os,
        arch: version.arch,
        kernel_version: version.kernel,
        ..VersionResponse::default()
    }
}

/// `GET /info`.
pub(crate) fn info(info: Info, version: String, drivers: Drivers) -> InfoResponse {
    let limit = |name: &str| info.limits.get(name).copied().unwrap_or(false);
    let [http_proxy, https_proxy, no_proxy] = info.proxies.clone();
    let mut runtimes: BTreeMap<String, RuntimeInfo> = info
        .runtimes
        .iter()
        .map(|(name, path)| (name.clone(), RuntimeInfo { path: path.clone() }))
        .collect();
    // Docker's names for processes, which some clients look for before they ask for them.
    if let Some(path) = info.runtimes.get("process") {
        for name in ["runc", "io.containerd.runc.v2"] {
            let path = path.clone();
            runtimes
                .entry(name.to_owned())
                .or_insert(RuntimeInfo { path });
        }
    }
    InfoResponse {
        containers: info.containers,
        containers_running: info.running,
        containers_paused: info.paused,
        containers_stopped: info.stopped,
        images: info.images,
        driver: info.storage_driver,
        driver_status: info
            .storage_status
            .into_iter()
            .map(|(key, value)| [key, value])
            .collect(),
        plugins: Plugins {
            volume: drivers.volume,
            network: drivers.network,
            authorization: Vec::new(),
            log: info.log_drivers,
        },
        memory_limit: limit("MemoryLimit"),
        swap_limit: limit("SwapLimit"),
        cpu_cfs_period: limit("CpuCfsPeriod"),
        cpu_cfs_quota: limit("CpuCfsQuota"),
        cpu_shares: limit("CPUShares"),
        cpu_set: limit("CPUSet"),
        pids_limit: limit("PidsLimit"),
        ipv4_forwarding: limit("IPv4Forwarding"),
        bridge_nf_iptables: limit("BridgeNfIptables"),
        bridge_nf_ip6tables: limit("BridgeNfIp6tables"),
        oom_kill_disable: limit("OomKillDisable"),
        system_time: format_fixed(Timestamp::now()),
        logging_driver: info.log_driver,
        cgroup_driver: info.cgroup_driver,
        cgroup_version: info.cgroup_version,
        kernel_version: info.kernel,
        operating_system: info.operating_system,
        os_version: info.os_version,
        os_type: "linux".to_owned(),
        architecture: info.architecture,
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: registries(info.insecure_registries, info.registry_mirrors),
        ncpu: info.cpus,
        mem_total: info.memory,
        docker_root_dir: info.root,
        http_proxy,
        https_proxy,
        no_proxy,
        name: info.name,
        labels: info.labels,
        server_version: version,
        runtimes,
        default_runtime: info.default_runtime,
        machines: MachineInfo {
            accelerator: info.machines.accelerator,
            reason: info.machines.reason,
            kernel: info.machines.kernel,
            architectures: info.machines.architectures,
            unavailable: info.machines.unavailable,
        },
        host_dns: HostDnsInfo {
            address: info.host_dns.address,
            domain: info.host_dns.domain,
            unavailable: info.host_dns.unavailable,
        },
        swarm: Swarm {
            local_node_state: "inactive".to_owned(),
            ..Swarm::default()
        },
        live_restore_enabled: info.live_restore,
        init_binary: info.init_binary,
        security_options: info.security_options,
        default_address_pools: info
            .address_pools
            .into_iter()
            .map(|(base, size)| AddressPool { base, size })
            .collect(),
        warnings: info.warnings,
        id: info.id,
        ..InfoResponse::default()
    }
}

/// Drivers by kind.
pub(crate) struct Drivers {
    /// Volume drivers.
    pub(crate) volume: Vec<String>,
    /// Network drivers.
    pub(crate) network: Vec<String>,
}

fn registries(insecure: Vec<String>, mirrors: Vec<String>) -> RegistryConfig {
    let (mut networks, hosts): (Vec<_>, Vec<_>) =
        insecure.into_iter().partition(|entry| is_network(entry));
    // Loopback always is.
    for loopback in ["::1/128", "127.0.0.0/8"] {
        if !networks.iter().any(|network| network == loopback) {
            networks.push(loopback.to_owned());
        }
    }
    let mut index_configs = BTreeMap::new();
    index_configs.insert(
        "docker.io".to_owned(),
        IndexConfig {
            name: "docker.io".to_owned(),
            mirrors: mirrors.clone(),
            secure: true,
            official: true,
        },
    );
    for host in hosts {
        let config = IndexConfig {
            name: host.clone(),
            ..IndexConfig::default()
        };
        index_configs.insert(host, config);
    }
    RegistryConfig {
        insecure_registry_cidrs: networks,
        index_configs,
        mirrors,
        ..RegistryConfig::default()
    }
}

fn is_network(entry: &str) -> bool {
    entry.split_once('/').is_some_and(|(address, prefix)| {
        address.parse::<std::net::IpAddr>().is_ok() && prefix.parse::<u8>().is_ok()
    })
}
