//! The task that owns one container's state: nobody else changes it.
//!
//! ```text
//!            start                    exit
//! Created ──────────▶ Running ─────────────────────▶ Exited ── remove ──▶ (gone)
//!    │                 │   ▲                          │  ▲
//!    │           pause │   │ unpause                  │  │ no restart wanted, or start failed
//!    │                 ▼   │       policy says so     ▼  │
//!    │                Paused       ┌───────────── Restarting ── after back-off ──▶ Running
//!    │                             │
//!    └── remove ──▶ Removing ── failed ──▶ Dead      shim died without a trace: Dead, with an error
//! ```
//!
//! - *start*: `Created`, `Exited`, `Dead`, and `Restarting` (which cancels the timer). On failure the
//!   state stays, with the exit code and the error of the attempt; `--rm` containers are removed.
//! - *exit*: the shim says so, or its record does, or it is gone. With `--rm` the container is
//!   removed right after; a wait for any of it is answered from what is published on the way.
//! - *remove*: of a live one only with `force`, which kills first.
//!
//! Commands queue and are answered in order, each in a moment: what takes time (the grace period of
//! a stop, the run of a health check) happens outside, in between commands. Dropping a question does
//! not undo what was asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_runtime::container::{Container, ExitStatus, MountPoint};
use coracle_runtime::event::EventKind;
use coracle_runtime::restart::Backoff;
use coracle_runtime::{Result, RuntimeError, Status};
use coracle_task::{Client, Event, TaskError};
use jiff::Timestamp;
use oci_spec::runtime::Process;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::attach::Pending;
use super::exit::Unsaid;
use super::handle::{Command, Handle, Published, Run, not_running};
use super::health::Monitor;
use super::record::{Dirs, Record, RunState};
use crate::durable::Durability;
use crate::engine::Engine;
use crate::machine;
use crate::names;
use crate::volumes::Mounted;

/// A container's live shim.
pub(super) struct Task {
    pub(super) client: Client,
    pub(super) events: coracle_task::Events,
    pub(super) process: Arc<Process>,
}

/// Whether the task goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Removed,
}

pub(crate) struct Actor {
    pub(super) engine: Arc<Engine>,
    pub(super) dirs: Arc<Dirs>,
    pub(super) record: Arc<Record>,
    pub(super) run: RunState,
    pub(super) task: Option<Task>,
    /// Keeps volumes mounted on the host while it runs.
    pub(super) mounted: Mounted,
    pub(super) pending: Vec<Pending>,
    pub(super) backoff: Backoff,
    pub(super) restart_at: Option<Instant>,
    /// Ends of runs and failed starts so far; also the number of the current run.
    pub(super) exits: u64,
    pub(super) last: ExitStatus,
    pub(super) health: Option<Monitor>,
    /// A restart is under way: its end in between removes nothing.
    held: bool,
    /// The machine that was started for its files alone.
    pub(super) files: Option<machine::files::Machine>,
    /// What is to be said of the last end once it is published.
    pub(super) unsaid: Option<Unsaid>,
    commands: mpsc::UnboundedReceiver<Command>,
    published: watch::Sender<Published>,
}

impl Actor {
    /// A container's task, not yet running, and its handle.
    pub(crate) fn new(engine: Arc<Engine>, record: Record, run: RunState) -> (Self, Handle) {
        let dirs = Arc::new(engine.dirs(&record.id));
        let (sender, commands) = mpsc::unbounded_channel();
        let record = Arc::new(record);
        let last = ExitStatus {
            code: run.state.exit_code,
            error: None,
        };
        let container = Arc::new(describe(&record, &run, &dirs, Vec::new()));
        let published = watch::Sender::new(Published {
            container,
            record: record.clone(),
            exits: 0,
            last: last.clone(),
            run: None,
            removed: false,
        });
        let handle = Handle {
            id: record.id.as_str().into(),
            dirs: dirs.clone(),
            commands: sender,
            published: published.subscribe(),
        };
        let actor = Self {
            engine,
            dirs,
            record,
            run,
            task: None,
            mounted: Mounted::default(),
            pending: Vec::new(),
            backoff: Backoff::default(),
            restart_at: None,
            exits: 0,
            last,
            health: None,
            held: false,
            files: None,
            unsaid: None,
            commands,
            published,
        };
        (actor, handle)
    }

