//! `docker update` of a machine that runs: the guest's limits, and the machine around them.

use std::sync::atomic::Ordering;

use coracle_cgroup::Cgroup;
use coracle_guest::Agent;
use coracle_task::ErrorKind;
use coracle_task::MachineConfig;
use oci_spec::runtime::LinuxResources;

use super::Running;
use super::cgroup;
use super::from_guest;
use super::machine;
use super::pod;
use crate::Result;
use crate::SandboxError;

/// The least memory that a machine is shrunk to, bytes.
const LEAST: u64 = 256 << 20;

/// What a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    /// Bytes.
    memory: u64,
    /// Processors that are used.
    cpus: u32,
}

impl Size {
    /// The larger of each.
    fn most(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            cpus: self.cpus.max(other.cpus),
        }
    }
}

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
        return update_member(running, id, config, *memory, resources).await;
    }
    let before = Size {
        memory: *memory,
        cpus: running.cpus.load(Ordering::Relaxed),
    };
    let wanted = Size {
        memory: match limit(resources) {
            Some(limit) => limit.saturating_add(config.overhead).max(LEAST),
            None => before.memory,
        },
        cpus: cpus(config, resources)?.unwrap_or(before.cpus),
    };
    // What one container needs less of is not taken from the others.
    let wanted = match running.pod.as_ref().is_some_and(|pod| pod.has_members()) {
        true => wanted.most(before),
        false => wanted,
    };
    let larger = wanted.most(before);
    grow(running, config, cgroup, before, larger).await?;
    if let Err(error) = running.agent.update(id, resources).await {
        shrink(running, config, cgroup, larger, before).await;
        return Err(from_guest(error));
    }
    shrink(running, config, cgroup, larger, wanted).await;
    *memory = wanted.memory;
    running.cpus.store(wanted.cpus, Ordering::Relaxed);
    Ok(())
}

/// The same in another's machine, which keeps its memory, but gets more processors.
async fn update_member(
    running: &Running,
    id: &str,
    config: &MachineConfig,
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
    if let Some(wanted) = processors(resources) {
        pod::grow(&config.pod, id, wanted).await?;
    }
    let updated = running.agent.update(id, resources).await;
    updated.map_err(from_guest)
}

/// Gives a machine processors for a container that has joined it, if it has fewer.
pub(crate) async fn grow_for_member(
    owner: &pod::Owner,
    cgroup: Option<&Cgroup>,
    wanted: u32,
) -> Result<()> {
    let memory = owner.memory.lock().await;
    let before = owner.cpus.load(Ordering::Relaxed);
    if wanted <= before {
        return Ok(());
    }
    refuse_more(&owner.config, wanted)?;
    let size = |cpus| Size {
        memory: *memory,
        cpus,
    };
    limit_host(&owner.config, cgroup, size(wanted)).await?;
    if let Err(error) = set_cpus(&owner.agent, wanted).await {
        if let Err(error) = limit_host(&owner.config, cgroup, size(before)).await {
            machine::complain(&error);
        }
        return Err(error);
    }
    owner.cpus.store(wanted, Ordering::Relaxed);
    Ok(())
}

/// Gives the machine more, and its VMM as much of this host's. On an error it has what it had.
async fn grow(
    running: &Running,
    config: &MachineConfig,
    cgroup: Option<&Cgroup>,
    before: Size,
    wanted: Size,
) -> Result<()> {
    if wanted == before {
        return Ok(());
    }
    limit_host(config, cgroup, wanted).await?;
    let grown = async {
        if wanted.memory > before.memory {
            set_memory(running, wanted.memory).await?;
        }
        if wanted.cpus > before.cpus {
            set_cpus(&running.agent, wanted.cpus).await?;
        }
        Ok(())
    };
    let grown = grown.await;
    if grown.is_err() {
        shrink(running, config, cgroup, wanted, before).await;
    }
    grown
}

/// Takes what isn't needed any more. What the guest doesn't give back its container still can't use:
/// its own limits hold.
async fn shrink(
    running: &Running,
    config: &MachineConfig,
    cgroup: Option<&Cgroup>,
    before: Size,
    wanted: Size,
) {
    if wanted == before {
        return;
    }
    let mut done = Vec::new();
    if wanted.memory < before.memory {
        done.push(set_memory(running, wanted.memory).await);
    }
    if wanted.cpus < before.cpus {
        done.push(set_cpus(&running.agent, wanted.cpus).await);
    }
    if done.iter().all(Result::is_ok) {
        done.push(limit_host(config, cgroup, wanted).await);
    }
    for error in done.into_iter().filter_map(Result::err) {
        machine::complain(&error);
    }
}

async fn limit_host(config: &MachineConfig, cgroup: Option<&Cgroup>, size: Size) -> Result<()> {
    let Some(cgroup) = cgroup else {
        return Ok(());
    };
    // The memory that it started with it may keep using.
    let memory = size.memory.max(config.memory);
    let memory = memory.saturating_add(config.code_cache);
    cgroup::limit(cgroup.clone(), memory, size.cpus).await
}

async fn set_memory(running: &Running, bytes: u64) -> Result<()> {
    let set = running.machine.set_memory(bytes).await;
    set.map_err(|error| {
        let message = format!("cannot give the virtual machine {bytes} bytes of memory: {error}");
        SandboxError::new(ErrorKind::Unsupported, message)
    })
}

async fn set_cpus(agent: &Agent, cpus: u32) -> Result<()> {
    let set = agent.set_processors(cpus).await;
    set.map_err(|error| {
        let message = format!("cannot give the virtual machine {cpus} processors: {error}");
        SandboxError::new(ErrorKind::Unsupported, message)
    })
}

/// The container's limit, if it has one.
fn limit(resources: &LinuxResources) -> Option<u64> {
    let limit = resources.memory().as_ref()?.limit()?;
    u64::try_from(limit).ok().filter(|limit| *limit > 0)
}

/// How many processors its limit needs, if it has one; refuses more than the machine can be given.
fn cpus(config: &MachineConfig, resources: &LinuxResources) -> Result<Option<u32>> {
    let wanted = processors(resources);
    if let Some(wanted) = wanted {
        refuse_more(config, wanted)?;
    }
    Ok(wanted)
}

/// How many of this host's processors a limit needs, if there is one.
pub(crate) fn processors(resources: &LinuxResources) -> Option<u32> {
    let cpu = resources.cpu().as_ref()?;
    let quota = u64::try_from(cpu.quota()?)
        .ok()
        .filter(|quota| *quota > 0)?;
    let period = cpu.period().unwrap_or(100_000).max(1);
    let host = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = quota.div_ceil(period).min(host as u64);
    Some(u32::try_from(wanted).unwrap_or(u32::MAX))
}

/// How many processors a machine can be given while it runs.
pub(crate) fn most(config: &MachineConfig) -> u32 {
    config.max_cpus.max(config.cpus)
}

fn refuse_more(config: &MachineConfig, wanted: u32) -> Result<()> {
    let most = most(config);
    if wanted <= most {
        return Ok(());
    }
    let message = format!(
        "the virtual machine gets no more than {most} processors while it runs: stop the container, \
         update it, and start it again"
    );
    Err(SandboxError::new(ErrorKind::Unsupported, message))
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
