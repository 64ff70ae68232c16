//! `docker update` of a machine that runs, and who joins one: the guest's limits, and the machine around them.

use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use coracle_guest::Agent;
use coracle_task::ErrorKind;
use coracle_task::MachineConfig;
use oci_spec::runtime::LinuxResources;

use super::Running;
use super::cgroup;
use super::from_guest;
use super::machine;
use super::pod;
use super::pod::Owner;
use super::room::Claim;
use super::room::Room;
use super::room::Size;
use crate::Result;
use crate::SandboxError;

/// How often it is tried to limit the VMM to less, while the guest gives back what it had.
const TRIES: u32 = 30;
/// How long before the next.
const PAUSE: Duration = Duration::from_secs(1);

/// A container that asks for room in another's machine.
pub(crate) struct Guest<'a> {
    pub(crate) container: &'a str,
    /// Its memory limit in bytes, if it has one.
    pub(crate) memory: Option<u64>,
    /// The processors that its limit needs.
    pub(crate) cpus: Option<u32>,
}

/// Applies a container's new limits. Room is made before a limit that needs it, and taken away after
/// one that doesn't any more.
pub(crate) async fn update(
    running: &Running,
    id: &str,
    config: &MachineConfig,
    resources: &LinuxResources,
) -> Result<()> {
    if running.is_member {
        return update_member(running, id, config, resources).await;
    }
    let Some(pod) = &running.pod else {
        return Err(SandboxError::state("the container is not running"));
    };
    let owner = pod.owner();
    let mut room = owner.room.lock().await;
    let mut after = room.clone();
    let before = room.size;
    let limit = limit(resources);
    let changes = after.set_own(limit);
    let least = limit.map_or(0, |limit| room.alone(limit));
    let wanted = Size {
        memory: match changes {
            true => after.needed(least),
            false => before.memory,
        },
        cpus: cpus(config, resources)?.unwrap_or(before.cpus),
    };
    // One container's need is not known to be all of them's.
    let wanted = match pod.has_members() {
        true => Size {
            cpus: wanted.cpus.max(before.cpus),
            ..wanted
        },
        false => wanted,
    };
    let larger = grow(owner, before, wanted.most(before), least).await?;
    if let Err(error) = running.agent.update(id, resources).await {
        shrink(owner, larger, before).await;
        return Err(from_guest(error));
    }
    after.has(larger, wanted.memory);
    after.size = Size {
        memory: wanted.memory.min(larger.memory),
        ..wanted
    };
    shrink(owner, larger, after.size).await;
    *room = after;
    Ok(())
}

/// The same in another's machine: its owner makes the room, and is told whether it is used.
async fn update_member(
    running: &Running,
    id: &str,
    config: &MachineConfig,
    resources: &LinuxResources,
) -> Result<()> {
    let guest = Guest {
        container: id,
        memory: limit(resources),
        cpus: processors(resources),
    };
    let grown = pod::grow(&config.pod, &guest).await?;
    let updated = running.agent.update(id, resources).await;
    grown.end(updated.is_ok()).await;
    updated.map_err(from_guest)
}

/// Makes room for a container that joins under this number. Where the limits of all are more than the
/// machine can be given, and where it gets no more processors, it has what there is.
pub(crate) async fn enter(owner: &Arc<Owner>, number: u32, guest: &Guest<'_>) -> Result<()> {
    let mut room = owner.room.lock().await;
    let mut after = room.clone();
    after.join(number, guest.container, guest.memory);
    let before = room.size;
    let least = guest.memory.unwrap_or_default();
    let wanted = Size {
        memory: after.needed(least),
        ..before
    };
    let size = grow(owner, before, wanted.most(before), least).await?;
    after.has(size, wanted.memory);
    let cpus = guest.cpus.unwrap_or_default().min(most(&owner.config));
    let wanted = Size {
        cpus: cpus.max(before.cpus),
        ..after.size
    };
    match grow(owner, after.size, wanted, 0).await {
        Ok(size) => after.size = size,
        Err(error) => machine::complain(&error),
    }
    *room = after;
    Ok(())
}

/// Takes away what only one who has left needed of the machine's memory. Processors it keeps.
pub(crate) async fn leave(owner: &Arc<Owner>, number: u32) {
    let mut room = owner.room.lock().await;
    room.leave(number);
    settle(owner, &mut room).await;
}

/// The same when its own container has ended, and others are in.
pub(crate) async fn own_ended(owner: &Arc<Owner>) {
    let mut room = owner.room.lock().await;
    room.own_ended();
    settle(owner, &mut room).await;
}

/// Another limit of a member, until it is known whether the guest has it.
pub(crate) struct Change {
    number: u32,
    before: Claim,
    after: Claim,
}

