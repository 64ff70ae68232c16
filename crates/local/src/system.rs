//! The runtime as a whole: version, information, disk usage, prunes.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_runtime::container::{Container, Pruned, RemoveOptions};
use coracle_runtime::event::EventKind;
use coracle_runtime::filter::Filters;
use coracle_runtime::system::{DiskUsage, Info, Version};
use coracle_runtime::volume::Volume;
use coracle_runtime::{Result, Status};

use crate::container::files::blocking;
use crate::container::handle::{Command, Handle};
use crate::engine::Engine;
use crate::host;
use crate::links::Shown;
use crate::machine;
use crate::volumes;

pub(crate) fn version() -> Version {
    Version {
        product: "Coracle".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        revision: option_env!("CORACLE_REVISION").unwrap_or_default().into(),
        kernel: host::uname()[0].clone(),
        os: "linux".into(),
        arch: host::architecture().into(),
    }
}

pub(crate) fn info(engine: &Engine) -> Info {
    let mut counts = [0_u64; 3];
    for handle in engine.containers.all() {
        let place = match handle.status() {
            Status::Running => 0,
            Status::Paused => 1,
            _ => 2,
        };
        counts[place] += 1;
    }
    let [running, paused, stopped] = counts;
    let [kernel, machine, name] = host::uname();
    let (operating_system, os_version) = host::distribution();
    let config = &engine.config;
    let v2 = config.host.cgroup_v2;
    let limit = |v1: bool| v1 || v2;
    let limits = [
        ("MemoryLimit", true),
        ("SwapLimit", config.host.swap_accounting),
        ("CpuCfsPeriod", true),
        ("CpuCfsQuota", true),
        ("CPUShares", true),
        ("CPUSet", true),
        ("PidsLimit", true),
        ("OomKillDisable", !v2),
        ("IPv4Forwarding", limit(true)),
    ];
    let mut security = vec!["name=seccomp,profile=builtin".to_owned()];
    if config.host.rootless {
        security.push("name=rootless".into());
    }
    if v2 {
        security.push("name=cgroupns".into());
    }
    let machines = engine.machines.info(config);
    let mut warnings = engine.networks.networks.warnings().to_vec();
    // The one place where Docker's own CLI shows it.
    if machines.accelerator == "tcg" && config.machine.accelerator == "auto" {
        let why = &machines.reason;
        warnings.push(format!(
            "WARNING: virtual machines are emulated (tcg): {why}"
        ));
    }
    let host_dns = engine.networks.names.info();
    if !host_dns.unavailable.is_empty() {
        warnings.push(format!("WARNING: {}", host_dns.unavailable));
    }
    Info {
        id: engine.id.clone(),
        containers: running + paused + stopped,
        running,
        paused,
        stopped,
        images: engine.images.store.images().len() as u64,
        storage_driver: "overlay2".into(),
        storage_status: vec![
            ("Backing Filesystem".into(), engine.snapshots.filesystem()),
            ("Supports d_type".into(), "true".into()),
        ],
        root: config.data_root.to_string_lossy().into_owned(),
        name,
        kernel,
        operating_system,
        os_version,
        architecture: machine,
        cpus: u64::from(host::cpus()),
        memory: host::memory(),
        cgroup_version: if v2 { "2" } else { "1" }.into(),
        cgroup_driver: "cgroupfs".into(),
        log_driver: config.log_config.driver.clone(),
        log_drivers: ["json-file", "local", "none"].map(str::to_owned).into(),
        runtimes: engine.machines.runtimes(config),
        default_runtime: engine.machines.default_runtime(config).into(),
        machines,
        host_dns,
        security_options: security,
        limits: limits.map(|(name, on)| (name.to_owned(), on)).into(),
        insecure_registries: engine.config.insecure_registries.clone(),
        registry_mirrors: config
            .registries
            .mirrors()
            .iter()
            .map(ToString::to_string)
            .collect(),
        live_restore: true,
        labels: config.labels.clone(),
        warnings,
        proxies: proxies(),
        address_pools: config
            .network
            .pools
            .iter()
            .map(|pool| (pool.base.to_string(), pool.size))
            .collect(),
        init_binary: "coracle-shim".into(),
    }
}

/// The proxies of the environment, without credentials.
fn proxies() -> [String; 3] {
    let value = |names: [&str; 2]| {
        names
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .unwrap_or_default()
    };
    let bare = |text: String| match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://xxxxx:xxxxx@{host}"),
        _ => text,
    };
    [
        bare(value(["HTTP_PROXY", "http_proxy"])),
        bare(value(["HTTPS_PROXY", "https_proxy"])),
        value(["NO_PROXY", "no_proxy"]),
    ]
}

