//! Changing a container's name, resources and restart policy.

use coracle_runtime::container::UpdateOptions;
use coracle_runtime::{Result, RuntimeError, Status};

use crate::engine::Engine;
use crate::ident;

/// Gives it another name.
pub(crate) fn rename(engine: &Engine, name: &str, new_name: &str) -> Result<()> {
    let mut state = engine.lock();
    let id = state.find(name)?;
    let new_name = new_name.strip_prefix('/').unwrap_or(new_name);
    ident::check_name("container", new_name)?;
    let old = state.container(&id)?.name.clone();
    if old == new_name {
        return Err(RuntimeError::InvalidArgument(
            "Renaming a container with the same name as its current name".to_owned(),
        ));
    }
    state.take_name(new_name, &id)?;
    state.names.remove(&old);
    state.networks.rename(&id, new_name);
    let entry = state.container_mut(&id)?;
    new_name.clone_into(&mut entry.name);
    engine.emit(entry, "rename", &[("oldName", &format!("/{old}"))]);
    Ok(())
}

/// Changes what was given. On an error nothing is changed.
pub(crate) fn update(engine: &Engine, name: &str, options: &UpdateOptions) -> Result<Vec<String>> {
    let mut state = engine.lock();
    let entry = state.container_mut(name)?;
    let mut host = entry.host_config.clone();
    coracle_spec::overlay(&mut host, &options.host)?;
    let warnings = coracle_spec::check(&entry.config, &host, &engine.host)?;
    entry.host_config = host;
    // A container that waits for a restart that is no longer wanted stops waiting.
    if entry.status() == Status::Restarting {
        let policy = &entry.host_config.restart_policy;
        if !coracle_runtime::restart::wanted(policy, entry.last.code, entry.restart_count, false) {
            entry.state.status = Status::Exited;
        }
    }
    entry.publish();
    engine.emit(entry, "update", &[]);
    Ok(warnings)
}
