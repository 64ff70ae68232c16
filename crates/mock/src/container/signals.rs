//! Signals, stop, pause.

use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::container::{Changed, StopOptions};
use coracle_runtime::{Result, RuntimeError, Status, signal};

use super::wait::until;
use super::{Entry, not_running};
use crate::engine::Engine;

/// Seconds between the stop signal and SIGKILL where nobody said otherwise.
const GRACE: i64 = 10;

/// Whether a process that is frozen is thawed for this signal: one that means to end it.
fn wakes(entry: &Entry, number: i32) -> bool {
    number == signal::KILL || number == stop_signal(entry)
}

fn stop_signal(entry: &Entry) -> i32 {
    let own = entry.config.stop_signal.as_deref().unwrap_or_default();
    signal::parse(own).unwrap_or(signal::TERM)
}

/// Sends a signal; with `stop` the user means it to end.
fn send(engine: &Engine, entry: &mut Entry, number: i32, stop: bool) -> Result<()> {
    if stop {
        entry.stopped_by_user = true;
        // A container between two runs is stopped by not being started again.
        if entry.status() == Status::Restarting {
            entry.state.status = Status::Exited;
            entry.publish();
            return Ok(());
        }
    }
    let target = entry.running()?.target.clone();
    target.signal(number, false);
    if entry.status() == Status::Paused && (stop || wakes(entry, number)) {
        thaw(entry);
    }
    engine.emit(entry, "kill", &[("signal", &number.to_string())]);
    Ok(())
}

fn thaw(entry: &mut Entry) {
    if let Some(run) = &entry.run {
        run.paused.send_replace(false);
    }
    entry.state.status = Status::Running;
    entry.publish();
}

/// Kills with a signal by name. One that ends processes counts as the user's stop.
pub(crate) fn kill(engine: &Engine, name: &str, signal_name: &str) -> Result<()> {
    let mut state = engine.lock();
    let entry = state.container_mut(name)?;
    let number = match signal_name {
        "" => signal::KILL,
        name => signal::parse(name)?,
    };
    let container = entry.name.clone();
    let cannot = |error: RuntimeError| match error {
        RuntimeError::InvalidState(text) => {
            RuntimeError::InvalidState(format!("cannot kill container: {container}: {text}"))
        }
        other => other,
    };
    entry.running().map_err(cannot)?;
    let stop = wakes(entry, number);
    send(engine, entry, number, stop).map_err(cannot)
}

/// Stops: signal, grace, SIGKILL.
pub(crate) async fn stop(
    engine: &Arc<Engine>,
    name: &str,
    options: &StopOptions,
) -> Result<Changed> {
    let (id, mut published, exits, seconds) = {
        let mut state = engine.lock();
        let entry = state.container_mut(name)?;
        if !entry.status().is_alive() && entry.status() != Status::Restarting {
            return Ok(Changed(false));
        }
        let number = match options.signal.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => signal::parse(name)?,
            None => stop_signal(entry),
        };
        let seconds = options
            .timeout
            .or(entry.config.stop_timeout)
            .unwrap_or(GRACE);
        let (published, exits) = (entry.published.subscribe(), entry.exits);
        send(engine, entry, number, true)?;
        (entry.id.clone(), published, exits, seconds)
    };
    let ended = until(&mut published, |now| {
        now.exits > exits || !now.status.is_alive()
    });
    match u64::try_from(seconds) {
        // Negative: for ever.
        Err(_) => drop(ended.await),
        Ok(seconds) => {
            let in_time = tokio::time::timeout(Duration::from_secs(seconds), ended)
                .await
                .is_ok();
            if !in_time {
                if let Ok(entry) = engine.lock().container_mut(&id)
                    && entry.exits == exits
                {
                    // It may have ended at this very moment.
                    let _ = send(engine, entry, signal::KILL, true);
                }
                until(&mut published, |now| {
                    now.exits > exits || !now.status.is_alive()
                })
                .await;
            }
        }
    }
    Ok(Changed(true))
}

/// Freezes all processes.
pub(crate) fn pause(engine: &Engine, name: &str) -> Result<()> {
    let mut state = engine.lock();
    let entry = state.container_mut(name)?;
    match (entry.status(), &entry.run) {
        (Status::Running, Some(run)) => {
            run.paused.send_replace(true);
            entry.state.status = Status::Paused;
            entry.publish();
            engine.emit(entry, "pause", &[]);
            Ok(())
        }
        (Status::Paused, _) => Err(RuntimeError::InvalidState(format!(
            "Container {} is already paused",
            entry.id
        ))),
        _ => Err(not_running(&entry.id)),
    }
}

/// Thaws them.
pub(crate) fn unpause(engine: &Engine, name: &str) -> Result<()> {
    let mut state = engine.lock();
    let entry = state.container_mut(name)?;
    if entry.status() != Status::Paused {
        return Err(RuntimeError::InvalidState(format!(
            "Container {} is not paused",
            entry.id
        )));
    }
    thaw(entry);
    engine.emit(entry, "unpause", &[]);
    Ok(())
}
