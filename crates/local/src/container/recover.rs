//! What the daemon does with the containers that it finds when it starts.
//!
//! | found | done |
//! |---|---|
//! | no `config.json` | a creation or removal cut short: cleared away |
//! | `config.json` can't be read | left alone, with an error |
//! | a shim answers, its container runs | adopted: state, output and exit code go on |
//! | a shim answers, its container never ran | the start was cut short: the shim is sent away |
//! | a shim that does not answer | asked again and again; until then its container counts as it was |
//! | no shim, an exit record newer than the state | it ended meanwhile: restart policy, `--rm` |
//! | no shim, no record, but it was running | it died with its shim (or the host): dead, with an error |
//! | none of these | as it was; policies `always` and the like start it |

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::Status;
use coracle_task::{Client, Exit, TaskConfig, TaskError};
use tokio::task::JoinSet;

use super::actor::{Actor, Task, timestamp_or_now};
use super::handle::Handle;
use super::record::{Record, RunState};
use crate::durable;
use crate::engine::Engine;

/// A container that was found, and what became of it meanwhile.
struct Found {
    actor: Actor,
    handle: Handle,
    outcome: Outcome,
}

/// What became of a container while there was no daemon.
enum Outcome {
    /// It runs, or it is as it was.
    Known,
    /// It ended, and that is news.
    Ended(Exit, Status),
    /// Its shim is there and says nothing: stopped, or drowned in work. It is asked again.
    NoAnswer,
}

/// Between two questions to a shim that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long a shim may take to say how its container stands.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes all containers in. Gives the number of those that run.
pub(crate) async fn recover(engine: &Arc<Engine>) -> std::io::Result<usize> {
    let directory = engine.config.data_root.join("containers");
    fs::create_dir_all(&directory)?;
    crate::machine::files::end_all(&engine.config.exec_root).await;
    // Side by side: a shim that does not answer holds up nobody but itself.
    let mut looking = JoinSet::new();
    for entry in fs::read_dir(&directory)? {
        let Ok(id) = entry?.file_name().into_string() else {
            continue;
        };
        let engine = engine.clone();
        looking.spawn(async move { find(&engine, &id).await });
    }
    let found: Vec<Found> = looking.join_all().await.into_iter().flatten().collect();
    clear_bundles(engine, &found)?;
    let parent = engine.config.cgroup_parent.clone();
    let cleared = tokio::task::spawn_blocking(move || crate::machine::pod::clear(&parent)).await;
    if !matches!(cleared, Ok(Ok(()))) {
        tracing::warn!(?cleared, "cannot clear away the control groups of machines");
    }
    let live: HashSet<String> = found
        .iter()
        .filter(|container| {
            container.actor.task.is_some() || matches!(container.outcome, Outcome::NoAnswer)
        })
        .map(|container| container.handle.id.to_string())
        .collect();
    let running = live.len();
    if let Err(error) = engine.networks.restore(live).await {
        tracing::error!(%error, "cannot restore the networks");
    }
    for container in &found {
        engine.containers.insert(container.handle.clone());
    }
    engine.networks.reopen_names().await;
    for container in found {
        tokio::spawn(settle(container));
    }
    Ok(running)
}

/// Reads one container, and connects to its shim.
async fn find(engine: &Arc<Engine>, id: &str) -> Option<Found> {
    let dirs = engine.dirs(id);
    let record = match Record::load(&dirs) {
        Ok(Some(record)) => record,
        Ok(None) => {
            tracing::info!(id, "clearing away a container that was not finished");
            engine
                .remove_cgroup_of(&engine.config.cgroup_parent, id)
                .await;
            let removed = engine.snapshots.remove(id);
            let cleared = durable::remove_dir(&dirs.root);
            if removed.is_err() || cleared.is_err() {
                tracing::warn!(id, ?removed, ?cleared, "cannot clear it away");
            }
            return None;
        }
        Err(error) => {
            tracing::error!(id, %error, "a container can't be read; its files are left alone");
            return None;
        }
    };
    let run = RunState::load(&dirs).unwrap_or_else(|error| {
        tracing::error!(id, %error, "a container's state can't be read; taken as never started");
        RunState::default()
    });
    if engine.containers.take_name(&record.name, id).is_err() {
        // Only one of them can be found by it; the other one still by its id.
        tracing::error!(id, name = record.name, "two containers have this name");
    }
    let (mut actor, handle) = Actor::new(engine.clone(), record, run);
    let outcome = actor.reconnect().await;
    Some(Found {
        actor,
        handle,
        outcome,
    })
}

/// Carries out what follows from what was found, then serves.
async fn settle(found: Found) {
    let Found {
        mut actor,
        mut outcome,
        ..
    } = found;
    while matches!(outcome, Outcome::NoAnswer) {
        tracing::warn!(container = %actor.record.id, "its shim does not answer; asking again");
        tokio::time::sleep(ASK_AGAIN).await;
        outcome = actor.reconnect().await;
    }
    let flow = match outcome {
        Outcome::Ended(exit, status) => {
            actor.settle(&exit, status).await;
            actor.after_end().await
        }
        Outcome::Known | Outcome::NoAnswer => actor.after_boot().await,
    };
    if flow == super::actor::Flow::Continue {
        actor.serve().await;
    }
}

