//! The system: version, info, disk usage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::ContainerSummary;
use crate::image::ImageSummary;
use crate::volume::VolumeInspect;
use crate::wire::{is_default, wire};

wire! {
    /// `GET /version`.
    pub struct VersionResponse {
        /// The product.
        pub platform: PlatformName,
        /// Its parts.
        pub components: Vec<Component>,
        /// Version.
        pub version: String,
        /// Newest API version.
        pub api_version: String,
        /// Oldest API version.
        #[serde(rename = "MinAPIVersion")]
        pub min_api_version: String,
        /// Source revision.
        pub git_commit: String,
        /// Empty: nothing here is written in Go.
        pub go_version: String,
        /// Operating system.
        pub os: String,
        /// Architecture.
        pub arch: String,
        /// Kernel release.
        pub kernel_version: String,
        /// When it was built.
        #[serde(skip_serializing_if = "is_default")]
        pub build_time: String,
    }

    /// The product.
    pub struct PlatformName {
        /// Its name.
        pub name: String,
    }

    /// A part of the product.
    pub struct Component {
        /// `Engine` …
        pub name: String,
        /// Version.
        pub version: String,
        /// More.
        pub details: BTreeMap<String, String>,
    }

    /// How virtual machines run on a host, or why they don't.
    pub struct MachineInfo {
        /// What executes their instructions: `kvm`, `tcg`.
        pub accelerator: String,
        /// Why that.
        pub reason: String,
        /// The default kernel.
        pub kernel: String,
        /// Architectures that there is a VMM for, the host's first.
        pub architectures: Vec<String>,
        /// Why there are none; empty if there are.
        pub unavailable: String,
    }

    /// Where the host's own programs ask for names of containers.
    pub struct HostDnsInfo {
        /// Address and port; empty if they can't.
        pub address: String,
        /// What all names end in.
        pub domain: String,
        /// Why nobody answers there; empty if somebody does.
        pub unavailable: String,
    }

    /// `GET /info`.
    pub struct InfoResponse {
        /// A stable identity.
        #[serde(rename = "ID")]
        pub id: String,
        /// Containers.
        pub containers: u64,
        /// Running ones.
        pub containers_running: u64,
        /// Paused ones.
        pub containers_paused: u64,
        /// Stopped ones.
        pub containers_stopped: u64,
        /// Images.
        pub images: u64,
        /// Storage driver.
        pub driver: String,
        /// About it.
        pub driver_status: Vec<[String; 2]>,
        /// Plugins by kind.
        pub plugins: Plugins,
        /// Memory can be limited.
        pub memory_limit: bool,
        /// Swap can be limited.
        pub swap_limit: bool,
        /// CPU periods can be set.
        pub cpu_cfs_period: bool,
        /// CPU quotas can be set.
        pub cpu_cfs_quota: bool,
        /// CPU shares can be set.
        #[serde(rename = "CPUShares")]
        pub cpu_shares: bool,
        /// CPU sets can be set.
        #[serde(rename = "CPUSet")]
        pub cpu_set: bool,
        /// Process numbers can be limited.
        pub pids_limit: bool,
        /// IPv4 is forwarded.
        #[serde(rename = "IPv4Forwarding")]
        pub ipv4_forwarding: bool,
        /// Bridged IPv4 traffic is filtered.
        pub bridge_nf_iptables: bool,
        /// Bridged IPv6 traffic is filtered.
        #[serde(rename = "BridgeNfIp6tables")]
        pub bridge_nf_ip6tables: bool,
        /// Debugging.
        pub debug: bool,
        /// File descriptors in use; not told.
        #[serde(rename = "NFd")]
        pub nfd: i64,
        /// The OOM killer can be turned off.
        pub oom_kill_disable: bool,
        /// Goroutines; none here.
        pub n_goroutines: i64,
        /// The time now.
        pub system_time: String,
        /// The default log driver.
        pub logging_driver: String,
        /// `cgroupfs`, `none`.
        pub cgroup_driver: String,
        /// `1`, `2`.
        pub cgroup_version: String,
        /// Listeners for events; not told.
        pub n_events_listener: i64,
        /// Kernel release.
        pub kernel_version: String,
        /// The distribution.
        pub operating_system: String,
        /// Its version.
        #[serde(rename = "OSVersion")]
        pub os_version: String,
        /// `linux`.
        #[serde(rename = "OSType")]
        pub os_type: String,
        /// `uname -m`.
        pub architecture: String,
        /// The default registry.
        pub index_server_address: String,
        /// Registries.
        pub registry_config: RegistryConfig,
        /// Processors.
        #[serde(rename = "NCPU")]
        pub ncpu: u64,
        /// Bytes of memory.
        pub mem_total: u64,
        /// Always empty.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub generic_resources: Vec<serde_json::Value>,
        /// Where everything is kept.
        pub docker_root_dir: String,
        /// Proxy.
        pub http_proxy: String,
        /// Proxy.
        pub https_proxy: String,
        /// Not proxied.
        pub no_proxy: String,
        /// Host name.
        pub name: String,
        /// Labels.
        pub labels: Vec<String>,
        /// Experimental features.
        pub experimental_build: bool,
        /// Version.
        pub server_version: String,
        /// Isolation kinds.
        pub runtimes: BTreeMap<String, RuntimeInfo>,
        /// The default one.
        pub default_runtime: String,
        /// How virtual machines run; not Docker's.
        pub machines: MachineInfo,
        /// Names of containers on the host; not Docker's.
        #[serde(rename = "HostDNS")]
        pub host_dns: HostDnsInfo,
        /// Not a swarm.
        pub swarm: Swarm,
        /// Whether containers outlive the daemon.
        pub live_restore_enabled: bool,
        /// Windows only.
        pub isolation: String,
        /// Serves as init.
        pub init_binary: String,
        /// A component's revision.
        pub containerd_commit: Commit,
        /// A component's revision.
        pub runc_commit: Commit,
        /// A component's revision.
        pub init_commit: Commit,
        /// `name=…` options.
        pub security_options: Vec<String>,
        /// Address pools.
        #[serde(skip_serializing_if = "is_default")]
        pub default_address_pools: Vec<AddressPool>,
        /// Directories that devices are described in.
        #[serde(rename = "CDISpecDirs")]
        pub cdi_spec_dirs: Vec<String>,
        /// What the user should know.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub warnings: Vec<String>,
    }

    /// Plugins by kind.
    pub struct Plugins {
        /// Volume drivers.
        pub volume: Vec<String>,
        /// Network drivers.
        pub network: Vec<String>,
        /// Authorization plugins.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub authorization: Vec<String>,
        /// Log drivers.
        pub log: Vec<String>,
    }

    /// Registries.
    pub struct RegistryConfig {
        /// Always `null`.
        #[serde(rename = "AllowNondistributableArtifactsCIDRs")]
        pub allow_nondistributable_artifacts_cidrs: Option<Vec<String>>,
        /// Always `null`.
        pub allow_nondistributable_artifacts_hostnames: Option<Vec<String>>,
        /// Networks whose registries are reached without TLS.
        #[serde(rename = "InsecureRegistryCIDRs")]
        pub insecure_registry_cidrs: Vec<String>,
        /// By name.
        pub index_configs: BTreeMap<String, IndexConfig>,
        /// Mirrors.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub mirrors: Vec<String>,
    }

    /// A registry.
    pub struct IndexConfig {
        /// Name.
        pub name: String,
        /// Mirrors.
        pub mirrors: Vec<String>,
        /// TLS.
        pub secure: bool,
        /// The default one.
        pub official: bool,
    }

    /// Not a swarm.
    pub struct Swarm {
        /// Node.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// Address.
        pub node_addr: String,
        /// `inactive`.
        pub local_node_state: String,
        /// Whether it manages.
        pub control_available: bool,
        /// Error.
        pub error: String,
        /// Managers.
        pub remote_managers: Option<Vec<serde_json::Value>>,
    }

    /// A component's revision.
    pub struct Commit {
        /// Revision.
        #[serde(rename = "ID")]
        pub id: String,
        /// The revision wanted.
        pub expected: String,
    }

    /// An address pool.
    pub struct AddressPool {
        /// Where from.
        pub base: String,
        /// Prefix length of each network.
        pub size: u8,
    }

    /// What virtual machines of one shape are copies of.
    pub struct TemplateUsage {
        /// Name: a digest of its shape.
        pub name: String,
        /// Bytes on disk.
        pub size: u64,
        /// Whether containers that there are, or those without limits, would be copies of it.
        pub in_use: bool,
    }

    /// An image's files as the read-only disk of its virtual machines.
    pub struct RootDiskUsage {
        /// The digest of the layers that it was made of; `empty` if there are none.
        pub name: String,
        /// Bytes on disk.
        pub size: u64,
        /// Whether there are containers in virtual machines that need it.
        pub in_use: bool,
    }

    /// `GET /system/df`.
    pub struct DiskUsageResponse {
        /// Bytes of all layers, each counted once.
        pub layers_size: u64,
        /// Images.
        pub images: Option<Vec<ImageSummary>>,
        /// Containers.
        pub containers: Option<Vec<ContainerSummary>>,
        /// Volumes.
        pub volumes: Option<Vec<VolumeInspect>>,
        /// Templates of virtual machines; not Docker's.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub templates: Vec<TemplateUsage>,
        /// Images as disks of virtual machines, whose bytes are among those of the layers; not Docker's.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub root_disks: Vec<RootDiskUsage>,
        /// Build cache records.
        pub build_cache: Option<Vec<serde_json::Value>>,
        /// Bytes of build cache; before API 1.42.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub builder_size: Option<u64>,
    }

    /// The answer of `POST /build/prune`.
    pub struct BuildPruned {
        /// Records.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub caches_deleted: Vec<String>,
        /// Bytes freed.
        pub space_reclaimed: u64,
    }
}

/// An isolation kind (in lower case, unlike everything else).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeInfo {
    /// What runs it.
    pub path: String,
}
