//! What all parts of the runtime share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use coracle_runtime::event::{EventBus, EventKind};
use coracle_runtime::{Result, RuntimeError, Status};

use crate::config::Config;
use crate::container::exec::Execs;
use crate::container::handle::Handle;
use crate::container::names::Containers;
use crate::container::record::{Dirs, Record};
use crate::images::Images;
use crate::machine::{self, Machines};
use crate::networks::Networking;
use crate::reaper::Reaper;
use crate::secrets::Secrets;
use crate::snapshots::Snapshots;
use crate::volumes::Volumes;

/// How long processes may take to die.
const KILL_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

pub(crate) struct Engine {
    pub(crate) id: String,
    pub(crate) config: Config,
    pub(crate) events: EventBus,
    pub(crate) reaper: Reaper,
    pub(crate) containers: Arc<Containers>,
    pub(crate) execs: Execs,
    pub(crate) images: Images,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) networks: Networking,
    pub(crate) volumes: Volumes,
    pub(crate) secrets: Secrets,
    pub(crate) machines: Machines,
}

impl Engine {
    pub(crate) fn dirs(&self, id: &str) -> Dirs {
        Dirs::new(&self.config.data_root, &self.config.exec_root, id)
    }

    pub(crate) fn find(&self, name: &str) -> Result<Handle> {
        self.containers.find(name)
    }

    pub(crate) fn handle(&self, id: &str) -> Option<Handle> {
        self.containers.get(id)
    }

    /// The first process of a running container, to share its namespaces.
    pub(crate) fn running_pid(&self, name: &str, namespace: &str) -> Result<i32> {
        running_pid(&self.containers, name, |id| {
            format!("failed to join {namespace} namespace: container {id} is not running")
        })
    }

    pub(crate) fn hostname(&self) -> String {
        crate::host::uname()[2].clone()
    }

    /// The control group above a container's.
    pub(crate) fn cgroup_parent(&self, record: &Record) -> String {
        match record.host_config.cgroup_parent.as_str() {
            "" => self.config.cgroup_parent.clone(),
            own if own.starts_with('/') => own.to_owned(),
            own => format!("/{own}"),
        }
    }

    /// Removes what a shim that was killed could not, processes included.
    pub(crate) async fn remove_cgroup(&self, record: &Record) {
        self.remove_cgroup_of(&self.cgroup_parent(record), &record.id)
            .await;
    }

    /// The same, of a container that is known by its id alone.
    pub(crate) async fn remove_cgroup_of(&self, parent: &str, id: &str) {
        let (parent, name) = (parent.to_owned(), id.to_owned());
        let result = tokio::task::spawn_blocking(move || {
            let hierarchy = coracle_cgroup::Hierarchy::host()?;
            let cgroup = coracle_cgroup::Cgroup::open(&hierarchy, &parent, &name)?;
            cgroup.kill(KILL_PATIENCE)?;
            cgroup.delete()
        })
        .await;
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(container = id, %error, "cannot remove the control groups");
            }
            Err(error) => tracing::warn!(container = id, %error, "removal interrupted"),
        }
    }

    pub(crate) fn emit_volume(&self, action: &str, name: &str) {
        let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        self.events
            .publish(EventKind::Volume, action, name, attributes);
    }

    pub(crate) fn emit_image(&self, action: &str, id: &str, name: &str) {
        let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
        self.events
            .publish(EventKind::Image, action, id, attributes);
    }
}

/// The network namespace of a running container, which another is to join.
pub(crate) fn network_namespace(
    containers: &Containers,
    record: &Record,
    name: &str,
) -> Result<PathBuf> {
    machine::pod::check(containers, record, name)?;
    if machine::is_machine(&record.host_config) {
        return Ok(crate::networks::GUEST.into());
    }
    let pid = running_pid(containers, name, |id| {
        format!("cannot join network of a non running container: {id}")
    })?;
    Ok(PathBuf::from(format!("/proc/{pid}/ns/net")))
}

/// The process of a container that another one is to share something with. Docker's texts differ by what.
fn running_pid(
    containers: &Containers,
    name: &str,
    not_running: impl FnOnce(&str) -> String,
) -> Result<i32> {
    let handle = containers.find(name)?;
    let state = &handle.now().container.state;
    match (state.status, state.pid) {
        (Status::Running | Status::Paused, pid) if pid > 0 => Ok(pid),
        (Status::Restarting, _) => Err(RuntimeError::InvalidState(format!(
            "container {} is restarting, wait until the container is running",
            handle.id
        ))),
        _ => Err(RuntimeError::InvalidState(not_running(&handle.id))),
    }
}
