//! Volumes that are file systems of their own (`type=tmpfs`, `nfs` …): where they are mounted.
//!
//! Nowhere on the host, but for those with a size (`sized.rs`): in each container that uses one, by its launcher. So nothing is left over
//! when a daemon dies, and the kernel unmounts with the last container. What a server or a block device
//! holds, every mount shows. A tmpfs is there only as long as it is mounted: so its first container
//! makes it, and others mount what a running container has (`/proc/PID/root/PLACE`), a daemon later
//! as well. A machine's tmpfs is in its own memory, and can't be shared.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use coracle_runtime::{Result, RuntimeError, Status};
use coracle_spec::{MountKind, ResolvedMount, VolumeBacking};
use tokio::sync::OwnedMutexGuard;

use super::{Volumes, disk};
use crate::container::record::MountRecord;
use crate::engine::Engine;
use crate::machine;

/// One lock for each volume in memory, and each server's disk: two containers that start at once make
/// one file system, and don't both have a disk.
pub(super) type Starting = Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>;

const TMPFS: &str = "tmpfs";

impl Volumes {
    /// Waits until no other container with the same volumes in memory, or disks, is starting.
    pub(crate) async fn mounting(&self, mounts: &[MountRecord]) -> Vec<OwnedMutexGuard<()>> {
        let volumes = mounts.iter().filter(|mount| mount.point.kind == "volume");
        let mut names: Vec<String> = volumes
            .filter_map(|mount| self.to_lock(&mount.point.name))
            .collect();
        // Always in the same order, so that no two wait for each other.
        names.sort();
        names.dedup();
        let mut guards = Vec::with_capacity(names.len());
        for name in names {
            let lock = {
                let mut starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
                starting.entry(name).or_default().clone()
            };
            guards.push(lock.lock_owned().await);
        }
        guards
    }

    /// What stands for a volume that one container at a time may start with. Names of volumes have no
    /// colon, which disks have.
    fn to_lock(&self, name: &str) -> Option<String> {
        match self.backing(name).ok()? {
            VolumeBacking::FileSystem { kind, .. } if kind == TMPFS => Some(name.to_owned()),
            VolumeBacking::Disk { uri, .. } => Some(uri.to_string()),
            _ => None,
        }
    }
}

/// The mount of a volume in a container that is about to start.
pub(crate) fn mount(
    engine: &Engine,
    container: &str,
    mount: &MountRecord,
) -> Result<ResolvedMount> {
    let point = &mount.point;
    let resolved = |kind, source: PathBuf, read_only: bool| ResolvedMount {
        kind,
        source,
        subpath: mount.subpath.clone(),
        destination: PathBuf::from(&point.destination),
        read_only: read_only || !point.rw,
    };
    match engine.volumes.backing(&point.name)? {
        VolumeBacking::Directory | VolumeBacking::Sized { .. } => {
            // For the message: the launcher finds it again, and just as safely.
            engine.volumes.open_part(&point.name, &mount.subpath)?;
            let kind = bind(point.propagation.clone(), !mount.non_recursive);
            Ok(resolved(
                kind,
                engine.volumes.directory(&point.name)?,
                false,
            ))
        }
        VolumeBacking::Bind {
            read_only,
            recursive,
            propagation,
            ..
        } => {
            engine.volumes.open_part(&point.name, &mount.subpath)?;
            let directory = engine.volumes.directory(&point.name)?;
            Ok(resolved(bind(propagation, recursive), directory, read_only))
        }
        VolumeBacking::FileSystem {
            kind,
            device,
            options,
        } => {
            refuse_subpath(mount, &kind)?;
            let is_memory = kind == TMPFS;
            if is_memory && let Some(source) = found(engine, container, mount)? {
                return Ok(resolved(bind(String::new(), false), source, false));
            }
            let kind = MountKind::FileSystem {
                kind,
                options,
                // By the host's network, and with its sight of devices.
                by_host: !is_memory,
            };
            Ok(resolved(kind, device.into(), false))
        }
        VolumeBacking::Disk {
            uri,
            kind,
            mut options,
            read_only,
        } => {
            refuse_subpath(mount, &kind)?;
            disk::check_free(engine, container, mount, &uri, read_only)?;
            options.extend(read_only.then(|| "ro".to_owned()));
            let kind = MountKind::Disk { kind, options };
            Ok(resolved(kind, uri.to_string().into(), read_only))
        }
    }
}

fn refuse_subpath(mount: &MountRecord, kind: &str) -> Result<()> {
    if mount.subpath.is_empty() {
        return Ok(());
    }
    Err(RuntimeError::InvalidArgument(format!(
        "volume-subpath of volume {} is not supported: it is of type {kind}",
        mount.point.name
    )))
}

fn bind(propagation: String, recursive: bool) -> MountKind {
    MountKind::Bind {
        propagation,
        recursive,
        recursive_read_only: None,
    }
}

/// Where a running container has a volume in memory mounted.
fn found(engine: &Engine, container: &str, wanted: &MountRecord) -> Result<Option<PathBuf>> {
    let name = &wanted.point.name;
    let mut obstacle = None;
    for handle in engine.containers.all() {
        let now = handle.now();
        let state = &now.container.state;
        let runs = matches!(state.status, Status::Running | Status::Paused) && state.pid > 0;
        if !runs || &*handle.id == container {
            continue;
        }
        let mounts = now.record.mounts.iter();
        let mut mounts = mounts.filter(|mount| mount.point.name == *name);
        let Some(mount) = mounts.next() else {
            continue;
        };
        let who = &now.record.name;
        if machine::is_machine(&now.record.host_config) {
            obstacle = Some(format!(
                "in the memory of the virtual machine of container {who}"
            ));
        } else if wanted.point.rw && !mount.point.rw {
            obstacle = Some(format!("mounted read-only by container {who}"));
        } else {
            let place = mount.point.destination.trim_start_matches('/');
            return Ok(Some(format!("/proc/{}/root/{place}", state.pid).into()));
        }
    }
    match obstacle {
        None => Ok(None),
        Some(why) => Err(RuntimeError::InvalidState(format!(
            "volume {name} of type tmpfs can't be shared: it is {why}"
        ))),
    }
}
