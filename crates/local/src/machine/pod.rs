//! Containers in another's machine (`--network container:NAME`).
//!
//! Which machine that is, is known by a socket in the other's bundle: its own shim's, or, of one that has
//! joined a machine itself, another name of that machine's.

use std::path::{Path, PathBuf};

use coracle_runtime::spec::HostConfig;
use coracle_runtime::{Result, RuntimeError, Status};

use super::is_machine;
use crate::container::handle::Handle;
use crate::container::names::Containers;
use crate::container::record::{Dirs, Record};
use crate::engine::Engine;

/// The socket's name in a bundle.
const SOCKET: &str = "pod.sock";

/// The socket by which a container's machine is joined.
pub(crate) fn socket(bundle: &Path) -> PathBuf {
    bundle.join(SOCKET)
}

/// The container whose machine another is to join.
pub(crate) fn joined(host_config: &HostConfig) -> Option<&str> {
    host_config.network_mode.strip_prefix("container:")
}

/// The runtime of the container whose network another is to join; empty if it is to join none.
pub(crate) fn runtime_of_joined(engine: &Engine, host_config: &HostConfig) -> String {
    let other = joined(host_config).and_then(|name| engine.find(name).ok());
    other
        .map(|other| other.now().record.host_config.runtime.clone())
        .unwrap_or_default()
}

/// The socket of the machine that a container is to join, if it is to join one.
pub(crate) fn to_join(engine: &Engine, record: &Record) -> Result<Option<PathBuf>> {
    let Some(name) = joined(&record.host_config) else {
        return Ok(None);
    };
    let other = engine.find(name)?;
    Ok(Some(socket(&other.dirs.bundle)))
}

/// Refuses to join the network of a container that does not run, or of one of another kind.
pub(crate) fn check(containers: &Containers, record: &Record, name: &str) -> Result<()> {
    let other = containers.find(name)?;
    check_kind(record, &other)?;
    match other.now().container.state.status {
        Status::Running | Status::Paused => Ok(()),
        Status::Restarting => Err(RuntimeError::InvalidState(format!(
            "container {} is restarting, wait until the container is running",
            other.id
        ))),
        _ => Err(RuntimeError::InvalidState(format!(
            "cannot join network of a non running container: {}",
            other.id
        ))),
    }
}

/// Refuses to join what has another kernel.
pub(crate) fn check_kind(record: &Record, other: &Handle) -> Result<()> {
    let kind = |host_config: &HostConfig| match is_machine(host_config) {
        true => super::RUNTIME,
        false => super::PROCESS,
    };
    let own = kind(&record.host_config);
    let others = kind(&other.now().record.host_config);
    if own == others {
        return Ok(());
    }
    Err(RuntimeError::InvalidArgument(format!(
        "container {} has the runtime \"{others}\", and shares nothing with one of the runtime \
         \"{own}\": they have different kernels; use --runtime {others}",
        other.name()
    )))
}

/// The container whose network files one has that joins another's network, whatever that one joins.
pub(crate) fn files(engine: &Engine, record: &Record) -> Dirs {
    /// How many can join each other in a row. No ring can be made, but records are only files.
    const MOST: usize = 64;
    let mut dirs = engine.dirs(&record.id);
    let mut next = joined(&record.host_config).map(str::to_owned);
    for _ in 0..MOST {
        let Some(name) = next else { break };
        let Ok(other) = engine.find(&name) else {
            // Removed, and its files with it.
            dirs = engine.dirs(&name);
            break;
        };
        dirs = engine.dirs(&other.id);
        next = joined(&other.now().record.host_config).map(str::to_owned);
    }
    dirs
}

/// Where the guest has what belongs to the first process of another container in its machine
/// (`coracle_task::MachineConfig::join`).
pub(crate) fn place(engine: &Engine, record: &Record, name: &str) -> Result<PathBuf> {
    let other = engine.find(name)?;
    check_kind(record, &other)?;
    Ok(Path::new("/proc").join(&*other.id))
}

/// Removes the control groups of machines whose owners ended before them and whose shims were killed
/// then (`<container>-pod-<VMM>`). Those that somebody is in stay.
pub(crate) fn clear(parent: &str) -> std::result::Result<(), coracle_cgroup::Error> {
    let hierarchy = coracle_cgroup::Hierarchy::host()?;
    for name in hierarchy.children(parent)? {
        let is_pods = |(id, vmm): (&str, &str)| id.len() == 64 && vmm.parse::<u32>().is_ok();
        if name.split_once("-pod-").is_some_and(is_pods) {
            let cgroup = coracle_cgroup::Cgroup::open(&hierarchy, parent, &name)?;
            if cgroup.pids()?.is_empty() {
                cgroup.delete()?;
            }
        }
    }
    Ok(())
}

/// A container by itself, as far as its files go.
pub(crate) fn apart(record: &Record) -> Record {
    let mut record = record.clone();
    record.host_config.network_mode = "none".into();
    record.host_config.pid_mode.clear();
    record.host_config.ipc_mode = "private".into();
    record
}
