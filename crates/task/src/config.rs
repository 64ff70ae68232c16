//! What the engine tells a shim about its container: `<bundle>/task.json`.

use std::net::SocketAddr;
use std::path::PathBuf;

use coracle_log::LogConfig;
use oci_spec::runtime::Process;
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde::Serialize;

use crate::MachineConfig;

/// The name of the file in the bundle that holds a [`TaskConfig`].
pub const TASK_FILE: &str = "task.json";

/// The name of the file in the bundle that the shim writes its process id to.
pub const PID_FILE: &str = "shim.pid";

/// The option of a bind mount whose source is a file of the file system that is handed over beside the
/// configuration; its name there follows.
pub const HANDED: &str = "X-coracle.handed=";

/// Everything that a shim must know to run one container. Written by the engine to
/// `<bundle>/task.json` before it starts the shim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskConfig {
    /// The container's id, for messages.
    pub id: String,
    /// What to run, by the OCI runtime specification. `spec.root.path` is ignored: see
    /// [`Self::rootfs`].
    pub spec: Spec,
    /// The container's root file system.
    pub rootfs: Rootfs,
    /// Whether the init process gets a pseudo terminal (then all output is stdout).
    pub terminal: bool,
    /// The terminal's first size: (rows, columns).
    pub console_size: Option<(u16, u16)>,
    /// Whether stdin stays open without an attached client (`OpenStdin`). If not, stdin is
    /// `/dev/null`.
    pub open_stdin: bool,
    /// Whether the end of the first attached client's input closes stdin (`StdinOnce`). Has no
    /// effect on a terminal.
    pub stdin_once: bool,
    /// The user to run as, `name|uid[:group|gid]`, looked up in the container's root. `None`:
    /// `spec.process.user`.
    pub user: Option<String>,
    /// Additional groups (`--group-add`), by name or number.
    pub groups: Vec<String>,
    /// Whether a small init runs as process 1, forwards signals and reaps (`--init`).
    pub init: bool,
    /// The cgroup's parent below each hierarchy's root, e.g. `/coracle`.
    pub cgroup_parent: String,
    /// The cgroup's own name below its parent.
    pub cgroup_name: String,
    /// Where output is logged.
    pub log: LogConfig,
    /// Where the shim writes the [`Exit`](crate::Exit) record, as JSON, atomically. Its
    /// directory must exist, and the file must not.
    pub exit_file: PathBuf,
    /// Whether the exit record is forced to disk (fsync) before waiters are answered, and an
    /// overlay's changes before its last process is gone. False for `--rm`: what is removed
    /// anyway need not survive a crash of the host.
    pub durable: bool,
    /// Published ports that the shim serves while the container runs.
    #[serde(default)]
    pub ports: Vec<ProxyPort>,
    /// How many sockets of published ports the shim is given, from descriptor 4 on. It keeps them all
    /// until the container ends, also those that it does not serve, so that the ports stay taken.
    #[serde(default)]
    pub sockets: usize,
    /// Unix sockets of the container's that are reached by sockets of this host, among [`Self::sockets`].
    #[serde(default)]
    pub published: Vec<PublishedSocket>,
    /// The virtual machine that it runs in; `None`: namespaces of this host.
    #[serde(default)]
    pub machine: Option<Box<MachineConfig>>,
}

/// A container's root file system. It is mounted in the container's private mount namespace:
/// nothing of it is seen on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// An overlay mount.
    Overlay {
        /// Read-only layers, the topmost first. Not empty.
        lower: Vec<PathBuf>,
        /// Where changes go.
        upper: PathBuf,
        /// overlayfs' work directory, empty, on the same file system as `upper`.
        work: PathBuf,
    },
    /// A directory, used as it is.
    Bind(PathBuf),
    /// The disks of a [machine](TaskConfig::machine).
    Disks,
}

impl TaskConfig {
    /// Whether a file system comes with the task's sockets, as the last descriptor: mounted nowhere,
    /// and with the files that mounts of the specification name by [`HANDED`]. So no value of a
    /// secret is in this configuration, nor in any file.
    #[must_use]
    pub fn has_handed(&self) -> bool {
        let mounts = self.spec.mounts().iter().flatten();
        let mut options = mounts.flat_map(|mount| mount.options().iter().flatten());
        options.any(|option| option.starts_with(HANDED))
    }
}

/// One published port: connections to a listening socket are proxied to the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyPort {
    /// Which inherited descriptor: 0 is descriptor 4 of the shim. A bound and (for TCP)
    /// listening socket.
    pub fd_index: usize,
    /// The socket's kind.
    pub proto: Proto,
    /// The container's address and port.
    pub target: SocketAddr,
}

/// One published unix socket: connections are carried to one that the container serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedSocket {
    /// Which inherited descriptor, as [`ProxyPort::fd_index`]: a listening socket.
    pub fd_index: usize,
    /// Where it is.
    pub host: PathBuf,
    /// The device and inode of that file: any other that is found there is not this one.
    pub identity: (u64, u64),
    /// The path of the container's.
    pub container: String,
}

impl PublishedSocket {
    /// Removes it, if it is still there.
    ///
    /// # Errors
    /// If it is there, and can't be removed.
    pub fn remove(&self) -> std::io::Result<()> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let found = match std::fs::symlink_metadata(&self.host) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        if (found.dev(), found.ino()) != self.identity || !found.file_type().is_socket() {
            return Ok(());
        }
        match std::fs::remove_file(&self.host) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// The transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// An additional process in a running container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecConfig {
    /// Unique among the container's execs that weren't deleted.
    pub exec_id: String,
    /// What to run. For `--privileged` the caller puts all capabilities here.
    pub process: Process,
    /// Whether it gets a pseudo terminal.
    pub terminal: bool,
    /// Whether stdin is open, to be written by attached clients; if not, it is `/dev/null`.
    /// The end of the first attached client's input closes it, except on a terminal.
    pub stdin: bool,
    /// As [`TaskConfig::user`].
    pub user: Option<String>,
    /// As [`TaskConfig::groups`].
    pub groups: Vec<String>,
    /// The terminal's first size: (rows, columns).
    pub console_size: Option<(u16, u16)>,
}