/// Makes room for another limit of a member.
pub(crate) async fn begin_change(owner: &Arc<Owner>, guest: &Guest<'_>) -> Result<Change> {
    let mut room = owner.room.lock().await;
    let Some((number, before, after)) = room.member(guest.container, guest.memory) else {
        return Err(SandboxError::state("the container is not running"));
    };
    let has = room.size;
    let mut both = room.clone();
    both.set_member(number, before.or(after));
    let least = guest.memory.unwrap_or_default();
    let cpus = guest.cpus.unwrap_or_default().max(has.cpus);
    if cpus > has.cpus {
        refuse_more(&owner.config, cpus)?;
    }
    let memory = match before == after {
        true => has.memory,
        false => both.needed(least),
    };
    let wanted = Size { memory, cpus }.most(has);
    let size = grow(owner, has, wanted, least).await?;
    both.has(size, wanted.memory);
    *room = both;
    Ok(Change {
        number,
        before,
        after,
    })
}

/// Takes away what isn't needed, now that the guest has a limit, or doesn't.
pub(crate) async fn end_change(owner: &Arc<Owner>, change: &Change, is_applied: bool) {
    let mut room = owner.room.lock().await;
    let claim = match is_applied {
        true => change.after,
        false => change.before,
    };
    room.set_member(change.number, claim);
    settle(owner, &mut room).await;
}

/// Takes away memory that nobody claims.
async fn settle(owner: &Arc<Owner>, room: &mut Room) {
    let wanted = Size {
        memory: room.needed(0).min(room.size.memory),
        ..room.size
    };
    shrink(owner, room.size, wanted).await;
    room.size = wanted;
}

/// Gives the machine more, and its VMM as much of this host's; tells what it has. If it doesn't get the
/// memory it goes on with what it has, where that is no less than `least`. On an error it has what it had.
async fn grow(owner: &Arc<Owner>, before: Size, wanted: Size, least: u64) -> Result<Size> {
    let error = match try_to_grow(owner, before, wanted).await {
        Ok(()) => return Ok(wanted),
        Err(error) => error,
    };
    if wanted.memory == before.memory || before.memory < least {
        return Err(error);
    }
    machine::complain(&error);
    let wanted = Size {
        memory: before.memory,
        ..wanted
    };
    try_to_grow(owner, before, wanted).await.map(|()| wanted)
}

async fn try_to_grow(owner: &Arc<Owner>, before: Size, wanted: Size) -> Result<()> {
    if wanted == before {
        return Ok(());
    }
    limit_host(owner, wanted).await?;
    let grown = async {
        if wanted.memory > before.memory {
            set_memory(owner, wanted.memory).await?;
        }
        if wanted.cpus > before.cpus {
            set_cpus(&owner.agent, wanted.cpus).await?;
        }
        Ok(())
    };
    let grown = grown.await;
    if grown.is_err() {
        shrink(owner, wanted, before).await;
    }
    grown
}

/// Takes what isn't needed any more. What the guest doesn't give back its containers still can't use:
/// their own limits hold.
async fn shrink(owner: &Arc<Owner>, before: Size, wanted: Size) {
    if wanted == before {
        return;
    }
    let mut done = Vec::new();
    if wanted.memory < before.memory {
        done.push(set_memory(owner, wanted.memory).await);
    }
    if wanted.cpus < before.cpus {
        done.push(set_cpus(&owner.agent, wanted.cpus).await);
    }
    if done.iter().all(Result::is_ok) && limit_host(owner, wanted).await.is_err() {
        tokio::spawn(limit_later(Arc::downgrade(owner)));
    }
    for error in done.into_iter().filter_map(Result::err) {
        machine::complain(&error);
    }
}

/// Limits the VMM to its machine's size when the guest has given back what it used.
async fn limit_later(owner: Weak<Owner>) {
    for last in (0..TRIES).rev() {
        tokio::time::sleep(PAUSE).await;
        let Some(owner) = owner.upgrade() else {
            return;
        };
        let room = owner.room.lock().await;
        match limit_host(&owner, room.size).await {
            Ok(()) => return,
            Err(error) if last == 0 => machine::complain(&error),
            Err(_) => {}
        }
    }
}

async fn limit_host(owner: &Owner, size: Size) -> Result<()> {
    let Some(cgroup) = owner.cgroup() else {
        return Ok(());
    };
    // The memory that it started with it may keep using.
    let memory = size.memory.max(owner.config.memory);
    let memory = memory.saturating_add(owner.config.code_cache);
    cgroup::limit(cgroup, memory, size.cpus).await
}

async fn set_memory(owner: &Owner, bytes: u64) -> Result<()> {
    let set = owner.machine.set_memory(bytes).await;
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

/// A container's memory limit in bytes, if it has one.
pub(crate) fn limit(resources: &LinuxResources) -> Option<u64> {
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
