//! The control group that a machine's VMM is in. The container's own limits are the guest's to keep;
//! what is limited here is the VMM, to what a machine of its size can use.

use std::time::Duration;

use coracle_cgroup::Cgroup;
use coracle_cgroup::Hierarchy;
use coracle_task::TaskConfig;
use oci_spec::runtime::LinuxCpu;
use oci_spec::runtime::LinuxMemory;
use oci_spec::runtime::LinuxPids;
use oci_spec::runtime::LinuxResources;

use crate::Result;
use crate::blocking::blocking;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Memory of the VMM's own, bytes, beside the machine's and translated code: what is known of that code,
/// and devices.
const OVERHEAD: u64 = 384 << 20;

/// Threads of the VMM's own beside those of its processors: 64 for files, and some more.
const THREADS: i64 = 128;

/// Makes it; for a machine that serves files alone, beside the container's.
pub(crate) async fn make(task: &TaskConfig, memory: u64, cpus: u32, whole: bool) -> Result<Cgroup> {
    let parent = task.cgroup_parent.clone();
    let name = match whole {
        true => task.cgroup_name.clone(),
        false => format!("{}-files", task.cgroup_name),
    };
    blocking(move || create(&parent, &name, memory, cpus)).await
}

fn create(
    parent: &str,
    name: &str,
    memory: u64,
    cpus: u32,
) -> Result<Cgroup, coracle_cgroup::Error> {
    let hierarchy = Hierarchy::host()?;
    let limits = limits(&hierarchy, memory, cpus);
    if !hierarchy.rootless() {
        return Cgroup::create(&hierarchy, parent, name, &limits);
    }
    let cgroup = Cgroup::create(&hierarchy, parent, name, &LinuxResources::default())?;
    match delegated(&cgroup, &limits) {
        Ok(()) => Ok(cgroup),
        Err(error) => {
            let _the_first_error_counts = cgroup.delete();
            Err(error)
        }
    }
}

/// Limits the VMM to that of a machine of another size.
pub(crate) async fn limit(cgroup: Cgroup, memory: u64, cpus: u32) -> Result<()> {
    blocking(move || {
        let hierarchy = Hierarchy::host()?;
        let limits = limits(&hierarchy, memory, cpus);
        match hierarchy.rootless() {
            true => delegated(&cgroup, &limits),
            false => cgroup.update(&limits),
        }
    })
    .await
}

/// Sets those limits that an ordinary user can: of the controllers that were delegated, which may be
/// none. The machine itself is a limit without them.
fn delegated(cgroup: &Cgroup, limits: &LinuxResources) -> Result<(), coracle_cgroup::Error> {
    for number in 0..3 {
        let mut limits = limits.clone();
        if number != 0 {
            limits.set_memory(None);
        }
        if number != 1 {
            limits.set_cpu(None);
        }
        if number != 2 {
            limits.set_pids(None);
        }
        match cgroup.update(&limits) {
            Err(coracle_cgroup::Error::Unavailable { .. }) => {}
            set => set?,
        }
    }
    Ok(())
}

/// Makes one for a machine that others are in after its container's end, and puts the VMM there.
pub(crate) async fn make_pod(
    task: &TaskConfig,
    memory: u64,
    cpus: u32,
    vmm: i32,
) -> Result<Cgroup> {
    let parent = task.cgroup_parent.clone();
    // The container may have left one behind already.
    let name = format!("{}-pod-{vmm}", task.cgroup_name);
    blocking(move || {
        let cgroup = create(&parent, &name, memory, cpus)?;
        match cgroup.add(vmm) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                let _the_first_error_counts = cgroup.delete();
                Err(error)
            }
        }
    })
    .await
}

/// What the VMM of a machine may use, as far as this host can limit it.
fn limits(hierarchy: &Hierarchy, memory: u64, cpus: u32) -> LinuxResources {
    const PERIOD: u64 = 100_000;
    let controllers = hierarchy.controllers();
    let has = |name: &str| controllers.iter().any(|controller| controller == name);
    let mut limits = LinuxResources::default();
    // `None` stands for what this host doesn't limit.
    limits.set_memory(has("memory").then(|| {
        let mut limit = LinuxMemory::default();
        limit.set_limit(i64::try_from(memory.saturating_add(OVERHEAD)).ok());
        // A machine that shrinks is not killed for what its guest is about to give back.
        limit.set_check_before_update(Some(true));
        limit
    }));
    limits.set_cpu(has("cpu").then(|| {
        let mut limit = LinuxCpu::default();
        // One more, for disks, network cards and the console.
        limit.set_quota(i64::try_from((u64::from(cpus) + 1) * PERIOD).ok());
        limit.set_period(Some(PERIOD));
        limit
    }));
    limits.set_pids(has("pids").then(|| {
        let mut limit = LinuxPids::default();
        limit.set_limit(i64::from(cpus) + THREADS);
        limit
    }));
    limits
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
