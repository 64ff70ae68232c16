//! Removal.

use std::sync::Arc;

use coracle_runtime::container::{Pruned, RemoveOptions};
use coracle_runtime::event::EventKind;
use coracle_runtime::filter::Filters;
use coracle_runtime::{Result, RuntimeError, Status, signal};

use crate::engine::{Engine, State};
use crate::shell::SIGNALLED;

/// Removes a container; alive ones only by force.
pub(crate) fn remove(engine: &Arc<Engine>, name: &str, options: RemoveOptions) -> Result<()> {
    let mut state = engine.lock();
    let id = state.find(name)?;
    if options.link {
        return state.remove_link(name);
    }
    let entry = state.container_mut(&id)?;
    let status = entry.status();
    if status.is_alive() || status == Status::Restarting {
        if !options.force {
            let what = match status {
                Status::Paused => "is paused and must be unpaused first",
                Status::Restarting => {
                    "is restarting: stop the container before removing or force remove"
                }
                _ => "is running: stop the container before removing or force remove",
            };
            return Err(RuntimeError::InvalidState(format!(
                "cannot remove container \"/{}\": container {what}",
                entry.name
            )));
        }
        entry.stopped_by_user = true;
        if status.is_alive() {
            engine.emit(entry, "kill", &[("signal", &signal::KILL.to_string())]);
            engine.settle(&mut state, &id, SIGNALLED + signal::KILL);
        }
        if let Some(entry) = state.containers.get_mut(&id) {
            entry.exits += 1;
            entry.state.status = Status::Exited;
            entry.publish();
        }
    }
    state.discard(engine, &id, options.volumes);
    Ok(())
}

impl State {
    /// Takes away all that there is of a container.
    pub(crate) fn discard(&mut self, engine: &Engine, id: &str, volumes: bool) {
        let Some(mut entry) = self.containers.remove(id) else {
            return;
        };
        if self.names.get(&entry.name).is_some_and(|owner| owner == id) {
            self.names.remove(&entry.name);
        }
        self.execs.container_removed(id);
        self.networks.leave(id);
        if volumes || entry.host_config.auto_remove {
            for mount in entry.mounts.iter().filter(|mount| mount.anonymous) {
                if self.volume_users(&mount.point.name, id).is_empty() {
                    self.volumes.remove(&mount.point.name);
                }
            }
        }
        entry.streams.output.end();
        entry.state.status = Status::Removing;
        engine.emit(&entry, "destroy", &[]);
        entry.publish_removed();
    }
}

/// Removes stopped containers that fit.
pub(crate) fn prune(engine: &Engine, filters: &Filters) -> Result<Pruned> {
    let until = filters.until()?;
    let mut state = engine.lock();
    let mut pruned = Pruned::default();
    let ids: Vec<String> = state
        .containers
        .values()
        .filter(|entry| {
            !entry.status().is_alive()
                && entry.status() != Status::Restarting
                && until.iter().all(|limit| entry.created < *limit)
                && filters.labels(&entry.config.labels)
        })
        .map(|entry| entry.id.clone())
        .collect();
    for id in ids {
        pruned.space_reclaimed += state.containers.get(&id).map_or(0, super::Entry::size_rw);
        state.discard(engine, &id, false);
        pruned.deleted.push(id);
    }
    engine.emit_prune(EventKind::Container, pruned.space_reclaimed);
    Ok(pruned)
}
