//! The start of a run: network, bundle, shim, process.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use coracle_runtime::container::{Changed, ExitStatus};
use coracle_runtime::{Result, RuntimeError, Status};
use coracle_task::{Client, ErrorKind, Started, TaskConfig};

use super::actor::{Actor, Task, task_error};
use super::bundle;
use super::health::Monitor;
use super::record::SOCKET;
use super::sockets;
use crate::durable;
use crate::engine::Engine;
use crate::machine::files::Opened;
use crate::{machine, network_api, secrets};

/// A start that failed, with the exit code that stands for it.
struct Failure {
    error: RuntimeError,
    code: i32,
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        Self { error, code: 128 }
    }
}

impl Actor {
    /// Starts it; `by_user` rather than by its restart policy.
    pub(super) async fn start(&mut self, by_user: bool) -> Result<Changed> {
        match self.run.state.status {
            Status::Running => return Ok(Changed(false)),
            Status::Paused => {
                return Err(RuntimeError::InvalidState(
                    "cannot start a paused container, try unpause instead".into(),
                ));
            }
            Status::Removing => {
                return Err(RuntimeError::InvalidState(
                    "container is marked for removal and cannot be started".into(),
                ));
            }
            Status::Created | Status::Exited | Status::Dead | Status::Restarting => {}
        }
        self.restart_at = None;
        if by_user {
            self.run.restart_count = 0;
            self.backoff = coracle_runtime::restart::Backoff::default();
        }
        self.run.stopped_by_user = false;
        let engine = self.engine.clone();
        let _mounting = engine.volumes.mounting(&self.record.mounts).await;
        match self.launch().await {
            Ok(started) => {
                self.started(started).await;
                Ok(Changed(true))
            }
            Err(failure) => {
                self.start_failed(&failure, by_user).await;
                Err(failure.error)
            }
        }
    }

    async fn started(&mut self, started: Started) {
        let state = &mut self.run.state;
        state.status = Status::Running;
        state.pid = started.pid;
        state.started_at = Some(started.started_at);
        state.exit_code = 0;
        state.oom_killed = false;
        state.error.clear();
        self.run.ever_started = true;
        self.monitor_health();
        self.save_and_publish().await;
        self.tell_linked().await;
        network_api::emit_membership(&self.engine, "connect", &self.record.id, &self.run.network);
        self.emit_volumes("mount");
        self.emit("start", &[]);
    }

    /// Health begins anew with each run.
    pub(super) fn monitor_health(&mut self) {
        let monitor = self.task.as_ref().and_then(|task| {
            Monitor::begin(
                self.engine.clone(),
                &self.record,
                task.client.clone(),
                task.process.clone(),
                self.exits,
                self.engine.handle(&self.record.id)?,
            )
        });
        self.run.state.health = monitor.is_some().then(Default::default);
        self.health = monitor;
    }

    async fn start_failed(&mut self, failure: &Failure, by_user: bool) {
        // Whoever waits for its output has seen all there is.
        self.pending.clear();
        let state = &mut self.run.state;
        if state.status == Status::Restarting {
            state.status = Status::Exited;
        }
        state.error = failure.error.to_string();
        state.exit_code = failure.code;
        // No error of the wait's: whoever started it has been told.
        self.last = ExitStatus {
            code: failure.code,
            error: None,
        };
        if by_user {
            self.exits += 1;
            self.save_and_publish().await;
        }
    }

    /// Unpacks again what a power cut took: layers are not waited for when they are written.
    async fn ensure_layers(&self) -> Result<()> {
        let (engine, record) = (self.engine.clone(), self.record.clone());
        super::files::blocking(move || engine.images.ensure_layers(&record)).await
    }

    /// Opens the files of a container in a machine.
    pub(super) async fn open_files(&mut self) -> Result<Opened> {
        if let Some(task) = &self.task {
            return Ok(Opened::running(task.client.clone()));
        }
        if let Some(mut machine) = self.files.take()
            && let Some(opened) = machine.again().await
        {
            self.files = Some(machine);
            return Ok(opened);
        }
        let bundle = machine::files::bundle(&self.engine.config.exec_root, &self.record.id);
        machine::files::end(&bundle).await;
        self.ensure_layers().await?;
        let joined = crate::networks::Joined::apart();
        // No process, no secrets, and no one else.
        let mut record = machine::pod::apart(&self.record);
        record.files.clear();
        record.mounts.retain(|mount| {
            !self.engine.volumes.is_disk(mount) && !self.engine.volumes.is_sized(&mount.point.name)
        });
        let (mut config, _) = bundle::task(&self.engine, &record, &self.dirs, &joined)?;
        let machine = machine::config(&self.engine, &record, &self.dirs, Vec::new()).await?;
        config.machine = Some(Box::new(machine));
        let opened = async {
            let client = start_shim(&self.engine, &bundle, &config, Vec::new()).await?;
            client.open().await.map_err(task_error)?;
            Ok(client)
        };
        match opened.await {
            Ok(client) => {
                let (machine, opened) = machine::files::Machine::new(bundle, client);
                self.files = Some(machine);
                Ok(opened)
            }
            Err(error) => {
                machine::files::end(&bundle).await;
                Err(error)
            }
        }
    }

    /// The file system of its secrets, as they are now.
    async fn secrets(&self) -> Result<Option<OwnedFd>> {
        if self.record.files.is_empty() {
            return Ok(None);
        }
        let (engine, files) = (self.engine.clone(), self.record.files.clone());
        super::files::blocking(move || secrets::mount::make(&engine.secrets.vault, &files)).await
    }

