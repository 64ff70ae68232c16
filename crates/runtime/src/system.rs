//! The runtime as a whole.

use std::collections::BTreeMap;

use crate::container::Container;
use crate::image::Image;
use crate::volume::Volume;

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The product's name.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Source revision, where known.
    pub revision: String,
    /// Kernel release.
    pub kernel: String,
    /// Go's name of the operating system (`linux`).
    pub os: String,
    /// Go's name of the architecture (`amd64`).
    pub arch: String,
}

/// The host and the runtime's state, for `info`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Info {
    /// A stable identity of this installation.
    pub id: String,
    /// Containers by state.
    pub containers: u64,
    /// Running.
    pub running: u64,
    /// Paused.
    pub paused: u64,
    /// Stopped.
    pub stopped: u64,
    /// Images.
    pub images: u64,
    /// Storage driver.
    pub storage_driver: String,
    /// What there is to say of it.
    pub storage_status: Vec<(String, String)>,
    /// Where everything is kept.
    pub root: String,
    /// Host name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// The distribution's name.
    pub operating_system: String,
    /// The distribution's version.
    pub os_version: String,
    /// `uname -m`.
    pub architecture: String,
    /// Processors.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// `cgroupfs` or `none`.
    pub cgroup_driver: String,
    /// The default log driver.
    pub log_driver: String,
    /// Log drivers there are.
    pub log_drivers: Vec<String>,
    /// Isolation kinds there are, by the name that `--runtime` takes, with what runs them.
    pub runtimes: BTreeMap<String, String>,
    /// The default one.
    pub default_runtime: String,
    /// How virtual machines run here.
    pub machines: MachineInfo,
    /// Where the host's own programs ask for names of containers.
    pub host_dns: HostDnsInfo,
    /// `name=…` options, as Docker lists them.
    pub security_options: Vec<String>,
    /// Limits that the kernel can enforce, by Docker's field name (`MemoryLimit`, `SwapLimit` …).
    pub limits: BTreeMap<String, bool>,
    /// Registries reached without TLS.
    pub insecure_registries: Vec<String>,
    /// Mirrors.
    pub registry_mirrors: Vec<String>,
    /// Whether containers outlive the daemon.
    pub live_restore: bool,
    /// The daemon's labels.
    pub labels: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Proxies in use, credentials taken out: http, https, no.
    pub proxies: [String; 3],
    /// The default address pools: base and size.
    pub address_pools: Vec<(String, u8)>,
    /// Binary that serves as init.
    pub init_binary: String,
}

/// How virtual machines run on a host, or why they don't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineInfo {
    /// What executes their instructions (`kvm`, `tcg`); empty if there are none, or nothing is known yet.
    pub accelerator: String,
    /// Why that, for people.
    pub reason: String,
    /// The default kernel.
    pub kernel: String,
    /// Architectures that there is a VMM for, the host's first. Containers' machines are of the host's;
    /// programs of the others run in them by emulation.
    pub architectures: Vec<String>,
    /// Why there are no machines; empty if there are.
    pub unavailable: String,
}

/// Where the host's own programs ask for names of containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostDnsInfo {
    /// Address and port; empty if they can't.
    pub address: String,
    /// What all names end in.
    pub domain: String,
    /// Why nobody answers there; empty if somebody does.
    pub unavailable: String,
}

/// Bytes on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskUsage {
    /// Bytes of all layers, each counted once.
    pub layers_size: u64,
    /// Images, with shared sizes.
    pub images: Vec<Image>,
    /// Containers, with sizes.
    pub containers: Vec<Container>,
    /// Volumes, with usage.
    pub volumes: Vec<Volume>,
    /// Templates of virtual machines.
    pub templates: Vec<MachineTemplate>,
    /// Images as disks of virtual machines. Their bytes are among those of the layers.
    pub root_disks: Vec<RootDisk>,
}

/// An image's files as the read-only disk of its virtual machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootDisk {
    /// The digest of the layers that it was made of; `empty` if there are none.
    pub name: String,
    /// Bytes on disk.
    pub size: u64,
    /// Whether there are containers in virtual machines that need it.
    pub in_use: bool,
}

/// What virtual machines of one shape are copies of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineTemplate {
    /// Name: a digest of its shape.
    pub name: String,
    /// Bytes on disk.
    pub size: u64,
    /// Whether containers that there are, or those without limits, would be copies of it.
    pub in_use: bool,
}
