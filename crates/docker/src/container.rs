//! Containers: lists, inspect, create and the small answers.

use std::collections::BTreeMap;

use coracle_runtime::spec::{
    ContainerConfig, EndpointSettings, HostConfig, NetworkingConfig, PortBinding,
};
use serde::{Deserialize, Serialize};

use crate::lenient;
use crate::time::Time;
use crate::wire::{is_default, wire};

wire! {
    /// A container in `GET /containers/json`.
    pub struct ContainerSummary {
        /// 64 hexadecimal digits.
        pub id: String,
        /// Each with a leading slash.
        pub names: Vec<String>,
        /// The image's name, or its id where the name points elsewhere by now.
        pub image: String,
        /// The image's id.
        #[serde(rename = "ImageID")]
        pub image_id: String,
        /// The command line.
        pub command: String,
        /// Unix seconds.
        pub created: i64,
        /// Ports, published or exposed.
        pub ports: Vec<Port>,
        /// Bytes in the writable layer.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_rw: Option<u64>,
        /// Bytes of the root file system.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_root_fs: Option<u64>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// `running`, `exited` …
        pub state: String,
        /// `Up 2 hours (healthy)`.
        pub status: String,
        /// A little of the host configuration.
        pub host_config: SummaryHostConfig,
        /// Its networks.
        pub network_settings: SummaryNetworks,
        /// What is mounted.
        pub mounts: Vec<MountPoint>,
    }

    /// The host configuration in a list.
    pub struct SummaryHostConfig {
        /// Network mode.
        #[serde(skip_serializing_if = "is_default")]
        pub network_mode: String,
        /// Annotations.
        #[serde(skip_serializing_if = "is_default")]
        pub annotations: BTreeMap<String, String>,
    }

    /// The networks in a list.
    pub struct SummaryNetworks {
        /// By name.
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// A port in a list.
    pub struct Port {
        /// Host address.
        #[serde(rename = "IP", skip_serializing_if = "is_default")]
        pub ip: String,
        /// Port inside.
        pub private_port: u16,
        /// Port on the host.
        #[serde(skip_serializing_if = "is_default")]
        pub public_port: u16,
        /// `tcp`, `udp`, `sctp`.
        #[serde(rename = "Type")]
        pub kind: String,
    }

    /// A mount, in lists and inspect.
    pub struct MountPoint {
        /// `bind`, `volume`, `tmpfs`.
        #[serde(rename = "Type", skip_serializing_if = "is_default")]
        pub kind: String,
        /// A volume's name.
        #[serde(skip_serializing_if = "is_default")]
        pub name: String,
        /// Path on the host.
        pub source: String,
        /// Path inside.
        pub destination: String,
        /// A volume's driver.
        #[serde(skip_serializing_if = "is_default")]
        pub driver: String,
        /// Options as given.
        pub mode: String,
        /// Writable.
        #[serde(rename = "RW")]
        pub rw: bool,
        /// Propagation.
        pub propagation: String,
    }

    /// `GET /containers/{id}/json`.
    pub struct ContainerInspect {
        /// 64 hexadecimal digits.
        pub id: String,
        /// When it was created.
        pub created: Time,
        /// The executable.
        pub path: String,
        /// Its arguments.
        pub args: Vec<String>,
        /// Where it stands.
        pub state: State,
        /// The image's id.
        pub image: String,
        /// Resolver file on the host.
        pub resolv_conf_path: String,
        /// Host-name file on the host.
        pub hostname_path: String,
        /// Hosts file on the host.
        pub hosts_path: String,
        /// Log file on the host.
        pub log_path: String,
        /// With a leading slash.
        pub name: String,
        /// Restarts by policy.
        pub restart_count: u32,
        /// Storage driver.
        pub driver: String,
        /// Operating system.
        pub platform: String,
        /// SELinux; empty.
        pub mount_label: String,
        /// SELinux; empty.
        pub process_label: String,
        /// AppArmor profile.
        pub app_armor_profile: String,
        /// Running exec instances.
        #[serde(rename = "ExecIDs", serialize_with = "crate::wire::empty_as_null")]
        pub exec_ids: Vec<String>,
        /// Host configuration.
        pub host_config: HostConfig,
        /// Storage driver's data.
        pub graph_driver: GraphDriver,
        /// Bytes in the writable layer.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_rw: Option<u64>,
        /// Bytes of the root file system.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_root_fs: Option<u64>,
        /// What is mounted.
        pub mounts: Vec<MountPoint>,
        /// Portable configuration.
        pub config: ContainerConfig,
        /// Networks and ports.
        pub network_settings: NetworkSettings,
    }

    /// A container's state.
    pub struct State {
        /// `running`, `exited` …
        pub status: String,
        /// Running, paused ones included.
        pub running: bool,
        /// Frozen.
        pub paused: bool,
        /// Waiting for the restart policy.
        pub restarting: bool,
        /// The kernel killed it for want of memory.
        #[serde(rename = "OOMKilled")]
        pub oom_killed: bool,
        /// Its removal failed, or its end is unknown.
        pub dead: bool,
        /// Process id on the host.
        pub pid: i32,
        /// Last exit code.
        pub exit_code: i32,
        /// Why the last start or run failed.
        pub error: String,
        /// Last start.
        pub started_at: Time,
        /// Last end.
        pub finished_at: Time,
        /// Health, where it is checked.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub health: Option<Health>,
    }

    /// Health.
    pub struct Health {
        /// `starting`, `healthy`, `unhealthy`.
        pub status: String,
        /// Failures in a row.
        pub failing_streak: u32,
        /// The last checks.
        pub log: Vec<HealthResult>,
    }

    /// One check.
    pub struct HealthResult {
        /// When it began.
        pub start: Time,
        /// When it ended.
        pub end: Time,
        /// 0 healthy, 1 unhealthy.
        pub exit_code: i32,
        /// Output.
        pub output: String,
    }

    /// The storage driver's data.
    pub struct GraphDriver {
        /// By key.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub data: BTreeMap<String, String>,
        /// The driver.
        pub name: String,
    }

    /// Networks and ports, with the fields of the default network at the top as before API 1.21.
    pub struct NetworkSettings {
        /// Unused.
        pub bridge: String,
        /// Identity of the network namespace.
        #[serde(rename = "SandboxID")]
        pub sandbox_id: String,
        /// Path of the network namespace.
        pub sandbox_key: String,
        /// Exposed ports with the host ends of the published.
        pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
        /// Unused.
        pub hairpin_mode: bool,
        /// Unused.
        #[serde(rename = "LinkLocalIPv6Address")]
        pub link_local_ipv6_address: String,
        /// Unused.
        #[serde(rename = "LinkLocalIPv6PrefixLen")]
        pub link_local_ipv6_prefix_len: u8,
        /// Always `null`.
        #[serde(rename = "SecondaryIPAddresses")]
        pub secondary_ip_addresses: Option<Vec<Address>>,
        /// Always `null`.
        #[serde(rename = "SecondaryIPv6Addresses")]
        pub secondary_ipv6_addresses: Option<Vec<Address>>,
        /// Of the default network.
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        /// Of the default network.
        pub gateway: String,
        /// Of the default network.
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        /// Of the default network.
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: u8,
        /// Of the default network.
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        /// Of the default network.
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: u8,
        /// Of the default network.
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        /// Of the default network.
        pub mac_address: String,
        /// By name.
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// An address.
    pub struct Address {
        /// Address.
        pub addr: String,
        /// Prefix length.
        pub prefix_len: u8,
    }

    /// The answer of `POST /containers/create`.
    pub struct CreateResponse {
        /// The new container's id.
        pub id: String,
        /// What the user should know.
        pub warnings: Vec<String>,
    }

    /// The answer of `POST /containers/{id}/update`.
    pub struct UpdateResponse {
        /// What the user should know.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub warnings: Vec<String>,
    }

    /// The answer of `POST /containers/{id}/wait`.
    pub struct WaitResponse {
        /// Exit code.
        pub status_code: i64,
        /// What went wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub error: Option<WaitError>,
    }

    /// What went wrong while waiting.
    pub struct WaitError {
        /// Text.
        pub message: String,
    }

    /// `GET /containers/{id}/top`.
    pub struct TopResponse {
        /// A row a process.
        pub processes: Vec<Vec<String>>,
        /// Column titles.
        pub titles: Vec<String>,
    }

    /// An entry of `GET /containers/{id}/changes`.
    pub struct ChangeItem {
        /// Absolute path inside.
        pub path: String,
        /// 0 modified, 1 added, 2 deleted.
        pub kind: u8,
    }

    /// The answer of `POST /containers/prune`.
    pub struct ContainersPruned {
        /// Ids.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub containers_deleted: Vec<String>,
        /// Bytes freed.
        pub space_reclaimed: u64,
    }

    /// An id alone, as `POST /containers/{id}/exec` and `POST /commit` answer.
    pub struct IdResponse {
        /// The id.
        pub id: String,
    }
}

/// The body of `POST /containers/create`: the configuration, flat, with two more parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CreateBody {
    /// Portable configuration.
    #[serde(flatten)]
    pub config: ContainerConfig,
    /// Host configuration.
    #[serde(rename = "HostConfig")]
    pub host_config: HostConfig,
    /// Networks to join.
    #[serde(rename = "NetworkingConfig")]
    pub networking_config: NetworkingConfig,
}

impl CreateBody {
    /// Reads it. In two passes, because a flattened struct would take fields in one case only.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Rest {
            #[serde(deserialize_with = "crate::wire::null_default")]
            host_config: HostConfig,
            #[serde(deserialize_with = "crate::wire::null_default")]
            networking_config: NetworkingConfig,
        }
        let json: serde_json::Value = serde_json::from_slice(json)?;
        let config = lenient::from_value::<Option<ContainerConfig>>(json.clone())?;
        let rest = lenient::from_value::<Option<Rest>>(json)?.unwrap_or_default();
        Ok(Self {
            config: config.unwrap_or_default(),
            host_config: rest.host_config,
            networking_config: rest.networking_config,
        })
    }
}
