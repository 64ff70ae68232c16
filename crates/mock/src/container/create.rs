//! Creation: everything is checked and made, and the last thing is what makes it a container.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use coracle_runtime::container::{Created, NetworkSettings};
use coracle_runtime::spec::{ContainerConfig, ContainerSpec, EndpointSettings, HostConfig};
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;
use tokio::sync::watch;

use super::mounts::Resolved;
use super::{Entry, Published, ports};
use crate::engine::{Engine, State};
use crate::fs::Fs;
use crate::ident;
use crate::process::Log;

/// Makes a container. On an error nothing is left.
pub(crate) fn create(engine: &Engine, mut spec: ContainerSpec) -> Result<Created> {
    let runtime = spec.host.runtime.as_str();
    if !matches!(runtime, "" | "process" | "runc" | "io.containerd.runc.v2") {
        return Err(RuntimeError::InvalidArgument(format!(
            "unknown or invalid runtime name: {runtime}; there is only \"process\""
        )));
    }
    let id = ident::new_id();
    let mut state = engine.lock();
    let given = spec
        .name
        .take()
        .map(|name| name.strip_prefix('/').unwrap_or(&name).to_owned());
    let name = match given.filter(|name| !name.is_empty()) {
        None => ident::random_name(),
        Some(name) => {
            ident::check_name("container", &name)?;
            name
        }
    };
    state.take_name(&name, &id)?;
    match make(engine, &mut state, id.clone(), name.clone(), spec) {
        Ok((entry, warnings)) => {
            engine.emit(&entry, "create", &[]);
            state.containers.insert(id.clone(), entry);
            Ok(Created { id, warnings })
        }
        Err(error) => {
            state.names.remove(&name);
            Err(error)
        }
    }
}

fn make(
    engine: &Engine,
    state: &mut State,
    id: String,
    name: String,
    spec: ContainerSpec,
) -> Result<(Entry, Vec<String>)> {
    let mut warnings = coracle_spec::check(&spec.config, &spec.host, &engine.host)?;
    coracle_spec::check_networking(&spec.networking)?;
    let image = state
        .images
        .for_container(&spec.config.image, spec.platform.as_deref())?;
    let host = coracle_oci::Platform::host();
    if image.platform().architecture != host.architecture && spec.platform.is_none() {
        warnings.push(format!(
            "The requested image's platform ({}) does not match the detected host platform \
             ({host}) and no specific platform was requested",
            image.platform()
        ));
    }
    let mut config = coracle_spec::merge(&spec.config, &image.config);
    coracle_spec::check(&config, &spec.host, &engine.host)?;
    let line = coracle_spec::command(&config)?;
    let image_id = image.id.to_string();
    let manifest_digest = coracle_oci::Digest::sha256(&image.manifest).to_string();
    let platform = image.platform().to_string();
    let base = image.tree.clone();
    let mut host_config = spec.host;
    defaults(engine, &id, &mut config, &mut host_config);
    let links = state.links(&host_config)?;
    // They are shown with the names of now.
    host_config.links.clear();
    check_references(state, &config, &host_config)?;
    ports::requests(&config, &host_config)?;
    let log = log(&config, &host_config)?;
    let mut resolved = Resolved::default();
    if let Err(error) = resolved.all(engine, state, &config, &host_config, &base) {
        for name in &resolved.made {
            state.volumes.remove(name);
        }
        return Err(error);
    }
    let files = match state.files(&host_config, &resolved.mounts) {
        Ok(files) => files,
        Err(error) => {
            for name in &resolved.made {
                state.volumes.remove(name);
            }
            return Err(error);
        }
    };
    let fs = Fs {
        root: base.as_ref().clone(),
        read_only: host_config.readonly_rootfs,
        ..Fs::default()
    };
    let streams = Entry::fresh_streams(&config, log.as_ref());
    let published = watch::Sender::new(Published {
        status: Default::default(),
        exits: 0,
        last: Default::default(),
        removed: false,
    });
    let mut entry = Entry {
        id,
        name,
        created: Timestamp::now(),
        image_id,
        manifest_digest,
        platform,
        path: line.first().cloned().unwrap_or_default(),
        args: line.get(1..).unwrap_or_default().to_vec(),
        config,
        host_config,
        networking: spec.networking,
        mounts: resolved.mounts,
        files,
        links,
        base,
        fs: Arc::new(Mutex::new(fs)),
        log,
        state: Default::default(),
        network: NetworkSettings::default(),
        restart_count: 0,
        stopped_by_user: false,
        backoff: Default::default(),
        exits: 0,
        last: Default::default(),
        run: None,
        streams,
        published,
    };
    entry.network = entry.idle_network(state);
    entry.mount_all();
    Ok((entry, warnings))
}

