//! Creation: everything is checked and made, and the last thing is what makes it a container.

use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use coracle_runtime::container::Created;
use coracle_runtime::spec::{ContainerSpec, LogConfig};
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

use super::actor::Actor;
use super::bundle;
use super::mounts::{self, Resolved};
use super::record::{Record, RunState};
use crate::engine::Engine;
use crate::links;
use crate::machine;
use crate::secrets;
use crate::volumes::Hold;
use crate::{durable, ident};

/// Makes a container. On an error nothing is left.
///
/// It runs to its end even if nobody waits any more: what is half made must not be left to chance.
pub(crate) async fn create(engine: &Arc<Engine>, spec: ContainerSpec) -> Result<Created> {
    let engine = engine.clone();
    tokio::spawn(async move { create_whole(&engine, spec).await })
        .await
        .unwrap_or_else(|error| {
            Err(RuntimeError::Internal(format!(
                "the creation was interrupted: {error}"
            )))
        })
}

async fn create_whole(engine: &Arc<Engine>, spec: ContainerSpec) -> Result<Created> {
    let mut spec = spec;
    if spec.host.runtime.is_empty() {
        // Who joins another has to be where that one is.
        spec.host.runtime = machine::pod::runtime_of_joined(engine, &spec.host);
    }
    let runtime = engine
        .machines
        .runtime(&engine.config, &spec.host.runtime)?;
    // Other names of one are shown as they were given.
    if spec.host.runtime.is_empty() {
        spec.host.runtime = runtime.into();
    }
    let id = ident::new_id();
    let name = match spec
        .name
        .as_deref()
        .map(|name| name.strip_prefix('/').unwrap_or(name))
    {
        None | Some("") => engine.containers.take_random_name(&id),
        Some(name) => {
            ident::check_name("container", name)?;
            engine.containers.take_name(name, &id)?;
            name.to_owned()
        }
    };
    let worker = engine.clone();
    let (owned_id, owned_name) = (id.clone(), name.clone());
    // File work; and not to be left half done by a client that goes away.
    let result = tokio::task::spawn_blocking(move || make(&worker, owned_id, owned_name, spec))
        .await
        .unwrap_or_else(|error| {
            Err(RuntimeError::Internal(format!(
                "the creation was interrupted: {error}"
            )))
        });
    let (record, warnings, holds) = match result {
        Ok(made) => made,
        Err(error) => {
            engine.containers.release_name(&name);
            return Err(error);
        }
    };
    let run = RunState {
        network: engine.networks.idle_settings(&record),
        ..Default::default()
    };
    let (actor, handle) = Actor::new(engine.clone(), record, run);
    engine.containers.insert(handle);
    // It can be found as their user now.
    drop(holds);
    actor.emit("create", &[]);
    tokio::spawn(actor.serve());
    Ok(Created { id, warnings })
}

/// What keeps volumes and secrets there meanwhile.
type Holds = (Vec<Hold>, Option<secrets::Hold>);