    /// Serves until the container is removed.
    pub(crate) async fn serve(mut self) {
        loop {
            let flow = tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command).await,
                    None => return,
                },
                event = next_event(&mut self.task) => self.on_event(event).await,
                () = sleep_until(self.restart_at) => self.on_restart_time().await,
            };
            if flow == Flow::Removed {
                return;
            }
        }
    }

    async fn handle(&mut self, command: Command) -> Flow {
        // A failed send only means that nobody waits for the answer any more.
        match command {
            Command::Start { reply } => {
                let result = self.start(true).await;
                let failed = result.is_err();
                let _ = reply.send(result);
                if failed && self.removes_itself() {
                    return self.remove_quietly().await;
                }
            }
            Command::Signal {
                signal,
                stop,
                reply,
            } => {
                let _ = reply.send(self.signal(signal, stop).await);
            }
            Command::Pause { for_commit, reply } => {
                let _ = reply.send(self.pause(for_commit).await);
            }
            Command::Unpause { reply } => {
                let _ = reply.send(self.unpause().await);
            }
            Command::Hold { hold, reply } => {
                self.held = hold;
                let _ = reply.send(Ok(()));
                // It ended, and was not started again.
                if !hold && self.task.is_none() && self.run.ever_started && self.removes_itself() {
                    return self.remove_quietly().await;
                }
            }
            Command::Rename { name, reply } => {
                let _ = reply.send(self.rename(&name).await);
            }
            Command::Update { options, reply } => {
                let _ = reply.send(self.update(*options).await);
            }
            Command::Remove { options, reply } => {
                let result = self.remove(options).await;
                let removed = result.is_ok();
                let _ = reply.send(result);
                if removed {
                    return Flow::Removed;
                }
            }
            Command::Attach { options, reply } => {
                let _ = reply.send(self.attach(options).await);
            }
            Command::Connect {
                network,
                settings,
                reply,
            } => {
                let _ = reply.send(self.connect(network, *settings).await);
            }
            Command::Disconnect { network, reply } => {
                let _ = reply.send(self.disconnect(&network).await);
            }
            Command::Unlink { alias, reply } => {
                let _ = reply.send(self.unlink(&alias).await);
            }
            Command::Health { run, result } => self.on_health(run, result),
            Command::Files { reply } => {
                let _ = reply.send(self.open_files().await);
            }
            Command::Refresh => self.publish(),
        }
        Flow::Continue
    }

    async fn on_event(&mut self, event: std::result::Result<Event, TaskError>) -> Flow {
        match event {
            Ok(Event::Exited(exit)) => self.on_exit(exit).await,
            Ok(Event::Oom) => {
                self.run.state.oom_killed = true;
                self.emit("oom", &[]);
                self.publish();
                Flow::Continue
            }
            // What else happens was asked for by us, and is known.
            Ok(_) => Flow::Continue,
            Err(error) => self.on_shim_gone(&error).await,
        }
    }

    async fn on_restart_time(&mut self) -> Flow {
        self.restart_at = None;
        self.run.restart_count += 1;
        match self.start(false).await {
            Ok(_) => Flow::Continue,
            Err(error) => {
                tracing::warn!(container = %self.record.id, %error, "restart failed");
                self.after_end().await
            }
        }
    }

    async fn pause(&mut self, for_commit: bool) -> Result<()> {
        match (self.run.state.status, &self.task) {
            (Status::Running, Some(_)) => {
                // Noted before it is done, so that whoever comes after us knows.
                self.run.frozen_for_commit = for_commit;
                if for_commit {
                    self.save_and_publish().await;
                }
                let Some(task) = &self.task else {
                    return Err(not_running(&self.record.id));
                };
                task.client.pause().await.map_err(task_error)?;
                self.run.state.status = Status::Paused;
                self.save_and_publish().await;
                self.emit("pause", &[]);
                Ok(())
            }
            (Status::Paused, _) => Err(RuntimeError::InvalidState(format!(
                "Container {} is already paused",
                self.record.id
            ))),
            _ => Err(not_running(&self.record.id)),
        }
    }

    pub(super) async fn unpause(&mut self) -> Result<()> {
        match (self.run.state.status, &self.task) {
            (Status::Paused, Some(task)) => {
                task.client.resume().await.map_err(task_error)?;
                self.run.state.status = Status::Running;
                self.run.frozen_for_commit = false;
                self.save_and_publish().await;
                self.emit("unpause", &[]);
                Ok(())
            }
            _ => Err(RuntimeError::InvalidState(format!(
                "Container {} is not paused",
                self.record.id
            ))),
        }
    }

    async fn rename(&mut self, name: &str) -> Result<()> {
        let old = self.record.name.clone();
        if old == name {
            return Err(RuntimeError::InvalidArgument(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        self.engine.containers.take_name(name, &self.record.id)?;
        let mut record = Record::clone(&self.record);
        name.clone_into(&mut record.name);
        if let Err(error) = save_record(&record, &self.dirs).await {
            self.engine.containers.release_name(name);
            return Err(RuntimeError::Internal(format!(
                "cannot save the new name: {error}"
            )));
        }
        self.engine.containers.release_name(&old);
        self.record = Arc::new(record);
        self.publish();
        self.emit("rename", &[("oldName", &format!("/{old}"))]);
        Ok(())
    }

    /// Whether it is removed when it ends.
    pub(super) fn removes_itself(&self) -> bool {
        self.record.host_config.auto_remove && !self.held
    }

    /// Saves the state and shows it. A disk that is full must not stop a container: what could not
    /// be saved is found out again from the shim at the next start.
    pub(super) async fn save_and_publish(&mut self) {
        let durability = RunState::durability(&self.record);
        let saved = match durability {
            Durability::Process => self.run.save(&self.dirs, durability),
            Durability::Disk => {
                let (run, dirs) = (self.run.clone(), self.dirs.clone());
                tokio::task::spawn_blocking(move || run.save(&dirs, durability))
                    .await
                    .unwrap_or_else(|error| Err(error.into()))
            }
        };
        if let Err(error) = saved {
            tracing::error!(container = %self.record.id, %error, "cannot save the state");
        }
        self.publish();
    }

    pub(super) fn publish(&mut self) {
        self.published.send_replace(self.snapshot(false));
        self.engine.networks.names.changed();
    }

    pub(super) fn publish_removed(&mut self) {
        self.published.send_replace(self.snapshot(true));
    }

    fn snapshot(&self, removed: bool) -> Published {
        let execs = self.engine.execs.running_in(&self.record.id);
        Published {
            container: Arc::new(describe(&self.record, &self.run, &self.dirs, execs)),
            record: self.record.clone(),
            exits: self.exits,
            last: self.last.clone(),
            run: self.task.as_ref().map(|task| Run {
                client: task.client.clone(),
                process: task.process.clone(),
            }),
            removed,
        }
    }

    /// Tells that the container's volumes are in use, or no longer.
    pub(super) fn emit_volumes(&self, action: &str) {
        for mount in self
            .record
            .mounts
            .iter()
            .filter(|mount| mount.point.kind == "volume")
        {
            let point = &mount.point;
            let attributes = BTreeMap::from([
                ("container".to_owned(), self.record.id.clone()),
                ("destination".to_owned(), point.destination.clone()),
                ("driver".to_owned(), point.driver.clone()),
                ("propagation".to_owned(), point.propagation.clone()),
                ("read/write".to_owned(), point.rw.to_string()),
            ]);
            let name = point.name.as_str();
            self.engine
                .events
                .publish(EventKind::Volume, action, name, attributes);
        }
    }

    /// Publishes an event about this container, with Docker's attributes.
    pub(super) fn emit(&self, action: &str, extra: &[(&str, &str)]) {
        let attributes = attributes(&self.record, extra);
        self.engine.events.publish(
            EventKind::Container,
            action,
            self.record.id.as_str(),
            attributes,
        );
    }
}

/// Saves a container's configuration, where waiting for the disk holds nobody up.
pub(super) async fn save_record(record: &Record, dirs: &Arc<Dirs>) -> std::io::Result<()> {
    let (record, dirs) = (record.clone(), dirs.clone());
    tokio::task::spawn_blocking(move || record.save(&dirs))
        .await
        .unwrap_or_else(|error| Err(error.into()))
}

/// What Docker says with every event of a container: image, name, labels.
pub(crate) fn attributes(record: &Record, extra: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut attributes = record.config.labels.clone();
    attributes.insert("image".into(), record.config.image.clone());
    attributes.insert("name".into(), record.name.clone());
    for (key, value) in extra {
        attributes.insert((*key).to_owned(), (*value).to_owned());
    }
    attributes
}

fn describe(record: &Record, run: &RunState, dirs: &Dirs, exec_ids: Vec<String>) -> Container {
    let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let has_log = !matches!(
        record.host_config.log_config.driver.as_str(),
        "none" | "local"
    );
    Container {
        id: record.id.clone(),
        name: record.name.clone(),
        linked_as: Vec::new(),
        created: record.created,
        image_id: record.image_id.clone(),
        manifest_digest: record.manifest_digest.clone(),
        path: record.path.clone(),
        args: record.args.clone(),
        config: record.config.clone(),
        host_config: record.host_config.clone(),
        state: run.state.clone(),
        restart_count: run.restart_count,
        platform: record.platform.clone(),
        driver: "overlay2".into(),
        network: names::shown(record, &run.network),
        mounts: shown_mounts(record),
        exec_ids,
        log_path: if has_log {
            path(dirs.log_file(&record.id))
        } else {
            String::new()
        },
        resolv_conf_path: path(dirs.resolv_conf()),
        hostname_path: path(dirs.hostname()),
        hosts_path: path(dirs.hosts()),
        size_rw: None,
        size_root_fs: None,
    }
}

/// What is mounted, but for what `--tmpfs` asked for: that is in the host configuration.
fn shown_mounts(record: &Record) -> Vec<MountPoint> {
    let by_flag = |point: &MountPoint| {
        let paths = record.host_config.tmpfs.keys();
        point.kind == "tmpfs"
            && paths
                .map(|path| path.trim_end_matches('/'))
                .any(|path| path == point.destination)
    };
    let points = record.mounts.iter().map(|mount| &mount.point);
    points.filter(|point| !by_flag(point)).cloned().collect()
}

/// What a shim's answer means to the user.
pub(crate) fn task_error(error: TaskError) -> RuntimeError {
    use coracle_task::ErrorKind as Kind;
    let text = error.to_string();
    match error.kind() {
        Some(Kind::CommandNotFound | Kind::CommandNotExecutable | Kind::InvalidArgument) => {
            RuntimeError::InvalidArgument(text)
        }
        Some(Kind::Unsupported) => RuntimeError::InvalidArgument(text),
        Some(Kind::NotFound | Kind::AlreadyExists | Kind::InvalidState) => {
            RuntimeError::InvalidState(text)
        }
        Some(Kind::Internal) | None => RuntimeError::Internal(text),
    }
}

/// The shim's next event; never, without a shim.
async fn next_event(task: &mut Option<Task>) -> std::result::Result<Event, TaskError> {
    match task {
        Some(task) => task.events.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Now, or what the shim said.
pub(super) fn timestamp_or_now(time: Option<Timestamp>) -> Timestamp {
    time.unwrap_or_else(Timestamp::now)
}