/// Bytes in a container's writable layer.
fn usage(engine: &Engine, handle: &Handle) -> u64 {
    match machine::is_machine(&handle.now().record.host_config) {
        true => crate::disks::layer_usage(&machine::layer(&handle.dirs)),
        false => engine.snapshots.usage(&handle.id),
    }
}

/// A container with the sizes of its files.
pub(crate) fn with_sizes(engine: &Engine, handle: &Handle) -> Container {
    let now = handle.now();
    let mut container = Container::clone(&now.container);
    let own = usage(engine, handle);
    let below: u64 = now
        .record
        .layers
        .iter()
        .filter_map(|layer| layer.parse().ok())
        .map(|chain_id| engine.snapshots.layer_size(&chain_id))
        .sum();
    container.size_rw = Some(own);
    container.size_root_fs = Some(own + below);
    container
}

/// All containers, newest first.
pub(crate) async fn containers(engine: &Arc<Engine>, size: bool) -> Result<Vec<Container>> {
    let handles = engine.containers.all();
    let mut containers: Vec<Container> = if size {
        let engine = engine.clone();
        blocking(move || {
            Ok(handles
                .iter()
                .map(|handle| with_sizes(&engine, handle))
                .collect())
        })
        .await?
    } else {
        handles
            .iter()
            .map(|handle| Container::clone(&handle.now().container))
            .collect()
    };
    let links = Shown::new(&engine.containers);
    for container in &mut containers {
        links.fill(container);
    }
    containers.sort_by_key(|container| std::cmp::Reverse(container.created));
    Ok(containers)
}

/// A volume with who uses it and how large it is.
fn measured(engine: &Engine, mut volume: Volume) -> Volume {
    volume.ref_count = Some(volumes::users(&engine.containers, &volume.name, "").len() as u64);
    volume.size = Some(engine.volumes.size(&volume.name));
    volume
}

pub(crate) async fn disk_usage(engine: &Arc<Engine>) -> Result<DiskUsage> {
    let containers = containers(engine, true).await?;
    let templates = machine::collect::list(engine).await;
    let engine = engine.clone();
    blocking(move || {
        Ok(DiskUsage {
            layers_size: engine.images.layers_size(),
            images: engine.images.list(true),
            containers,
            templates,
            root_disks: engine.images.root_disks(),
            volumes: engine
                .volumes
                .list()
                .into_iter()
                .map(|volume| measured(&engine, volume))
                .collect(),
        })
    })
    .await
}

/// Removes stopped containers that fit.
pub(crate) async fn prune_containers(engine: &Arc<Engine>, filters: &Filters) -> Result<Pruned> {
    let until = filters.until()?;
    let mut pruned = Pruned::default();
    for handle in engine.containers.all() {
        let now = handle.now();
        let status = now.container.state.status;
        let fits = !status.is_alive()
            && status != Status::Restarting
            && until.iter().all(|limit| now.record.created < *limit)
            && filters.labels(&now.record.config.labels);
        if !fits {
            continue;
        }
        let size = {
            let (engine, handle) = (engine.clone(), handle.clone());
            blocking(move || Ok(usage(&engine, &handle))).await?
        };
        let options = RemoveOptions::default();
        // One that was started or removed meanwhile is no concern of ours.
        if handle
            .ask(|reply| Command::Remove { options, reply })
            .await
            .is_ok()
        {
            pruned.deleted.push(handle.id.to_string());
            pruned.space_reclaimed += size;
        }
    }
    if filters == &Filters::default() {
        let unneeded = machine::collect::Unneeded::Now;
        pruned.space_reclaimed += machine::collect::collect(engine, unneeded).await;
    }
    emit_prune(engine, EventKind::Container, pruned.space_reclaimed);
    Ok(pruned)
}

/// Removes unused volumes that fit: anonymous ones, or all.
pub(crate) async fn prune_volumes(engine: &Arc<Engine>, filters: &Filters) -> Result<Pruned> {
    let all = filters.boolean("all")? == Some(true);
    let filters = filters.clone();
    let worker = engine.clone();
    let pruned = blocking(move || {
        let mut pruned = Pruned::default();
        for volume in worker.volumes.list() {
            if (!all && !volume.anonymous) || !filters.labels(&volume.labels) {
                continue;
            }
            let size = worker.volumes.size(&volume.name);
            if matches!(
                worker
                    .volumes
                    .remove(&worker.containers, &volume.name, true),
                Ok(true)
            ) {
                worker.emit_volume("destroy", &volume.name);
                pruned.deleted.push(volume.name);
                pruned.space_reclaimed += size;
            }
        }
        Ok(pruned)
    })
    .await?;
    emit_prune(engine, EventKind::Volume, pruned.space_reclaimed);
    Ok(pruned)
}

pub(crate) fn emit_prune(engine: &Engine, kind: EventKind, reclaimed: u64) {
    let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
    engine.events.publish(kind, "prune", "", attributes);
}
