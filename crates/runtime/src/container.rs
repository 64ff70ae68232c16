//! A container as it is, and what one asks of it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::spec::{ContainerConfig, EndpointSettings, HostConfig, PortBinding};

/// A container: what it was asked to be and what has become of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without a leading slash.
    pub name: String,
    /// What others call it that have a legacy link to it: `other/alias`.
    pub linked_as: Vec<String>,
    /// When it was created.
    pub created: Timestamp,
    /// The image's id: `sha256:…` of its configuration.
    pub image_id: String,
    /// The digest of the manifest that it was made from, where known.
    pub manifest_digest: Option<String>,
    /// The executable, after image and configuration were merged.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Portable configuration, image defaults merged in.
    pub config: ContainerConfig,
    /// Host configuration.
    pub host_config: HostConfig,
    /// Where it stands.
    pub state: ContainerState,
    /// Times that the restart policy started it again.
    pub restart_count: u32,
    /// `os/arch[/variant]` of the image.
    pub platform: String,
    /// Storage driver.
    pub driver: String,
    /// Networks and published ports.
    pub network: NetworkSettings,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Running exec instances.
    pub exec_ids: Vec<String>,
    /// Log file on the host; empty where the driver keeps none.
    pub log_path: String,
    /// Resolver file on the host.
    pub resolv_conf_path: String,
    /// Host-name file on the host.
    pub hostname_path: String,
    /// Hosts file on the host.
    pub hosts_path: String,
    /// Bytes in the writable layer; only where size was asked for.
    pub size_rw: Option<u64>,
    /// Bytes of the whole root file system; only where size was asked for.
    pub size_root_fs: Option<u64>,
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    #[default]
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It ended, and the restart policy will start it again.
    Restarting,
    /// It is being removed.
    Removing,
    /// Its process ended.
    Exited,
    /// Its removal failed, or its shim died without a trace.
    Dead,
}

impl Status {
    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether its process exists: running, or frozen.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A container's state and how it came to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Where it stands.
    pub status: Status,
    /// The process's id on the host; 0 where there is none.
    pub pid: i32,
    /// The last exit code; 0 before the first.
    pub exit_code: i32,
    /// Why the last start or run failed; empty where it did not.
    pub error: String,
    /// Whether the kernel killed a process of the last run for want of memory.
    pub oom_killed: bool,
    /// The last start.
    pub started_at: Option<Timestamp>,
    /// The last end.
    pub finished_at: Option<Timestamp>,
    /// Health, where it is checked.
    pub health: Option<Health>,
}

/// Health, as the checks found it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five checks, oldest first.
    pub log: Vec<HealthResult>,
}

/// A verdict on health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No verdict yet.
    #[default]
    Starting,
    /// The last check passed.
    Healthy,
    /// Too many checks failed in a row.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One check's outcome.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// 0 healthy, 1 unhealthy, others as the command gave them.
    pub exit_code: i32,
    /// At most 4096 bytes of output.
    pub output: String,
}

impl HealthResult {
    /// Of a check whose command can't be run, and why; dockerd's exit code for it.
    pub fn not_run(why: &crate::RuntimeError) -> Self {
        let now = Timestamp::now();
        Self {
            start: now,
            end: now,
            exit_code: -1,
            output: why.to_string(),
        }
    }
}

/// Networks and ports of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkSettings {
    /// Identity of its network namespace.
    pub sandbox_id: String,
    /// Path of its network namespace.
    pub sandbox_key: String,
    /// Exposed ports, with the host ends of those that are published.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// By network name.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// Something mounted in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MountPoint {
    /// `bind`, `volume`, `tmpfs`.
    pub kind: String,
    /// A volume's name; empty for others.
    pub name: String,
    /// Path on the host; empty for tmpfs.
    pub source: String,
    /// Path inside.
    pub destination: String,
    /// A volume's driver.
    pub driver: String,
    /// The options as given.
    pub mode: String,
    /// Writable.
    pub rw: bool,
    /// Propagation.
    pub propagation: String,
}

/// What a creation gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// The new container's id.
    pub id: String,
    /// What the user should know, such as a limit that the kernel can't enforce.
    pub warnings: Vec<String>,
}

/// Whether an idempotent request changed anything (`false` is HTTP 304).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed(pub bool);

/// How to stop a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// The signal that asks it to stop; `None` means the container's own.
    pub signal: Option<String>,
    /// Seconds until SIGKILL; `None` means the container's own, negative waits for ever.
    pub timeout: Option<i64>,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// Until it does not run, which may be now.
    #[default]
    NotRunning,
    /// Until it next ends.
    NextExit,
    /// Until it is removed.
    Removed,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitStatus {
    /// The exit code; 128 plus the signal for a killed one.
    pub code: i32,
    /// What went wrong with the wait or the run, where something did.
    pub error: Option<String>,
}

/// How to remove a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Kill it first where it runs.
    pub force: bool,
    /// Remove its anonymous volumes too.
    pub volumes: bool,
    /// Remove the legacy link of that name, not the container.
    pub link: bool,
}

/// New resources and restart policy. What is at its default stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateOptions {
    /// Of these, the resource fields that are not at their default, and the restart policy where it has a name.
    pub host: HostConfig,
}

/// A container's processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Column titles.
    pub titles: Vec<String>,
    /// A row a process.
    pub processes: Vec<Vec<String>>,
}

/// How a path differs from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Its content or attributes.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// A path that differs from the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absolute path inside.
    pub path: String,
    /// How.
    pub kind: ChangeKind,
}

/// What a prune removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids or names.
    pub deleted: Vec<String>,
    /// Bytes freed.
    pub space_reclaimed: u64,
}
