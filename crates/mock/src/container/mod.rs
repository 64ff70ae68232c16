//! Containers in memory.
//!
//! The states and their transitions are those of LocalRuntime; here every transition is one function
//! that runs under the engine's lock.

pub(crate) mod attach;
pub(crate) mod create;
pub(crate) mod end;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod links;
pub(crate) mod logs;
pub(crate) mod mounts;
pub(crate) mod observe;
pub(crate) mod ports;
pub(crate) mod remove;
pub(crate) mod signals;
pub(crate) mod start;
pub(crate) mod update;
pub(crate) mod user;
pub(crate) mod wait;

use std::sync::{Arc, Mutex};

use coracle_runtime::container::{
    Container, ContainerState, ExitStatus, MountPoint, NetworkSettings,
};
use coracle_runtime::restart::Backoff;
use coracle_runtime::spec::{ContainerConfig, HostConfig, NetworkingConfig};
use coracle_runtime::{RuntimeError, Status};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::engine::State;
use crate::fs::{Fs, Tree};
use crate::process::target::Processes;
use crate::process::{Input, Log, Output, Target, Tty};
use crate::secrets::FileRecord;
use crate::shell::Env;

/// A container.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) image_id: String,
    pub(crate) manifest_digest: String,
    pub(crate) platform: String,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    pub(crate) config: ContainerConfig,
    pub(crate) host_config: HostConfig,
    pub(crate) networking: NetworkingConfig,
    pub(crate) mounts: Vec<MountRecord>,
    /// Secrets and configs.
    pub(crate) files: Vec<FileRecord>,
    /// Legacy links.
    pub(crate) links: Vec<links::Link>,
    /// The image's tree, to compare with.
    pub(crate) base: Arc<Tree>,
    pub(crate) fs: Arc<Mutex<Fs>>,
    /// `None` where the driver keeps none.
    pub(crate) log: Option<Arc<Log>>,
    pub(crate) state: ContainerState,
    pub(crate) network: NetworkSettings,
    pub(crate) restart_count: u32,
    /// The user meant it to end: no policy starts it again.
    pub(crate) stopped_by_user: bool,
    pub(crate) backoff: Backoff,
    /// Ends of runs and failed starts so far; also the number of the current run.
    pub(crate) exits: u64,
    pub(crate) last: ExitStatus,
    pub(crate) run: Option<Run>,
    /// Of the current run, or of the next.
    pub(crate) streams: Streams,
    pub(crate) published: watch::Sender<Published>,
}

/// What is mounted, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct MountRecord {
    pub(crate) point: MountPoint,
    /// Made for this container alone.
    pub(crate) anonymous: bool,
    /// `None` is a fresh one for each run.
    pub(crate) tree: Option<Arc<Mutex<Tree>>>,
    /// Of `--tmpfs`, which Docker shows in the configuration only.
    pub(crate) hidden: bool,
}

/// A running container's process.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// What further processes start from.
    pub(crate) env: Env,
    pub(crate) processes: Arc<Processes>,
    /// What signals from outside go to.
    pub(crate) target: Arc<Target>,
    pub(crate) paused: watch::Sender<bool>,
    pub(crate) tty: Option<Arc<Tty>>,
    pub(crate) started: std::time::Instant,
}

/// What clients attach to.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    pub(crate) output: Arc<Output>,
    pub(crate) input: Arc<Input>,
    pub(crate) tty: Option<Arc<Tty>>,
}

/// What those see who wait.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) status: Status,
    pub(crate) exits: u64,
    pub(crate) last: ExitStatus,
    pub(crate) removed: bool,
}

impl Entry {
    pub(crate) fn fresh_streams(config: &ContainerConfig, log: Option<&Arc<Log>>) -> Streams {
        Streams {
            output: Arc::new(Output::new(log.cloned())),
            input: Arc::new(if config.open_stdin {
                Input::default()
            } else {
                Input::closed()
            }),
            tty: config.tty.then(|| Arc::new(Tty::new(None))),
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.state.status
    }

    /// Shows the state to all that wait.
    pub(crate) fn publish(&self) {
        self.show(false);
    }

    pub(crate) fn publish_removed(&self) {
        self.show(true);
    }

    fn show(&self, removed: bool) {
        self.published.send_replace(Published {
            status: self.state.status,
            exits: self.exits,
            last: self.last.clone(),
            removed,
        });
    }

    /// The process of a running container, or Docker's text for why there is none.
    pub(crate) fn running(&self) -> Result<&Run, RuntimeError> {
        self.run
            .as_ref()
            .filter(|_| self.state.status.is_alive())
            .ok_or_else(|| not_running(&self.id))
    }

    /// The line that it runs.
    pub(crate) fn command(&self) -> Vec<String> {
        std::iter::once(self.path.clone())
            .chain(self.args.iter().cloned())
            .collect()
    }

    /// Its files that differ from the image's, bytes.
    pub(crate) fn size_rw(&self) -> u64 {
        let fs = self
            .fs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        crate::fs::changes::changes(&self.base, &fs.root)
            .iter()
            .filter_map(|change| fs.root.get(&change.path))
            .map(|node| node.size())
            .sum()
    }
}

/// Docker's text.
pub(crate) fn not_running(id: &str) -> RuntimeError {
    RuntimeError::InvalidState(format!("container {id} is not running"))
}

impl State {
    /// A container, as the trait shows it.
    pub(crate) fn describe(&self, entry: &Entry, size: bool) -> Container {
        let file = |name: &str| format!("/mock/containers/{}/{name}", entry.id);
        let json = !matches!(
            entry.host_config.log_config.driver.as_str(),
            "none" | "local"
        );
        let own = size.then(|| entry.size_rw());
        Container {
            id: entry.id.clone(),
            name: entry.name.clone(),
            linked_as: self.linked_as(&entry.id),
            created: entry.created,
            image_id: entry.image_id.clone(),
            manifest_digest: Some(entry.manifest_digest.clone()),
            path: entry.path.clone(),
            args: entry.args.clone(),
            config: entry.config.clone(),
            host_config: HostConfig {
                links: self.shown_links(entry),
                ..entry.host_config.clone()
            },
            state: entry.state.clone(),
            restart_count: entry.restart_count,
            platform: entry.platform.clone(),
            driver: "mock".into(),
            network: entry.network.clone(),
            mounts: entry
                .mounts
                .iter()
                .filter(|mount| !mount.hidden)
                .map(|mount| mount.point.clone())
                .collect(),
            exec_ids: self.execs.running_in(&entry.id),
            log_path: if json {
                file(&format!("{}-json.log", entry.id))
            } else {
                String::new()
            },
            resolv_conf_path: file("resolv.conf"),
            hostname_path: file("hostname"),
            hosts_path: file("hosts"),
            size_rw: own,
            size_root_fs: own.map(|own| own + entry.base.size()),
        }
    }

    /// All containers, newest first.
    pub(crate) fn list(&self, size: bool) -> Vec<Container> {
        let mut list: Vec<Container> = self
            .containers
            .values()
            .map(|entry| self.describe(entry, size))
            .collect();
        list.sort_by_key(|container| std::cmp::Reverse(container.created));
        list
    }
}