fn make(
    engine: &Engine,
    id: String,
    name: String,
    spec: ContainerSpec,
) -> Result<(Record, Vec<String>, Holds)> {
    let host = &machine::facts(&engine.config, &spec.host);
    let mut warnings = coracle_spec::check(&spec.config, &spec.host, host)?;
    coracle_spec::check_networking(&spec.networking)?;
    let image = engine
        .images
        .for_container(&spec.config.image, spec.platform.as_deref())?;
    if let Some(warning) = image.platform_warning(spec.platform.as_deref()) {
        warnings.push(warning);
    }
    let mut config = coracle_spec::merge(&spec.config, image.config());
    coracle_spec::check(&config, &spec.host, host)?;
    let line = coracle_spec::command(&config)?;
    let mut host_config = spec.host;
    if host_config.network_mode.is_empty() || host_config.network_mode == "default" {
        host_config.network_mode = "bridge".into();
    }
    if host_config.ipc_mode.is_empty() {
        host_config.ipc_mode = "private".into();
    }
    if host_config.cgroupns_mode.is_empty() {
        let private = host.cgroup_v2 && !host_config.privileged;
        host_config.cgroupns_mode = if private { "private" } else { "host" }.into();
    }
    default_log(&mut host_config.log_config, &engine.config.log_config);
    if host_config.shm_size == 0 {
        host_config.shm_size = host.default_shm_size;
    }
    if host_config.memory > 0 && host_config.memory_swap == 0 && host.swap_accounting {
        host_config.memory_swap = host_config.memory.saturating_mul(2);
    }
    if config.hostname.is_empty()
        && host_config.uts_mode != "host"
        && !host_config.network_mode.starts_with("container:")
    {
        config.hostname = match host_config.network_mode.as_str() {
            "host" => crate::host::uname()[2].clone(),
            _ => id.chars().take(12).collect(),
        };
    }
    let mut record = Record {
        version: Record::version(),
        id,
        name,
        created: Timestamp::now(),
        image_id: image.id(),
        manifest_digest: image.manifest_digest(),
        platform: image.platform(),
        layers: Vec::new(),
        path: line.first().cloned().unwrap_or_default(),
        args: line.get(1..).unwrap_or_default().to_vec(),
        config,
        networking: spec.networking,
        mounts: Vec::new(),
        files: Vec::new(),
        links: links::resolve(&engine.containers, &host_config)?,
        host_config,
    };
    // They are shown with the names of now. On a network of the user's its settings have them.
    record.host_config.links.clear();
    check_references(engine, &record)?;
    if machine::is_machine(&record.host_config) {
        machine::check::check(&record.host_config)?;
        machine::check::layer_size(&record.host_config, engine.config.machine.layer)?;
        machine::check::journal(&record.host_config)?;
    } else if !record.host_config.group_add.is_empty() && crate::host::has_one_user() {
        return Err(RuntimeError::InvalidArgument(
            "option GroupAdd is not supported by the runtime \"process\" without subordinate ids; \
             use --runtime vm"
                .into(),
        ));
    }
    let dirs = engine.dirs(&record.id);
    bundle::log_config(engine, &record, &dirs)?;
    let mut resolved = Resolved::of(&record.id);
    let result = (|| {
        let failed = |error: std::io::Error| {
            RuntimeError::Internal(format!("cannot save the container: {error}"))
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o710)
            .create(&dirs.root)
            .map_err(failed)?;
        mounts::resolve(engine, &record.config, &record.host_config, &mut resolved)?;
        record.mounts = std::mem::take(&mut resolved.mounts);
        if machine::is_machine(&record.host_config) {
            machine::check::check_mounts(&record.mounts)?;
        } else {
            engine.volumes.refuse_disks(&record.mounts)?;
        }
        let (files, hold) = engine
            .secrets
            .resolve(&record.host_config, &record.mounts)?;
        record.files = files;
        resolved.secrets = Some(hold);
        record.layers = engine.images.unpacked_layers(&image)?;
        engine.snapshots.create(&record)?;
        engine
            .snapshots
            .fill_volumes(engine, &record, &resolved.fill)?;
        record.save(&dirs).map_err(failed)
    })();
    if let Err(error) = result {
        undo(engine, &record, &resolved);
        return Err(error);
    }
    Ok((record, warnings, (resolved.holds, resolved.secrets)))
}

/// The daemon's log driver where none is named, and its options where none are given for it.
fn default_log(own: &mut LogConfig, default: &LogConfig) {
    if own.driver.is_empty() {
        own.driver.clone_from(&default.driver);
    }
    if own.driver == default.driver {
        for (key, value) in &default.config {
            own.config
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
    }
}

/// What the configuration names must be there, and make sense together.
fn check_references(engine: &Engine, record: &Record) -> Result<()> {
    let host_config = &record.host_config;
    for mode in [
        &host_config.network_mode,
        &host_config.ipc_mode,
        &host_config.pid_mode,
    ] {
        if let Some(other) = mode.strip_prefix("container:") {
            machine::pod::check_kind(record, &engine.find(other)?)?;
        }
    }
    let joins = host_config.network_mode.starts_with("container:");
    let conflict = |what: &str| {
        RuntimeError::InvalidArgument(format!(
            "conflicting options: {what} and the container type network mode"
        ))
    };
    if joins && (!host_config.port_bindings.is_empty() || host_config.publish_all_ports) {
        return Err(conflict("port publishing"));
    }
    if joins && !host_config.dns.is_empty() {
        return Err(conflict("dns"));
    }
    if joins && !host_config.extra_hosts.is_empty() {
        return Err(conflict("custom host-to-IP mapping"));
    }
    if joins && !record.config.hostname.is_empty() {
        return Err(conflict("hostname"));
    }
    engine.networks.requests(record)?;
    Ok(())
}

fn undo(engine: &Engine, record: &Record, resolved: &Resolved) {
    let dirs = engine.dirs(&record.id);
    let removed = engine.snapshots.remove(&record.id);
    let cleared = durable::remove_dir(&dirs.root);
    if removed.is_err() || cleared.is_err() {
        tracing::warn!(container = %record.id, ?removed, ?cleared, "left over from a failed creation");
    }
    for name in &resolved.made {
        engine
            .volumes
            .remove_unused(&engine.containers, name, &record.id);
    }
}