    /// Mounts its volumes that are to be mounted on the host.
    pub(super) async fn mount_volumes(&mut self) -> Result<()> {
        let (engine, record) = (self.engine.clone(), self.record.clone());
        self.mounted =
            super::files::blocking(move || engine.volumes.mount_sized(&record.mounts)).await?;
        Ok(())
    }

    /// Ends the machine that was started for its files.
    pub(super) async fn close_files(&mut self) {
        if let Some(machine) = self.files.take() {
            machine.end().await;
        }
    }

    async fn launch(&mut self) -> std::result::Result<Started, Failure> {
        self.close_files().await;
        self.ensure_layers().await?;
        let joined = self.engine.networks.join(&self.record, &self.dirs).await?;
        let result = self.launch_joined(joined).await;
        if result.is_err() {
            self.task = None;
            self.release(false).await;
        }
        result
    }

    async fn launch_joined(
        &mut self,
        joined: crate::networks::Joined,
    ) -> std::result::Result<Started, Failure> {
        self.mount_volumes().await?;
        let (mut config, process) = bundle::task(&self.engine, &self.record, &self.dirs, &joined)?;
        let engine = self.engine.clone();
        let is_machine = machine::is_machine(&self.record.host_config);
        let _starting = is_machine.then(|| engine.machines.spares.starting());
        if machine::is_machine(&self.record.host_config) {
            let interfaces = joined.interfaces.clone();
            let mut machine =
                machine::config(&self.engine, &self.record, &self.dirs, interfaces).await?;
            machine.emulator = machine::emulator::of(&self.engine, &self.record).await?;
            config.machine = Some(Box::new(machine));
        }
        let internal = |what: &str, error: std::io::Error| {
            RuntimeError::Internal(format!("cannot {what}: {error}"))
        };
        match std::fs::remove_file(self.dirs.exit_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(internal("clear the last exit record", error).into());
            }
            _ => {}
        }
        self.run.network = joined.settings;
        let secrets = self.secrets().await?;
        let first = joined.listeners.len();
        let (published, sockets) = sockets::publish(&self.record, &self.dirs, first)?;
        config.sockets += sockets.len();
        config.published = published;
        let listeners = joined.listeners.into_iter().chain(sockets);
        let descriptors = listeners.chain(secrets).collect();
        let client = start_shim(&self.engine, &self.dirs.bundle, &config, descriptors).await?;
        let events = client.events().await.map_err(task_error)?;
        for pending in std::mem::take(&mut self.pending) {
            pending.connect(&client).await.map_err(task_error)?;
        }
        let result = client.start().await;
        match result {
            Ok(started) => {
                self.task = Some(Task {
                    client,
                    events,
                    process: Arc::new(process),
                });
                Ok(started)
            }
            Err(error) => {
                let log = shim_log(&self.dirs.bundle);
                let _ = client.shutdown().await;
                let mut failure = start_error(error, &log);
                machine::emulator::explain(&self.record, &mut failure.error);
                Err(failure)
            }
        }
    }
}

/// Starts a shim on a bundle, which is made.
async fn start_shim(
    engine: &Engine,
    bundle: &Path,
    config: &TaskConfig,
    descriptors: Vec<OwnedFd>,
) -> Result<Client> {
    let internal = |what: &str, error: std::io::Error| {
        RuntimeError::Internal(format!("cannot {what}: {error}"))
    };
    std::fs::create_dir_all(bundle).map_err(|error| internal("make the bundle", error))?;
    let task = serde_json::to_vec(config)
        .map_err(|error| RuntimeError::Internal(format!("cannot write the bundle: {error}")))?;
    durable::write(
        &bundle.join(coracle_task::TASK_FILE),
        &task,
        durable::Durability::Process,
    )
    .map_err(|error| internal("write the bundle", error))?;
    let socket = bundle.join(SOCKET);
    let listener =
        coracle_task::listen(&socket).map_err(|error| internal("listen for the shim", error))?;
    let passed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let spares = &engine.machines.spares;
    let is_there = match &config.machine {
        Some(machine) => spares.take_over(machine, bundle, &listener, &passed).await,
        None => false,
    };
    if !is_there {
        let child = coracle_task::spawn_shim(&engine.config.shim, bundle, listener, &passed)
            .map_err(|error| internal("start coracle-shim", error))?;
        engine.reaper.add(child);
    }
    drop(descriptors);
    Client::connect_to_new(&socket).await.map_err(|error| {
        RuntimeError::Internal(format!(
            "coracle-shim does not answer: {error}; {}",
            shim_log(bundle)
        ))
    })
}

/// Docker's words around the launcher's own: its CLI looks for "executable file not found" and
/// "permission denied" to choose its exit code.
fn start_error(error: coracle_task::TaskError, log: &str) -> Failure {
    let kind = error.kind();
    let code = kind.map_or(128, ErrorKind::exit_code);
    let text = match kind {
        Some(_) => format!("failed to create task for container: {error}"),
        None => format!("failed to create task for container: {error}; {log}"),
    };
    let error = match kind {
        Some(
            ErrorKind::CommandNotFound
            | ErrorKind::CommandNotExecutable
            | ErrorKind::InvalidArgument
            | ErrorKind::Unsupported,
        ) => RuntimeError::InvalidArgument(text),
        Some(ErrorKind::InvalidState) => RuntimeError::InvalidState(text),
        _ => RuntimeError::Internal(text),
    };
    Failure { error, code }
}

/// The last words of a shim.
fn shim_log(bundle: &Path) -> String {
    let text = std::fs::read_to_string(bundle.join(coracle_task::LOG_FILE)).unwrap_or_default();
    match text.lines().last() {
        Some(line) => format!("its log ends with: {line}"),
        None => "it left no log".to_owned(),
    }
}