impl Actor {
    /// Connects to the shim, or finds out how the container ended.
    async fn reconnect(&mut self) -> Outcome {
        match self.adopt().await {
            Ok(Some(Adopted::Running)) => return Outcome::Known,
            Ok(Some(Adopted::Ended(exit))) => return Outcome::Ended(exit, Status::Exited),
            Ok(None) => {}
            Err(TaskError::NoAnswer) => return Outcome::NoAnswer,
            Err(error) => tracing::debug!(container = %self.record.id, %error, "no shim"),
        }
        let was_alive = self.run.state.status.is_alive();
        let record = durable::read_json::<Exit>(&self.dirs.exit_file())
            .ok()
            .flatten();
        match record {
            // Of a run whose end is in the state already.
            Some(exit) if self.run.state.finished_at == Some(exit.finished_at) => Outcome::Known,
            Some(exit) if was_alive || exit.started_at.is_some() => {
                Outcome::Ended(exit, Status::Exited)
            }
            _ if was_alive => {
                let exit = Exit {
                    code: 137,
                    signal: None,
                    oom_killed: false,
                    started_at: self.run.state.started_at,
                    finished_at: jiff::Timestamp::now(),
                    error: Some("the container's shim died, and the container with it".into()),
                    error_kind: None,
                };
                Outcome::Ended(exit, Status::Dead)
            }
            _ => Outcome::Known,
        }
    }

    async fn adopt(&mut self) -> Result<Option<Adopted>, TaskError> {
        let socket = self.dirs.socket();
        if !socket.exists() {
            return Ok(None);
        }
        let client = Client::connect(&socket).await?;
        // A start that is under way is waited for: it is decided soon, or the shim hangs.
        let events = tokio::time::timeout(PATIENCE, client.events())
            .await
            .map_err(|_| TaskError::NoAnswer)??;
        let state = events.initial.clone();
        match state.status {
            coracle_task::Status::Running | coracle_task::Status::Paused => {
                let task = self.dirs.bundle.join(coracle_task::TASK_FILE);
                let config: Option<TaskConfig> = durable::read_json(&task)
                    .inspect_err(|error| tracing::error!(%error, "cannot read a task"))
                    .ok()
                    .flatten();
                let process = config.and_then(|config| config.spec.process().clone());
                let Some(process) = process else {
                    return Err(TaskError::Protocol("its task file is gone".into()));
                };
                self.task = Some(Task {
                    client,
                    events,
                    process: Arc::new(process),
                });
                let run = &mut self.run.state;
                run.status = match state.status {
                    coracle_task::Status::Paused => Status::Paused,
                    _ => Status::Running,
                };
                run.pid = state.pid;
                run.started_at = Some(timestamp_or_now(state.started_at));
                run.oom_killed = state.oom_killed;
                self.run.ever_started = true;
                if let Err(error) = self.mount_volumes().await {
                    // It has them all the same.
                    tracing::warn!(container = %self.record.id, %error, "its volume isn't mounted here");
                }
                self.save_and_publish().await;
                Ok(Some(Adopted::Running))
            }
            coracle_task::Status::Stopped => {
                let exit = client.wait(None).await.ok();
                let _ = client.shutdown().await;
                Ok(exit.map(Adopted::Ended))
            }
            coracle_task::Status::Created => {
                let _ = client.shutdown().await;
                Ok(None)
            }
        }
    }

    /// What a policy asks for when the daemon starts.
    async fn after_boot(&mut self) -> super::actor::Flow {
        if self.task.is_some() {
            if self.run.frozen_for_commit
                && self.run.state.status == Status::Paused
                && let Err(error) = self.unpause().await
            {
                tracing::warn!(container = %self.record.id, %error, "cannot thaw it after a commit");
            }
            self.monitor_health();
            self.publish();
            return super::actor::Flow::Continue;
        }
        self.release(false).await;
        let run = &self.run;
        if run.ever_started && self.removes_itself() {
            return self.remove_quietly().await;
        }
        let wanted = coracle_runtime::restart::wanted_at_boot(
            &self.record.host_config.restart_policy,
            run.state.exit_code,
            run.restart_count,
            run.stopped_by_user,
            run.ever_started,
        );
        if run.state.status == Status::Restarting {
            self.run.state.status = Status::Exited;
        }
        if wanted && let Err(error) = self.start(false).await {
            tracing::warn!(container = %self.record.id, %error, "cannot start it again");
            return self.after_end().await;
        }
        self.save_and_publish().await;
        super::actor::Flow::Continue
    }
}

enum Adopted {
    Running,
    Ended(Exit),
}

/// Bundles of no container at all.
fn clear_bundles(engine: &Engine, found: &[Found]) -> std::io::Result<()> {
    let directory = engine.config.exec_root.join("containers");
    fs::create_dir_all(&directory)?;
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        let Ok(id) = entry.file_name().into_string() else {
            continue;
        };
        if !found.iter().any(|container| *container.handle.id == *id)
            && !engine.dirs(&id).root.exists()
        {
            durable::remove_dir(&entry.path())?;
        }
    }
    Ok(())
}
