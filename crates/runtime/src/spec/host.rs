//! The part of a container's configuration that concerns the host: resources, isolation, mounts.

use std::collections::BTreeMap;

use super::Mount;
use crate::secret::FileReference;
use crate::serde_util::wire;

wire! {
    /// `HostConfig` of Docker's API.
    pub struct HostConfig {
        /// `source:target[:options]`, where source is a host path or a volume's name.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub binds: Vec<String>,
        /// Where the client wrote the id; kept for inspect only.
        #[serde(rename = "ContainerIDFile")]
        pub container_id_file: String,
        /// Log driver and its options.
        pub log_config: LogConfig,
        /// `default`, `bridge`, `host`, `none`, `container:<name|id>`, or a network's name.
        pub network_mode: String,
        /// Published ports, by `"80/tcp"`.
        pub port_bindings: BTreeMap<String, Option<Vec<PortBinding>>>,
        /// What to do when the process ends.
        pub restart_policy: RestartPolicy,
        /// Remove the container when it ends.
        pub auto_remove: bool,
        /// Driver for volumes named in `binds`.
        pub volume_driver: String,
        /// Containers whose mounts to take: `name[:ro|rw]`.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub volumes_from: Vec<String>,
        /// Initial terminal size: rows, columns.
        pub console_size: Option<[u16; 2]>,
        /// Annotations for the runtime.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub annotations: BTreeMap<String, String>,
        /// Capabilities to add, with or without `CAP_`; `ALL` means all.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub cap_add: Vec<String>,
        /// Capabilities to drop.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub cap_drop: Vec<String>,
        /// `private` or `host`; empty means the daemon's default.
        pub cgroupns_mode: String,
        /// Name servers.
        pub dns: Vec<String>,
        /// Resolver options.
        pub dns_options: Vec<String>,
        /// Search domains.
        pub dns_search: Vec<String>,
        /// `host:ip` lines for the hosts file; ip may be `host-gateway`.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub extra_hosts: Vec<String>,
        /// Additional groups, by name or number.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub group_add: Vec<String>,
        /// `none`, `private`, `shareable`, `host`, `container:<name|id>`; empty means the default.
        pub ipc_mode: String,
        /// Cgroup to use (`container:<id>`); refused when set.
        pub cgroup: String,
        /// Legacy links: `container[:alias]`.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub links: Vec<String>,
        /// From -1000 to 1000.
        pub oom_score_adj: i64,
        /// Empty, `host`, or `container:<name|id>`.
        pub pid_mode: String,
        /// All capabilities, all devices, no confinement.
        pub privileged: bool,
        /// Publish every exposed port on a random host port.
        pub publish_all_ports: bool,
        /// Root file system read-only.
        pub readonly_rootfs: bool,
        /// `seccomp=…`, `no-new-privileges[:bool]`, `apparmor=…`, `label=…`, `systempaths=unconfined`.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub security_opt: Vec<String>,
        /// Storage driver options, such as `size`.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub storage_opt: BTreeMap<String, String>,
        /// Tmpfs mounts: path to mount options.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub tmpfs: BTreeMap<String, String>,
        /// Empty or `host`.
        #[serde(rename = "UTSMode")]
        pub uts_mode: String,
        /// Empty or `host`.
        pub userns_mode: String,
        /// Bytes of /dev/shm; 0 means 64 MiB.
        pub shm_size: i64,
        /// Namespaced kernel parameters.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub sysctls: BTreeMap<String, String>,
        /// How the container is isolated: `process`, `vm`, or empty for the daemon's default.
        pub runtime: String,
        /// Windows only; refused unless empty or `default`.
        pub isolation: String,
        /// Relative CPU weight, 2 to 262144; 0 means 1024.
        pub cpu_shares: i64,
        /// Bytes; 0 means no limit.
        pub memory: i64,
        /// CPUs, in billionths; 0 means no limit.
        pub nano_cpus: i64,
        /// Parent cgroup; empty means the daemon's.
        pub cgroup_parent: String,
        /// Block I/O weight, 10 to 1000; 0 means none.
        pub blkio_weight: u16,
        /// Weights by device.
        pub blkio_weight_device: Vec<WeightDevice>,
        /// Read limits, bytes a second.
        pub blkio_device_read_bps: Vec<ThrottleDevice>,
        /// Write limits, bytes a second.
        pub blkio_device_write_bps: Vec<ThrottleDevice>,
        /// Read limits, operations a second.
        #[serde(rename = "BlkioDeviceReadIOps")]
        pub blkio_device_read_iops: Vec<ThrottleDevice>,
        /// Write limits, operations a second.
        #[serde(rename = "BlkioDeviceWriteIOps")]
        pub blkio_device_write_iops: Vec<ThrottleDevice>,
        /// CFS period, microseconds.
        pub cpu_period: i64,
        /// CFS quota, microseconds a period.
        pub cpu_quota: i64,
        /// Real-time period, microseconds.
        pub cpu_realtime_period: i64,
        /// Real-time runtime, microseconds.
        pub cpu_realtime_runtime: i64,
        /// CPUs to run on: `0-2,5`.
        pub cpuset_cpus: String,
        /// Memory nodes to use.
        pub cpuset_mems: String,
        /// Host devices to add.
        pub devices: Vec<DeviceMapping>,
        /// Device access rules: `c 1:3 rwm`.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub device_cgroup_rules: Vec<String>,
        /// Devices by driver (`--gpus`).
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub device_requests: Vec<DeviceRequest>,
        /// Kernel memory limit; long deprecated, refused when set.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub kernel_memory: i64,
        /// Kernel TCP memory limit; refused when set.
        #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "crate::serde_util::is_default")]
        pub kernel_memory_tcp: i64,
        /// Soft memory limit, bytes.
        pub memory_reservation: i64,
        /// Memory and swap together, bytes; -1 unlimited swap, 0 twice the memory.
        pub memory_swap: i64,
        /// 0 to 100; `None` or -1 leaves the kernel's.
        pub memory_swappiness: Option<i64>,
        /// Do not kill on out-of-memory.
        pub oom_kill_disable: Option<bool>,
        /// Processes; `None`, 0 or -1 means no limit.
        pub pids_limit: Option<i64>,
        /// Resource limits.
        pub ulimits: Vec<Ulimit>,
        /// Windows only.
        pub cpu_count: i64,
        /// Windows only.
        pub cpu_percent: i64,
        /// Windows only.
        #[serde(rename = "IOMaximumIOps")]
        pub io_maximum_iops: u64,
        /// Windows only.
        #[serde(rename = "IOMaximumBandwidth")]
        pub io_maximum_bandwidth: u64,
        /// Mounts in the long form.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub mounts: Vec<Mount>,
        /// Secrets as files inside: Coracle's own extension of Docker's API.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub secrets: Vec<FileReference>,
        /// Configs as files inside: Coracle's own extension of Docker's API.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub configs: Vec<FileReference>,
        /// Paths hidden inside; `None` means the default list, `[]` none.
        pub masked_paths: Option<Vec<String>>,
        /// Paths read-only inside; `None` means the default list, `[]` none.
        pub readonly_paths: Option<Vec<String>>,
        /// Run an init process as PID 1; `None` means the daemon's default.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub init: Option<bool>,
    }

    /// Log driver and options.
    pub struct LogConfig {
        /// `json-file`, `local`, `none`; empty means the daemon's default.
        #[serde(rename = "Type")]
        pub driver: String,
        /// `max-size`, `max-file`, `compress`, `labels`, `env`, `tag`.
        pub config: BTreeMap<String, String>,
    }

    /// One host end of a published port.
    pub struct PortBinding {
        /// Host address; empty means all, IPv4 and IPv6.
        pub host_ip: String,
        /// Host port or range; empty or `0` means any free one.
        pub host_port: String,
    }

    /// What to do when the process ends.
    pub struct RestartPolicy {
        /// Empty or `no`, `always`, `unless-stopped`, `on-failure`.
        pub name: String,
        /// With `on-failure`: give up after so many restarts; 0 never.
        pub maximum_retry_count: i64,
    }

    /// A device's weight.
    pub struct WeightDevice {
        /// Device node on the host.
        pub path: String,
        /// 10 to 1000.
        pub weight: u16,
    }

    /// A device's rate limit.
    pub struct ThrottleDevice {
        /// Device node on the host.
        pub path: String,
        /// Bytes or operations a second.
        pub rate: u64,
    }

    /// A host device inside.
    pub struct DeviceMapping {
        /// Device node, or a directory of them, on the host.
        pub path_on_host: String,
        /// Where inside.
        pub path_in_container: String,
        /// Any of `rwm`.
        pub cgroup_permissions: String,
    }

    /// Devices asked for by driver and capability.
    pub struct DeviceRequest {
        /// Driver.
        pub driver: String,
        /// How many; -1 all.
        pub count: i64,
        /// Which.
        #[serde(rename = "DeviceIDs")]
        pub device_ids: Vec<String>,
        /// An OR of ANDs of capabilities.
        pub capabilities: Vec<Vec<String>>,
        /// Driver options.
        pub options: BTreeMap<String, String>,
    }

    /// A resource limit.
    pub struct Ulimit {
        /// Without `RLIMIT_`, lower case: `nofile`.
        pub name: String,
        /// Soft limit; -1 unlimited.
        pub soft: i64,
        /// Hard limit; -1 unlimited.
        pub hard: i64,
    }
}
