//! The system, networks, volumes.

use std::collections::BTreeMap;

use coracle_docker::network::NetworkInspect;
use coracle_docker::system::{InfoResponse, VersionResponse};
use coracle_docker::volume::VolumeInspect;
use coracle_runtime::network::{Network, NetworkContainer};
use coracle_runtime::system::{HostDnsInfo, Info, MachineInfo, Version};
use coracle_runtime::volume::Volume;
use jiff::Timestamp;

use super::container::time;

/// The label by which engines tell volumes that nobody named.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What runs.
pub(crate) fn version(told: VersionResponse) -> Version {
    let first = told.components.into_iter().next().unwrap_or_default();
    let product = [told.platform.name, first.name, "Docker".to_owned()];
    Version {
        product: product
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_default(),
        version: told.version,
        revision: told.git_commit,
        kernel: told.kernel_version,
        os: told.os,
        arch: told.arch,
    }
}

/// The host.
pub(crate) fn info(told: InfoResponse) -> Info {
    let limits = [
        ("MemoryLimit", told.memory_limit),
        ("SwapLimit", told.swap_limit),
        ("CpuCfsPeriod", told.cpu_cfs_period),
        ("CpuCfsQuota", told.cpu_cfs_quota),
        ("CPUShares", told.cpu_shares),
        ("CPUSet", told.cpu_set),
        ("PidsLimit", told.pids_limit),
        ("IPv4Forwarding", told.ipv4_forwarding),
        ("BridgeNfIptables", told.bridge_nf_iptables),
        ("BridgeNfIp6tables", told.bridge_nf_ip6tables),
        ("OomKillDisable", told.oom_kill_disable),
    ];
    let registries = told.registry_config;
    let insecure = registries
        .index_configs
        .values()
        .filter(|registry| !registry.secure)
        .map(|registry| registry.name.clone());
    let insecure = registries
        .insecure_registry_cidrs
        .iter()
        .cloned()
        .chain(insecure)
        .collect();
    Info {
        id: told.id,
        containers: told.containers,
        running: told.containers_running,
        paused: told.containers_paused,
        stopped: told.containers_stopped,
        images: told.images,
        storage_driver: told.driver,
        storage_status: told
            .driver_status
            .into_iter()
            .map(|[key, value]| (key, value))
            .collect(),
        root: told.docker_root_dir,
        name: told.name,
        kernel: told.kernel_version,
        operating_system: told.operating_system,
        os_version: told.os_version,
        architecture: told.architecture,
        cpus: told.ncpu,
        memory: told.mem_total,
        cgroup_version: told.cgroup_version,
        cgroup_driver: told.cgroup_driver,
        log_driver: told.logging_driver,
        log_drivers: told.plugins.log,
        runtimes: told
            .runtimes
            .into_iter()
            .map(|(name, runtime)| (name, runtime.path))
            .collect(),
        default_runtime: told.default_runtime,
        machines: MachineInfo {
            accelerator: told.machines.accelerator,
            reason: told.machines.reason,
            kernel: told.machines.kernel,
            architectures: told.machines.architectures,
            unavailable: told.machines.unavailable,
        },
        host_dns: HostDnsInfo {
            address: told.host_dns.address,
            domain: told.host_dns.domain,
            unavailable: told.host_dns.unavailable,
        },
        security_options: told.security_options,
        limits: limits
            .into_iter()
            .map(|(name, can)| (name.to_owned(), can))
            .collect(),
        insecure_registries: insecure,
        registry_mirrors: registries.mirrors,
        live_restore: told.live_restore_enabled,
        labels: told.labels,
        warnings: told.warnings,
        proxies: [told.http_proxy, told.https_proxy, told.no_proxy],
        address_pools: told
            .default_address_pools
            .into_iter()
            .map(|pool| (pool.base, pool.size))
            .collect(),
        init_binary: told.init_binary,
    }
}

/// A network.
pub(crate) fn network(found: NetworkInspect) -> Network {
    let containers: BTreeMap<_, _> = found
        .containers
        .into_iter()
        .map(|(id, endpoint)| {
            let container = NetworkContainer {
                name: endpoint.name,
                endpoint_id: endpoint.endpoint_id,
                mac_address: endpoint.mac_address,
                ipv4_address: endpoint.ipv4_address,
                ipv6_address: endpoint.ipv6_address,
            };
            (id, container)
        })
        .collect();
    Network {
        id: found.id,
        name: found.name,
        created: time(found.created),
        driver: found.driver,
        scope: found.scope,
        ipv6: found.enable_ipv6,
        ipv4: found.enable_ipv4.unwrap_or(true),
        ipam: found.ipam,
        internal: found.internal,
        attachable: found.attachable,
        containers,
        options: found.options,
        labels: found.labels,
    }
}

/// A volume.
pub(crate) fn volume(mut found: VolumeInspect) -> Volume {
    let anonymous = found.labels.remove(ANONYMOUS).is_some();
    let usage = found.usage_data;
    // -1 is what is not known.
    let known = |number: i64| u64::try_from(number).ok();
    Volume {
        name: found.name,
        driver: found.driver,
        mountpoint: found.mountpoint,
        created: found.created_at.0.unwrap_or(Timestamp::UNIX_EPOCH),
        labels: found.labels,
        options: found.options,
        anonymous,
        ref_count: usage.as_ref().and_then(|usage| known(usage.ref_count)),
        size: usage.as_ref().and_then(|usage| known(usage.size)),
    }
}
