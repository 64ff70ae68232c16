//! The control group that a machine's VMM is in: without limits, as the container's own are the
//! guest's to keep, but found, counted and killed like any container's.

use std::time::Duration;

use coracle_cgroup::Cgroup;
use coracle_cgroup::Hierarchy;
use coracle_task::TaskConfig;
use oci_spec::runtime::LinuxResourcesBuilder;

use crate::Result;
use crate::SandboxError;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes it; for a machine that serves files alone, beside the container's.
pub(crate) async fn make(task: &TaskConfig, whole: bool) -> Result<Cgroup> {
    let parent = task.cgroup_parent.clone();
    let name = match whole {
        true => task.cgroup_name.clone(),
        false => format!("{}-files", task.cgroup_name),
    };
    blocking(move || {
        // No field of it has to be given.
        let none = LinuxResourcesBuilder::default().build().unwrap_or_default();
        Cgroup::create(&Hierarchy::host()?, &parent, &name, &none)
    })
    .await
}

/// Ends what is in it, and removes it.
pub(crate) async fn delete(cgroup: Cgroup) -> Result<()> {
    blocking(move || {
        if !cgroup.is_none() {
            cgroup.kill(PATIENCE)?;
        }
        cgroup.delete()
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, coracle_cgroup::Error> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| SandboxError::internal(error.to_string()))?
        .map_err(|error| SandboxError::internal(error.to_string()))
}
