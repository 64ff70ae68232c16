//! What requests and replies are made of. Paths are the guest's unless a container is named.

use std::net::{IpAddr, SocketAddr};

use coracle_task::NetworkStats;
use serde::{Deserialize, Serialize};

/// Everything that makes a machine ready for its containers, in one request. Done in the order of
/// the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Random bytes for the kernel's generator, which is reseeded before anything else is done: copies
    /// of one machine must not share what comes out of it. 32 are enough; none: nothing is done.
    pub entropy: Vec<u8>,
    /// What time it is.
    pub time: Option<Time>,
    /// The machine's host name.
    pub hostname: Option<String>,
    /// The content of `/etc/machine-id`: 32 hexadecimal digits.
    pub machine_id: Option<String>,
    /// Kernel parameters: name with dots or slashes, value.
    pub sysctls: Vec<(String, String)>,
    /// Root file systems of containers.
    pub roots: Vec<Root>,
    /// File systems, in this order.
    pub mounts: Vec<Mount>,
    /// Directories of the host; [`Agent::setup`](crate::Agent::setup) answers a channel for each.
    pub shares: Vec<Share>,
    /// Files to write.
    pub files: Vec<File>,
    /// Network interfaces.
    pub interfaces: Vec<Interface>,
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds since 1970, UTC.
    pub seconds: i64,
    /// Nanoseconds, below a billion.
    pub nanos: u32,
}

/// A container's root file system, from disks. Mounted at `/run/coracle/<container>/image` and
/// `/run/coracle/<container>/layer`, where `upper` and `work` are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The container.
    pub container: String,
    /// The serial number of the disk with the image, an EROFS.
    pub image: String,
    /// That of the disk for changes, an ext4. `None`: changes are kept in memory.
    pub layer: Option<String>,
    /// What of the changes goes through the journal of their disk: `ordered`, `writeback` or `journal`
    /// (ext4(5), `data=`). `None`: the kernel's default.
    pub journal: Option<String>,
}

/// A file system to be mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub source: Source,
    /// Where. Directories that are missing are made.
    pub target: String,
    /// The file system's type; for a bind `none`.
    pub kind: String,
    /// Options as in fstab(5): `ro`, `nosuid`, `bind`, `rbind`… and the file system's own.
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The disk with this serial number; one that was just plugged in is waited for.
    Disk(String),
    /// A path, or a name such as `tmpfs`.
    Path(String),
}

/// A directory or file of the host that the guest sees by FUSE over a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Where. It is made if it is missing.
    pub target: String,
    /// Whether it is a directory, else a single file.
    pub is_dir: bool,
    /// Whether the guest may not write.
    pub read_only: bool,
}

/// A file to be written. One that exists is overwritten in place, so that who has it mounted sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where. Directories that are missing are made.
    pub path: String,
    /// Its permissions, 0–0o7777.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// What is in it.
    pub data: Vec<u8>,
}

/// A network interface of the machine, known by its hardware address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The name that it gets, such as `eth0`.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Default routes: at most one of each IP version.
    pub gateways: Vec<IpAddr>,
    /// Other routes.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The network's address.
    pub network: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
    /// The gateway; `None`: on the link.
    pub gateway: Option<IpAddr>,
}

/// An interpreter of foreign programs, as the kernel's binfmt_misc takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binfmt {
    /// Its name, such as `qemu-aarch64`.
    pub name: String,
    /// Where in a program the magic is.
    pub offset: u32,
    /// What is there.
    pub magic: Vec<u8>,
    /// Which bits of it count; empty: all.
    pub mask: Vec<u8>,
    /// The program that runs it.
    pub interpreter: String,
    /// `O`, `C`, `F`, `P`: see the kernel's admin-guide/binfmt-misc.rst.
    pub flags: String,
}

/// Where a channel leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A TCP port, in the machine's network.
    Tcp(SocketAddr),
    /// A unix stream socket; with a container, in its root.
    Unix {
        /// The container.
        container: Option<String>,
        /// The socket's path.
        path: String,
    },
}

/// A unix socket in the guest, whose connections go to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The host's number for it.
    pub relay: u32,
    /// Where the socket is made.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// What is done with a whole file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FsOperation {
    /// Nothing is written until it is thawed.
    Freeze,
    /// Writing goes on.
    Thaw,
    /// The disk is told which blocks are free; answers how many bytes.
    Trim,
    /// Everything is written to the disk.
    Sync,
}

/// Where files of a container are put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteOptions {
    /// Refuse where a directory would replace another file, or the reverse.
    pub no_overwrite_dir_non_dir: bool,
    /// Whether device nodes are made.
    pub devices: bool,
    /// User and group of everything; `None`: as the archive says.
    pub owner: Option<(u32, u32)>,
}

/// What a path of a container is. See `coracle_archive::copy::PathStat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// The last part of the path as asked for.
    pub name: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// Go's `os.FileMode` bits.
    pub mode: u32,
    /// When it was last modified.
    pub modified: Time,
    /// Where a link leads to, or empty.
    pub link_target: Vec<u8>,
}

/// A path that differs from the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Absolute, in the container.
    pub path: Vec<u8>,
    /// How.
    pub kind: ChangeKind,
}

/// How a path differs from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// It differs, or something in it does.
    Modified,
    /// The image doesn't have it.
    Added,
    /// The image has it.
    Deleted,
}

/// One disk's traffic, since it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DiskStats {
    pub name: String,
    /// What the host calls it.
    pub serial: String,
    pub read_bytes: u64,
    pub read_ops: u64,
    pub write_bytes: u64,
    pub write_ops: u64,
}

/// What the whole machine uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStats {
    /// `/proc/meminfo`: name and bytes (or a plain number, where it isn't in kB).
    pub memory: Vec<(String, u64)>,
    /// The load over 1, 5 and 15 minutes, in hundredths.
    pub load: [u64; 3],
    /// For how many milliseconds it runs; of a copy, since its template began.
    pub uptime_ms: u64,
    /// Interfaces but the loopback.
    pub interfaces: Vec<NetworkStats>,
    /// Disks.
    pub disks: Vec<DiskStats>,
}

/// A compiled system call filter (`coracle_seccomp::Program`): compiling is the host's work, which has
/// the code for it at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Of `seccomp(2)`.
    pub flags: u32,
    /// The instructions, one in each word.
    pub words: Vec<u64>,
}
