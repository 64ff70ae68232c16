//! Signals, stop and restart.

use std::time::Duration;

use coracle_runtime::container::{Changed, StopOptions};
use coracle_runtime::{Result, RuntimeError, Status, signal};

use super::actor::{Actor, task_error};
use super::handle::{Command, Handle, not_running};

/// Seconds between the stop signal and SIGKILL where nobody said otherwise.
const GRACE: i64 = 10;
/// How long a killed process may take to end: only one stuck in the kernel takes any time.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(30);

impl Actor {
    /// Sends a signal to the first process.
    pub(super) async fn signal(&mut self, signal: i32, stop: bool) -> Result<()> {
        if stop {
            // A container between two runs is stopped by not being started again.
            if self.run.state.status == Status::Restarting {
                self.run.stopped_by_user = true;
                self.restart_at = None;
                self.run.state.status = Status::Exited;
                self.save_and_publish().await;
                return Ok(());
            }
            if !self.run.stopped_by_user && self.task.is_some() {
                self.run.stopped_by_user = true;
                self.save_and_publish().await;
            }
        }
        let Some(task) = &self.task else {
            return Err(not_running(&self.record.id));
        };
        task.client
            .kill(None, signal, false)
            .await
            .map_err(task_error)?;
        // A signal that is to end a frozen container wakes it, as in Docker: frozen it would not even
        // notice. What has ended meanwhile needs no waking.
        let wakes = stop || self.record.config.stop_signal.is_none();
        if wakes && self.run.state.status == Status::Paused {
            match task.client.resume().await {
                Ok(()) => {
                    self.run.state.status = Status::Running;
                    self.run.frozen_for_commit = false;
                    self.save_and_publish().await;
                }
                Err(error) => tracing::debug!(container = %self.record.id, %error, "not woken"),
            }
        }
        self.emit("kill", &[("signal", &signal.to_string())]);
        Ok(())
    }
}

impl Handle {
    /// Kills with a signal by name. One that ends processes counts as the user's stop, as in Docker.
    pub(crate) async fn kill(&self, name: &str) -> Result<()> {
        let number = if name.is_empty() {
            signal::KILL
        } else {
            signal::parse(name)?
        };
        self.running().map_err(|error| self.cannot_kill(&error))?;
        let stop_signal = self
            .now()
            .record
            .config
            .stop_signal
            .clone()
            .unwrap_or_default();
        let stop =
            number == signal::KILL || number == signal::parse(&stop_signal).unwrap_or(signal::TERM);
        self.ask(|reply| Command::Signal {
            signal: number,
            stop,
            reply,
        })
        .await
        .map_err(|error| self.cannot_kill(&error))
    }

    fn cannot_kill(&self, error: &RuntimeError) -> RuntimeError {
        match error {
            RuntimeError::InvalidState(text) => RuntimeError::InvalidState(format!(
                "cannot kill container: {}: {text}",
                self.name()
            )),
            other => other.clone(),
        }
    }

    /// Stops: signal, grace, SIGKILL.
    pub(crate) async fn stop(&self, options: &StopOptions) -> Result<Changed> {
        let now = self.now();
        let status = now.container.state.status;
        if !status.is_alive() && status != Status::Restarting {
            return Ok(Changed(false));
        }
        let config = &now.record.config;
        let name = options.signal.as_ref().or(config.stop_signal.as_ref());
        let number = match name.filter(|name| !name.is_empty()) {
            Some(name) => signal::parse(name)?,
            None => signal::TERM,
        };
        let exits = now.exits;
        let sent = self
            .ask(|reply| Command::Signal {
                signal: number,
                stop: true,
                reply,
            })
            .await;
        match sent {
            // It ended before the signal came.
            Ok(()) | Err(RuntimeError::InvalidState(_) | RuntimeError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let ended = self.until(|now| now.exits > exits || !(now.container.state.status.is_alive()));
        let seconds = options.timeout.or(config.stop_timeout).unwrap_or(GRACE);
        match u64::try_from(seconds) {
            // Negative: for ever.
            Err(_) => drop(ended.await),
            Ok(seconds) => {
                if tokio::time::timeout(Duration::from_secs(seconds), ended)
                    .await
                    .is_err()
                {
                    self.kill_and_wait(exits).await?;
                }
            }
        }
        Ok(Changed(true))
    }

    /// Kills a container's process and waits until the run after `exits` ends is over.
    pub(crate) async fn kill_and_wait(&self, exits: u64) -> Result<()> {
        let kill = self.ask(|reply| Command::Signal {
            signal: signal::KILL,
            stop: true,
            reply,
        });
        match kill.await {
            Ok(()) | Err(RuntimeError::InvalidState(_) | RuntimeError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let ended = self.until(|now| now.exits > exits || !(now.container.state.status.is_alive()));
        tokio::time::timeout(KILL_TIMEOUT, ended).await.map_err(|_| {
            RuntimeError::Internal(format!(
                "container {} did not end {} s after it was killed; its process may be stuck in \
                 the kernel",
                self.id,
                KILL_TIMEOUT.as_secs()
            ))
        })?;
        Ok(())
    }
}
