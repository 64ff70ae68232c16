//! Removal.

use coracle_runtime::container::RemoveOptions;
use coracle_runtime::{Result, RuntimeError, Status, signal};
use coracle_task::Event;

use super::actor::{Actor, Flow};
use super::record::Record;
use super::stop::KILL_TIMEOUT;
use crate::durable;

impl Actor {
    /// Removes the container; alive ones only by force.
    pub(super) async fn remove(&mut self, options: RemoveOptions) -> Result<()> {
        let status = self.run.state.status;
        if status.is_alive() || status == Status::Restarting {
            if !options.force {
                return Err(RuntimeError::InvalidState(self.refusal(status)));
            }
            self.end_by_force().await?;
        }
        self.discard(options.volumes).await
    }

    /// Docker's text.
    fn refusal(&self, status: Status) -> String {
        let what = match status {
            Status::Paused => "is paused and must be unpaused first",
            Status::Restarting => {
                "is restarting: stop the container before removing or force remove"
            }
            _ => "is running: stop the container before removing or force remove",
        };
        format!(
            "cannot remove container \"/{}\": container {what}",
            self.record.name
        )
    }

    /// Kills the process, and takes its end into the state before anything is removed.
    async fn end_by_force(&mut self) -> Result<()> {
        self.run.stopped_by_user = true;
        self.restart_at = None;
        match self.signal(signal::KILL, true).await {
            Ok(()) | Err(RuntimeError::InvalidState(_)) => {}
            Err(error) => return Err(error),
        }
        while let Some(task) = &mut self.task {
            let next = tokio::time::timeout(KILL_TIMEOUT, task.events.next());
            let event = next.await.map_err(|_| {
                RuntimeError::Internal(format!(
                    "container {} did not end after it was killed; its process may be stuck in the \
                     kernel",
                    self.record.id
                ))
            })?;
            match event {
                Ok(Event::Exited(exit)) => self.settle(&exit, Status::Exited).await,
                Ok(_) => {}
                Err(error) => {
                    // Settles one way or the other; the policy can't start it again.
                    let removes_itself = self.removes_itself();
                    if !removes_itself {
                        self.on_shim_gone(&error).await;
                        break;
                    }
                    self.task = None;
                    self.release(true).await;
                }
            }
        }
        self.exits += 1;
        self.publish();
        self.say_end();
        Ok(())
    }

    /// Takes away all that there is of it, in an order that can be cut short anywhere.
    async fn discard(&mut self, volumes: bool) -> Result<()> {
        self.run.state.status = Status::Removing;
        self.publish();
        let result = self.try_discard(volumes).await;
        if let Err(error) = &result {
            self.run.state.status = Status::Dead;
            self.run.state.error = error.to_string();
            self.save_and_publish().await;
            return result;
        }
        self.engine.execs.container_removed(&self.record.id);
        self.engine
            .containers
            .forget(&self.record.id, &self.record.name);
        self.emit("destroy", &[]);
        self.publish_removed();
        Ok(())
    }

    async fn try_discard(&mut self, volumes: bool) -> Result<()> {
        self.close_files().await;
        let internal = |what: &str, error: std::io::Error| {
            RuntimeError::Internal(format!("cannot remove {what} of the container: {error}"))
        };
        let volumes = volumes || self.record.host_config.auto_remove;
        if !volumes {
            self.engine
                .volumes
                .disown(&self.record.mounts)
                .map_err(|error| internal("the volumes", error))?;
        }
        // Below the daemon's own parent the next start finds what is left by the id; of another
        // parent only the configuration knows.
        if !self.record.host_config.cgroup_parent.is_empty() {
            self.engine.remove_cgroup(&self.record).await;
        }
        // From here on the next start finishes the job.
        Record::forget(&self.dirs).map_err(|error| internal("the configuration", error))?;
        let engine = self.engine.clone();
        let dirs = self.dirs.clone();
        let record = self.record.clone();
        tokio::task::spawn_blocking(move || {
            engine.snapshots.remove(&record.id).map_err(|error| {
                RuntimeError::Internal(format!("cannot remove the container's files: {error}"))
            })?;
            durable::remove_dir(&dirs.bundle).map_err(|error| internal("the bundle", error))?;
            durable::remove_dir(&dirs.root).map_err(|error| internal("the directory", error))?;
            if volumes {
                for mount in record.mounts.iter().filter(|mount| mount.anonymous) {
                    engine
                        .volumes
                        .remove_unused(&engine.containers, &mount.point.name, &record.id);
                }
            }
            Ok(())
        })
        .await
        .map_err(|error| RuntimeError::Internal(format!("the removal was interrupted: {error}")))?
    }

    /// Removes a container that removes itself.
    pub(super) async fn remove_quietly(&mut self) -> Flow {
        match self.discard(true).await {
            Ok(()) => Flow::Removed,
            Err(error) => {
                tracing::error!(container = %self.record.id, %error, "cannot remove");
                Flow::Continue
            }
        }
    }
}
