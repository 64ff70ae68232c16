//! `docker update` of a machine that runs: the guest's limits, and the machine around them.

use coracle_cgroup::Cgroup;
use coracle_task::ErrorKind;
use coracle_task::MachineConfig;
use oci_spec::runtime::LinuxResources;

use super::Running;
use super::cgroup;
use super::from_guest;
use crate::Result;
use crate::SandboxError;

/// The least memory that a machine is shrunk to, bytes.
const LEAST: u64 = 256 << 20;

/// Applies a container's new limits. Room is made before a limit that needs it, and taken away after
/// one that doesn't any more.
pub(crate) async fn update(
    running: &Running,
    id: &str,
    config: &MachineConfig,
    cgroup: Option<&Cgroup>,
    resources: &LinuxResources,
) -> Result<()> {
    let mut memory = running.memory.lock().await;
    if running.is_member {
        return update_member(running, id, *memory, resources).await;
    }
    check_cpus(config, resources)?;
    let wanted = match limit(resources) {
        Some(limit) => limit.saturating_add(config.overhead).max(LEAST),
        None => *memory,
    };
    // What one container needs less of is not taken from the others.
    let wanted = match running.pod.as_ref().is_some_and(|pod| pod.has_members()) {
        true => wanted.max(*memory),
        false => wanted,
    };
    let before = *memory;
    if wanted > before {
        set(running, config, cgroup, before, wanted).await?;
        *memory = wanted;
    }
    if let Err(error) = running.agent.update(id, resources).await {
        if wanted > before {
            let _the_first_error_counts = set(running, config, cgroup, wanted, before).await;
            *memory = before;
        }
        return Err(from_guest(error));
    }
    if wanted < before {
        set(running, config, cgroup, before, wanted).await?;
        *memory = wanted;
    }
    Ok(())
}

/// The same in another's machine, which stays as it is.
async fn update_member(
    running: &Running,
    id: &str,
    memory: u64,
    resources: &LinuxResources,
) -> Result<()> {
    if limit(resources).is_some_and(|limit| limit > memory) {
        let message = format!(
            "the virtual machine that the container has joined has {memory} bytes of memory: update the \
             container whose machine it is first, and start this one again"
        );
        return Err(SandboxError::new(ErrorKind::Unsupported, message));
    }
    let updated = running.agent.update(id, resources).await;
    updated.map_err(from_guest)
}

/// Gives the machine so much memory, and its VMM as much of this host's. On an error it has what it had.
async fn set(
    running: &Running,
    config: &MachineConfig,
    cgroup: Option<&Cgroup>,
    before: u64,
    bytes: u64,
) -> Result<()> {
    // What it started with it may keep using.
    let host = async |bytes: u64| match cgroup {
        Some(cgroup) => cgroup::limit(cgroup.clone(), bytes.max(config.memory), config.cpus).await,
        None => Ok(()),
    };
    if bytes > before {
        host(bytes).await?;
    }
    let set = running.machine.set_memory(bytes).await;
    if bytes < before || set.is_err() {
        host(if set.is_ok() { bytes } else { before }).await?;
    }
    set.map_err(|error| {
        let message = format!("cannot give the virtual machine {bytes} bytes of memory: {error}");
        SandboxError::new(ErrorKind::Unsupported, message)
    })
}

/// The container's limit, if it has one.
fn limit(resources: &LinuxResources) -> Option<u64> {
    let limit = resources.memory().as_ref()?.limit()?;
    u64::try_from(limit).ok().filter(|limit| *limit > 0)
}

/// Refuses more processors than the machine has, unless the host has no more either.
fn check_cpus(config: &MachineConfig, resources: &LinuxResources) -> Result<()> {
    let cpu = resources.cpu().as_ref();
    let quota = cpu.and_then(|cpu| cpu.quota()).unwrap_or_default();
    let period = cpu.and_then(|cpu| cpu.period()).unwrap_or(100_000).max(1);
    let wanted = u64::try_from(quota).map_or(0, |quota| quota.div_ceil(period));
    let host = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = wanted.min(host as u64);
    if wanted > u64::from(config.cpus) {
        let message = format!(
            "the virtual machine has {} processors, and gets no more while it runs: stop the container, \
             update it, and start it again",
            config.cpus
        );
        return Err(SandboxError::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxMemory;

    use super::*;

    #[test]
    fn no_limit_and_the_largest_are_none() {
        let of = |bytes: Option<i64>| {
            let mut memory = LinuxMemory::default();
            memory.set_limit(bytes);
            let mut resources = LinuxResources::default();
            resources.set_memory(Some(memory));
            limit(&resources)
        };
        assert_eq!(limit(&LinuxResources::default()), None);
        assert_eq!(of(None), None);
        assert_eq!(of(Some(-1)), None);
        assert_eq!(of(Some(4096)), Some(4096));
    }
}
