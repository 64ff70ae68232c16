//! The virtual machine that a container is to run in, as the engine tells the shim.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::Emulator;

/// A machine for one container. With it in a [`TaskConfig`](crate::TaskConfig), the container is
/// isolated by a virtual machine instead of namespaces of this host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MachineConfig {
    /// QEMU's program.
    pub qemu: PathBuf,
    /// What executes the guest's instructions: `kvm` or `tcg`.
    pub accelerator: String,
    /// The guest's kernel: an ELF `vmlinux` with a PVH entry, or a bzImage.
    pub kernel: PathBuf,
    /// The initial RAM disk, which holds the agent.
    pub initrd: PathBuf,
    /// Kernel parameters beside those that every machine has.
    pub kernel_args: Vec<String>,
    /// Virtual CPUs, at least 1.
    pub cpus: u32,
    /// How many it can be given while it runs; no more than `cpus`, if that is larger.
    #[serde(default)]
    pub max_cpus: u32,
    /// Memory in bytes, the guest kernel's own included.
    pub memory: u64,
    /// How much of that the guest's kernel and agent need, on top of a container's limit.
    pub overhead: u64,
    /// Bytes of translated code that emulation keeps.
    #[serde(default = "code_cache")]
    pub code_cache: u64,
    /// Where templates are kept. One of this machine's shape is cloned, if there is one; else the
    /// machine boots.
    pub templates: Option<PathBuf>,
    /// The image's files: a read-only EROFS disk.
    pub image: PathBuf,
    /// The container's changes: an ext4 disk.
    pub layer: PathBuf,
    /// What of the changes goes through their disk's journal: `ordered`, `writeback` or `journal` (ext4(5),
    /// `data=`). `None`: the guest kernel's default.
    #[serde(default)]
    pub journal: Option<String>,
    /// Its network interfaces.
    pub interfaces: Vec<MachineInterface>,
    /// Sources of bind mounts that are small files of the engine's (`/etc/hosts` and its like): they
    /// are copied into the guest instead of being shared with it.
    pub copies: Vec<PathBuf>,
    /// What runs the container's programs, where they are of another architecture.
    pub emulator: Option<Emulator>,
    /// The user and group that QEMU runs as; `None`: the shim's own.
    pub user: Option<(u32, u32)>,
    /// Where the guest's console is logged.
    pub boot_log: PathBuf,
    /// The socket by which other containers join the machine: made by the shim.
    pub pod: PathBuf,
    /// The [`Self::pod`] of a container whose machine is joined, instead of starting one: of all the
    /// above only disks and copies count then. In the specification, `/proc/<container's id>/…` is that
    /// of the first process of another container in the same machine.
    #[serde(default)]
    pub join: Option<PathBuf>,
}

/// Before machines said it.
fn code_cache() -> u64 {
    128 << 20
}

/// A network interface of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineInterface {
    /// The tap device on this host.
    pub tap: String,
    /// The guest's hardware address, `02:42:…`.
    pub mac: String,
    /// Its name in the guest, `eth0`.
    pub name: String,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Addresses with the length of their network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The default gateway for IPv4, if this interface leads to it.
    pub gateway4: Option<IpAddr>,
    /// The default gateway for IPv6.
    pub gateway6: Option<IpAddr>,
}
