//! The end of a run: what the shim said, or did not live to say.

use std::time::Duration;

use coracle_runtime::Status;
use coracle_runtime::container::{ExitStatus, NetworkSettings};
use coracle_task::{Exit, TaskError};
use jiff::Timestamp;
use tokio::time::Instant;

use super::actor::{Actor, Flow};
use super::sockets;
use crate::durable;
use crate::network_api;
use crate::volumes::Mounted;

/// The exit code of a container whose shim was killed: that of a process killed with SIGKILL, which
/// is what its process got.
const SHIM_DIED: i32 = 137;

/// What an event is to tell of an end.
pub(super) struct Unsaid {
    code: i32,
    seconds: u64,
    networks: NetworkSettings,
}

impl Actor {
    /// The process has ended, its output is drained, and the record is written.
    pub(super) async fn on_exit(&mut self, exit: Exit) -> Flow {
        self.settle(&exit, Status::Exited).await;
        self.after_end().await
    }

    /// The shim is gone: with a record, the container ended; without, it died with its shim.
    pub(super) async fn on_shim_gone(&mut self, error: &TaskError) -> Flow {
        match durable::read_json::<Exit>(&self.dirs.exit_file()) {
            Ok(Some(exit)) => self.settle(&exit, Status::Exited).await,
            record => {
                tracing::error!(container = %self.record.id, %error, ?record, "the shim died");
                let exit = Exit {
                    code: SHIM_DIED,
                    signal: None,
                    oom_killed: self.run.state.oom_killed,
                    started_at: self.run.state.started_at,
                    finished_at: Timestamp::now(),
                    error: Some("the container's shim died, and the container with it".into()),
                    error_kind: None,
                };
                self.settle(&exit, Status::Dead).await;
            }
        }
        self.after_end().await
    }

    /// Takes the end of a run into the state, and gives back all that the run had.
    pub(super) async fn settle(&mut self, exit: &Exit, status: Status) {
        self.health = None;
        if let Some(task) = self.task.take() {
            // It goes by itself once nobody is connected; this only makes it quicker.
            tokio::spawn(async move { task.client.shutdown().await });
        }
        self.engine.execs.container_ended(&self.record.id);
        let networks = std::mem::take(&mut self.run.network);
        self.release(status == Status::Dead).await;
        let state = &mut self.run.state;
        state.status = status;
        state.pid = 0;
        state.exit_code = exit.code;
        state.oom_killed |= exit.oom_killed;
        state.error = exit.error.clone().unwrap_or_default();
        if exit.started_at.is_some() {
            state.started_at = exit.started_at;
        }
        state.finished_at = Some(exit.finished_at);
        self.last = ExitStatus {
            code: exit.code,
            error: exit.error.clone(),
        };
        self.unsaid = Some(Unsaid {
            code: exit.code,
            seconds: self.last_run().as_secs(),
            networks,
        });
    }

    /// Tells of an end, after it is published.
    pub(super) fn say_end(&mut self) {
        let Some(Unsaid {
            code,
            seconds,
            networks,
        }) = self.unsaid.take()
        else {
            return;
        };
        let (code, seconds) = (code.to_string(), seconds.to_string());
        self.emit("die", &[("exitCode", &code), ("execDuration", &seconds)]);
        self.emit_volumes("unmount");
        network_api::emit_membership(&self.engine, "disconnect", &self.record.id, &networks);
    }

    /// Network, bundle, and (where the shim could not) the control groups.
    pub(super) async fn release(&mut self, shim_died: bool) {
        if shim_died {
            self.engine.remove_cgroup(&self.record).await;
        }
        sockets::retract(&self.dirs);
        self.mounted = Mounted::default();
        self.engine.networks.leave(&self.record).await;
        self.run.network = self.engine.networks.idle_settings(&self.record);
        if let Err(error) = durable::remove_dir(&self.dirs.bundle) {
            tracing::warn!(container = %self.record.id, %error, "cannot remove the bundle");
        }
    }

    /// What follows: a restart, a removal, or nothing. The end is published here, together with what
    /// follows, so that nobody sees a container between two states.
    pub(super) async fn after_end(&mut self) -> Flow {
        self.exits += 1;
        let policy = &self.record.host_config.restart_policy;
        let code = self.last.code;
        let stopped = self.run.stopped_by_user;
        let mut pause = None;
        if coracle_runtime::restart::wanted(policy, code, self.run.restart_count, stopped) {
            pause = Some(self.backoff.next(self.last_run()));
            self.run.state.status = Status::Restarting;
        }
        self.save_and_publish().await;
        self.say_end();
        // From when the end is told: a disk that is slow to keep it takes nothing from the pause.
        self.restart_at = pause.map(|pause| Instant::now() + pause);
        if self.removes_itself() {
            return self.remove_quietly().await;
        }
        Flow::Continue
    }

    /// How long the last run took.
    fn last_run(&self) -> Duration {
        match (self.run.state.started_at, self.run.state.finished_at) {
            (Some(start), Some(end)) => {
                Duration::try_from(end.duration_since(start)).unwrap_or_default()
            }
            _ => Duration::ZERO,
        }
    }
}
