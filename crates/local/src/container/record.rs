//! What is kept of a container: `config.json`, which rarely changes, and `state.json`, which does.
//!
//! A container exists once its `config.json` does; a directory without one is a creation or a
//! removal that was cut short, and is cleared away at the next start.

use std::io;
use std::path::{Path, PathBuf};

use coracle_runtime::container::{ContainerState, MountPoint, NetworkSettings};
use coracle_runtime::spec::{ContainerConfig, HostConfig, NetworkingConfig};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable::{self, Durability};
use crate::secrets::FileRecord;

/// The version of both files.
const VERSION: u32 = 1;
const CONFIG_FILE: &str = "config.json";
const STATE_FILE: &str = "state.json";
/// A shim's socket in its bundle.
pub(crate) const SOCKET: &str = "shim.sock";

/// What a container was created as.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    /// The image as its id.
    pub(crate) image_id: String,
    pub(crate) manifest_digest: Option<String>,
    pub(crate) platform: String,
    /// Chain ids of its layers, lowest first.
    pub(crate) layers: Vec<String>,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    /// Image defaults merged in.
    pub(crate) config: ContainerConfig,
    pub(crate) host_config: HostConfig,
    pub(crate) networking: NetworkingConfig,
    pub(crate) mounts: Vec<MountRecord>,
    /// Secrets and configs that it has as files.
    #[serde(default)]
    pub(crate) files: Vec<FileRecord>,
    /// Legacy links to others.
    #[serde(default)]
    pub(crate) links: Vec<LinkRecord>,
}

/// A legacy link to another container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinkRecord {
    /// The other one's id.
    pub(crate) target: String,
    /// What it was called when the link was made: shown once it is gone.
    pub(crate) name: String,
    /// What it is called here.
    pub(crate) alias: String,
}

/// A mount, with what is needed to make it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MountRecord {
    /// What the user sees of it.
    pub(crate) point: MountPoint,
    /// Bind without submounts.
    #[serde(default)]
    pub(crate) non_recursive: bool,
    /// `Some(false)` leaves submounts of a read-only bind writable, `Some(true)` demands they are not.
    #[serde(default)]
    pub(crate) recursive_read_only: Option<bool>,
    /// A tmpfs' options.
    #[serde(default)]
    pub(crate) tmpfs: Vec<String>,
    /// A volume made for this container alone.
    #[serde(default)]
    pub(crate) anonymous: bool,
    /// Path inside the volume.
    #[serde(default)]
    pub(crate) subpath: String,
}

impl Record {
    pub(crate) const fn version() -> u32 {
        VERSION
    }

    /// Whether losing it in a power cut would be noticed: not with `--rm`, which is gone by then.
    pub(crate) fn durability(&self) -> Durability {
        if self.host_config.auto_remove {
            Durability::Process
        } else {
            Durability::Disk
        }
    }

    pub(crate) fn save(&self, dirs: &Dirs) -> io::Result<()> {
        durable::write_json(&dirs.root.join(CONFIG_FILE), self, self.durability())
    }

    /// Reads it; `None` where the container was never finished.
    pub(crate) fn load(dirs: &Dirs) -> io::Result<Option<Self>> {
        let path = dirs.root.join(CONFIG_FILE);
        // What a power cut leaves of one that was not synced (`--rm`).
        if std::fs::metadata(&path).is_ok_and(|meta| meta.len() == 0) {
            return Ok(None);
        }
        let record: Option<Self> = durable::read_json(&path)?;
        if let Some(record) = &record
            && record.version != VERSION
        {
            return Err(io::Error::other(format!(
                "{}: version {} is not known to this coracled",
                dirs.root.join(CONFIG_FILE).display(),
                record.version
            )));
        }
        Ok(record)
    }

    /// Whether there is a container, readable or not.
    pub(crate) fn is_there(dirs: &Dirs) -> bool {
        dirs.root.join(CONFIG_FILE).exists()
    }

    /// Makes the container's directory one that the next start clears away.
    pub(crate) fn forget(dirs: &Dirs) -> io::Result<()> {
        match std::fs::remove_file(dirs.root.join(CONFIG_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RunState {
    pub(crate) state: ContainerState,
    pub(crate) restart_count: u32,
    /// The user stopped it: `unless-stopped` leaves it alone when the daemon starts.
    pub(crate) stopped_by_user: bool,
    /// It was started at least once.
    pub(crate) ever_started: bool,
    pub(crate) network: NetworkSettings,
    /// It is frozen for a commit, and is to be thawed whatever becomes of that.
    #[serde(default)]
    pub(crate) frozen_for_commit: bool,
}

impl RunState {
    /// A restart policy is the one thing that a power cut must not make us forget.
    pub(crate) fn durability(record: &Record) -> Durability {
        match record.host_config.restart_policy.name.as_str() {
            "" | "no" => Durability::Process,
            _ => Durability::Disk,
        }
    }

    pub(crate) fn save(&self, dirs: &Dirs, durability: Durability) -> io::Result<()> {
        durable::write_json(&dirs.root.join(STATE_FILE), self, durability)
    }

    pub(crate) fn load(dirs: &Dirs) -> io::Result<Self> {
        Ok(durable::read_json(&dirs.root.join(STATE_FILE))?.unwrap_or_default())
    }
}

/// Where a container's files are.
#[derive(Clone, Debug)]
pub(crate) struct Dirs {
    /// What is kept.
    pub(crate) root: PathBuf,
    /// What is there while it runs.
    pub(crate) bundle: PathBuf,
}

impl Dirs {
    pub(crate) fn new(data_root: &Path, exec_root: &Path, id: &str) -> Self {
        Self {
            root: data_root.join("containers").join(id),
            bundle: exec_root.join("containers").join(id),
        }
    }

    pub(crate) fn exit_file(&self) -> PathBuf {
        self.root.join("exit.json")
    }

    pub(crate) fn log_file(&self, id: &str) -> PathBuf {
        self.root.join(format!("{id}-json.log"))
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.root.join("hosts")
    }

    pub(crate) fn hostname(&self) -> PathBuf {
        self.root.join("hostname")
    }

    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.root.join("resolv.conf")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.bundle.join(SOCKET)
    }
}