/// What was left open, as LocalRuntime fills it.
fn defaults(engine: &Engine, id: &str, config: &mut ContainerConfig, host: &mut HostConfig) {
    let or = |field: &mut String, default: &str| {
        if field.is_empty() {
            default.clone_into(field);
        }
    };
    if host.network_mode == "default" {
        host.network_mode.clear();
    }
    or(&mut host.network_mode, "bridge");
    or(&mut host.ipc_mode, "private");
    or(&mut host.cgroupns_mode, "host");
    or(&mut host.log_config.driver, "json-file");
    or(&mut host.runtime, "process");
    if host.shm_size == 0 {
        host.shm_size = engine.host.default_shm_size;
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    if config.hostname.is_empty()
        && host.uts_mode != "host"
        && !host.network_mode.starts_with("container:")
    {
        let own = if host.network_mode == "host" {
            "mock"
        } else {
            ident::short(id)
        };
        own.clone_into(&mut config.hostname);
    }
}

/// What the configuration names must be there, and make sense together. Networks are looked up at
/// the start, as Docker does.
fn check_references(state: &State, config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    for mode in [&host.network_mode, &host.ipc_mode, &host.pid_mode] {
        if let Some(other) = mode.strip_prefix("container:") {
            state.find(other)?;
        }
    }
    let joins = host.network_mode.starts_with("container:");
    let conflicts = [
        (
            !host.port_bindings.is_empty() || host.publish_all_ports,
            "port publishing",
        ),
        (!host.dns.is_empty(), "dns"),
        (!host.extra_hosts.is_empty(), "custom host-to-IP mapping"),
        (!config.hostname.is_empty(), "hostname"),
    ];
    if let Some((_, what)) = conflicts.iter().find(|(given, _)| joins && *given) {
        return Err(RuntimeError::InvalidArgument(format!(
            "conflicting options: {what} and the container type network mode"
        )));
    }
    Ok(())
}

/// The log that the configuration asks for.
fn log(config: &ContainerConfig, host: &HostConfig) -> Result<Option<Arc<Log>>> {
    let invalid =
        |error: coracle_log::OptionError| RuntimeError::InvalidArgument(error.to_string());
    let wanted = &host.log_config;
    let driver = coracle_log::Driver::from_name(&wanted.driver).map_err(invalid)?;
    if driver == coracle_log::Driver::None {
        return Ok(None);
    }
    let options = wanted
        .config
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let env = |name: &str| {
        config.env.iter().find_map(|entry| {
            let (key, value) = entry.split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
    };
    let label = |name: &str| config.labels.get(name).cloned();
    let parsed = coracle_log::LogConfig::parse(driver, "/".into(), options, label, env);
    Ok(Some(Arc::new(Log::new(parsed.map_err(invalid)?.attrs))))
}

impl Entry {
    /// The networks that it asks for, with their settings, the main one first.
    pub(crate) fn wanted_networks(&self) -> Vec<(String, EndpointSettings)> {
        let mode = self.host_config.network_mode.as_str();
        if self.config.network_disabled || mode.starts_with("container:") {
            return Vec::new();
        }
        let mut endpoints: BTreeMap<String, EndpointSettings> =
            self.networking.endpoints_config.clone();
        let mut main = endpoints
            .remove(mode)
            .or_else(|| endpoints.remove("default"))
            .unwrap_or_default();
        if main.mac_address.is_empty() {
            main.mac_address.clone_from(&self.config.mac_address);
        }
        let mut wanted = vec![(mode.to_owned(), main)];
        wanted.extend(endpoints);
        wanted
    }

    /// What is shown of one that does not run.
    pub(crate) fn idle_network(&self, state: &State) -> NetworkSettings {
        let networks = self
            .wanted_networks()
            .into_iter()
            .map(|(name, mut settings)| match state.networks.find(&name) {
                Ok(network) => {
                    settings.network_id.clone_from(&network.id);
                    (network.name.clone(), settings)
                }
                Err(_) => (name, settings),
            });
        NetworkSettings {
            networks: networks.collect(),
            ..NetworkSettings::default()
        }
    }
}
