//! The mock as a whole: version, information, disk usage.

use std::collections::{BTreeMap, HashMap};

use coracle_runtime::Result;
use coracle_runtime::Status;
use coracle_runtime::event::EventKind;
use coracle_runtime::filter::Filters;
use coracle_runtime::image::{Image, ImageRemoval, PrunedImages, RemoveImageOptions};
use coracle_runtime::system::{DiskUsage, Info, Version};

use crate::container::observe::HOST_MEMORY;
use crate::engine::{Engine, State};
use crate::images::remove::Step;

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) fn version() -> Version {
    Version {
        product: "Coracle mock".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        revision: String::new(),
        kernel: "0.0.0-mock".into(),
        os: "linux".into(),
        arch: arch().into(),
    }
}

pub(crate) fn info(engine: &Engine) -> Info {
    let state = engine.lock();
    let count = |wanted: fn(Status) -> bool| {
        state
            .containers
            .values()
            .filter(|entry| wanted(entry.status()))
            .count() as u64
    };
    let running = count(|status| status == Status::Running);
    let paused = count(|status| status == Status::Paused);
    let all = state.containers.len() as u64;
    let limits = [
        "MemoryLimit",
        "SwapLimit",
        "CpuCfsPeriod",
        "CpuCfsQuota",
        "CPUShares",
        "CPUSet",
        "PidsLimit",
        "OomKillDisable",
        "IPv4Forwarding",
    ];
    Info {
        id: engine.id.clone(),
        containers: all,
        running,
        paused,
        stopped: all - running - paused,
        images: state.images.images.len() as u64,
        storage_driver: "mock".into(),
        root: "/mock".into(),
        name: "mock".into(),
        kernel: "0.0.0-mock".into(),
        operating_system: "Mock".into(),
        architecture: std::env::consts::ARCH.into(),
        cpus: u64::from(engine.host.cpus),
        memory: HOST_MEMORY,
        cgroup_version: "1".into(),
        cgroup_driver: "none".into(),
        log_driver: "json-file".into(),
        log_drivers: ["json-file", "local", "none"].map(str::to_owned).into(),
        runtimes: BTreeMap::from([("process".to_owned(), "mock".to_owned())]),
        default_runtime: "process".into(),
        security_options: vec!["name=seccomp,profile=builtin".into()],
        limits: limits.map(|name| (name.to_owned(), true)).into(),
        init_binary: "mock".into(),
        ..Info::default()
    }
}

impl State {
    pub(crate) fn list_images(&self, shared: bool) -> Vec<Image> {
        let mut users: HashMap<String, u64> = HashMap::new();
        for entry in self.containers.values() {
            *users.entry(entry.image_id.clone()).or_default() += 1;
        }
        self.images.list(&users, shared)
    }
}

pub(crate) fn disk_usage(engine: &Engine) -> DiskUsage {
    let state = engine.lock();
    DiskUsage {
        layers_size: state.images.layers_size(),
        images: state.list_images(true),
        containers: state.list(true),
        volumes: state.measured_volumes(),
        templates: Vec::new(),
        root_disks: Vec::new(),
    }
}

pub(crate) fn remove_image(
    engine: &Engine,
    name: &str,
    options: RemoveImageOptions,
) -> Result<Vec<ImageRemoval>> {
    let mut state = engine.lock();
    let uses = state.image_uses();
    let steps = state
        .images
        .remove(name, options.force, options.no_prune, &uses)?;
    Ok(report(engine, &steps).0)
}

pub(crate) fn prune_images(engine: &Engine, filters: &Filters) -> Result<PrunedImages> {
    let all = filters.boolean("dangling")? == Some(false);
    let until = filters.until()?;
    let mut state = engine.lock();
    let uses = state.image_uses();
    let steps = state.images.prune(all, &until, filters, &uses);
    let (removed, space_reclaimed) = report(engine, &steps);
    engine.emit_prune(EventKind::Image, space_reclaimed);
    Ok(PrunedImages {
        removed,
        space_reclaimed,
    })
}

/// Publishes what a removal did; gives it in the API's words, and the bytes that were freed.
fn report(engine: &Engine, steps: &[Step]) -> (Vec<ImageRemoval>, u64) {
    let mut freed = 0;
    let told = steps
        .iter()
        .map(|step| match step {
            Step::Untagged(id, name) => {
                engine.emit_image("untag", id.as_str(), &name.familiar());
                ImageRemoval::Untagged(name.familiar())
            }
            Step::Deleted(id) => {
                engine.emit_image("delete", id.as_str(), id.as_str());
                ImageRemoval::Deleted(id.to_string())
            }
            Step::Layer(diff_id, size) => {
                freed += size;
                ImageRemoval::Deleted(diff_id.to_string())
            }
        })
        .collect();
    (told, freed)
}
