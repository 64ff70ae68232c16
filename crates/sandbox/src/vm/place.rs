//! The machine that a container is in: its own, or another's that it joins. And how it is left.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use coracle_cgroup::Cgroup;
use coracle_guest::Agent;
use coracle_vmm::Machine;
use coracle_vmm::Slot;

use super::Running;
use super::Spare;
use super::VmSandbox;
use super::cgroup;
use super::from_guest;
use super::from_vmm;
use super::interfaces;
use super::machine;
use super::pod;
use super::pod::Owner;
use super::pod::Pod;
use super::resize;
use super::room::Room;
use super::volumes::Mounted;
use super::volumes::Volumes;
use crate::Result;
use crate::SandboxError;

/// How long a machine may take to write its disks when it ends.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// Where a container is.
pub(crate) struct Place {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) agent: Agent,
    /// The serials of the container's disks.
    pub(crate) image: String,
    pub(crate) layer: String,
    /// The container whose machine it is.
    pub(crate) owner: String,
    pub(crate) is_member: bool,
    /// The disks of servers that the machine has; its owner's.
    pub(crate) volumes: Option<Arc<Volumes>>,
    /// Where its owner has mounted those that a member wants.
    pub(crate) mounted: Vec<Mounted>,
}

impl Place {
    /// In a machine of one's own.
    pub(super) fn own(machine: Arc<dyn Machine>, agent: Agent, id: &str) -> Self {
        let volumes = Volumes::new(machine.clone(), agent.clone());
        Self {
            machine,
            agent,
            volumes: Some(Arc::new(volumes)),
            mounted: Vec::new(),
            image: Slot::Root.serial().into(),
            layer: Slot::Layer.serial().into(),
            owner: id.into(),
            is_member: false,
        }
    }
}

/// A machine whose own container has ended, and which others are in.
pub(crate) struct Kept {
    running: Running,
    cgroup: Option<Cgroup>,
    pod: Arc<Pod>,
}

impl VmSandbox {
    /// Joins another's machine.
    pub(super) async fn join(&self, socket: &std::path::Path) -> Result<Place> {
        let joined = pod::join(socket, &self.config, &self.machine).await?;
        Ok(Place {
            machine: joined.machine,
            agent: joined.agent,
            image: joined.image,
            layer: joined.layer,
            owner: joined.owner,
            is_member: true,
            volumes: None,
            mounted: joined.volumes,
        })
    }

    /// Starts a machine; `whole`: with network cards.
    pub(super) async fn found(&self, whole: bool) -> Result<Place> {
        let cgroups = self.make_cgroup(whole).await?;
        let started = machine::start(&self.config, &self.machine, &cgroups, whole).await;
        let (machine, agent) = started?;
        Ok(Place::own(machine, agent, &self.config.id))
    }

    /// Takes a machine that is there.
    pub(super) async fn take(&self, spare: Spare, whole: bool) -> Result<Place> {
        let cgroups = self.make_cgroup(whole).await?;
        let taken = spare.become_machine(&self.config, &self.machine, &cgroups, whole);
        let (machine, agent) = taken.await?;
        Ok(Place::own(machine, agent, &self.config.id))
    }

    /// Ends a machine that was taken, and what was made for it.
    pub(super) async fn give_up(&self) -> Result<()> {
        let (running, cgroup) = {
            let mut state = self.lock();
            (state.running.take(), state.cgroup.take())
        };
        if let Some(running) = running {
            running.machine.kill().await.map_err(from_vmm)?;
        }
        match cgroup {
            Some(cgroup) => cgroup::delete(cgroup).await,
            None => Ok(()),
        }
    }

    /// The control group of the machine, as its `cgroup.procs` files.
    async fn make_cgroup(&self, whole: bool) -> Result<Vec<PathBuf>> {
        let (machine, cpus) = (&self.machine, self.machine.cpus);
        let memory = machine.memory.saturating_add(machine.code_cache);
        let cgroup = cgroup::make(&self.config, memory, cpus, whole).await?;
        let files = cgroup.procs_paths();
        self.lock().cgroup = Some(cgroup);
        Ok(files)
    }

    /// Lets others join.
    pub(super) fn open_pod(&self, place: &Place, volumes: Arc<Volumes>) -> Result<Arc<Pod>> {
        let linux = self.config.spec.linux().as_ref();
        let limits = linux.and_then(|linux| linux.resources().as_ref());
        let room = Room::new(&self.machine, limits.and_then(resize::limit));
        let owner = pod::Owner {
            volumes,
            container: self.config.id.clone(),
            machine: place.machine.clone(),
            agent: place.agent.clone(),
            room: tokio::sync::Mutex::new(room),
            cgroup: Mutex::new(self.lock().cgroup.clone()),
            config: self.machine.clone(),
        };
        let pod = Pod::open(&self.machine.pod, owner, &self.machine.image);
        pod.map_err(|error| {
            let path = self.machine.pod.display();
            SandboxError::internal(format!("cannot listen on {path}: {error}"))
        })
    }

    /// Takes the container out of its machine, which ends with it unless others are in.
    pub(super) async fn leave(&self) -> Result<()> {
        let (running, cgroup) = {
            let mut state = self.lock();
            state.pending = None;
            (state.running.take(), state.cgroup.take())
        };
        let pod = running.as_ref().and_then(|running| running.pod.clone());
        let (running, cgroup) = match (running, pod) {
            (Some(running), Some(pod)) if !pod.close_if_alone() => {
                match self.hand_over(&running).await {
                    Ok(()) => {
                        let cgroup = self.rename(pod.owner(), cgroup).await;
                        resize::own_ended(pod.owner()).await;
                        self.lock().kept = Some(Kept {
                            running: running.idle(self.machine.emulator.is_some()),
                            cgroup,
                            pod,
                        });
                        return Ok(());
                    }
                    // It would keep the container's disks: all that is in it ends.
                    Err(error) => machine::complain(&error),
                }
                (Some(running), cgroup)
            }
            (running, _) => (running, cgroup),
        };
        let ended = match running {
            Some(running) => self.end(&running).await,
            None => Ok(()),
        };
        match cgroup {
            Some(cgroup) => cgroup::delete(cgroup).await.and(ended),
            None => ended,
        }
    }

    /// Waits until nobody is in a machine that was kept, and ends it.
    pub(super) async fn release(&self) -> Result<()> {
        let Some(kept) = self.lock().kept.take() else {
            return Ok(());
        };
        tokio::select! {
            () = kept.pod.emptied() => {}
            _ = kept.running.machine.wait() => {}
        }
        let ended = shut_down(&kept.running).await;
        match kept.cgroup {
            Some(cgroup) => cgroup::delete(cgroup).await.and(ended),
            None => ended,
        }
    }

    /// Ends the container's part in a machine that goes on.
    async fn hand_over(&self, running: &Running) -> Result<()> {
        if let Some(heard) = &running.heard {
            heard.all(&running.agent).await;
        }
        // Those who stay have these mounted, and so will those who come.
        let keep = running.copies.iter().map(|(_, target)| target.clone());
        self.release_all(running, keep.collect()).await?;
        if let Some((volumes, own)) = &running.volumes {
            volumes.leave(own, true).await;
        }
        let mut interfaces = running.interfaces.lock().await;
        // The taps are taken away with the container, as a network namespace's interfaces are.
        if let Err(error) = interfaces::set(running, &mut interfaces, &[]).await {
            machine::complain(&error);
        }
        Ok(())
    }

    /// Ends all that the container had in the guest, but for these files, and volumes: those are the
    /// machine's.
    async fn release_all(&self, running: &Running, mut keep: Vec<String>) -> Result<()> {
        if let Some((volumes, _)) = &running.volumes {
            keep.extend(volumes.targets().await);
        }
        let released = running.agent.release(self.config.durable, keep);
        let released = tokio::time::timeout(SHUTDOWN, released).await;
        released.map_err(|_| late())?.map_err(from_guest)
    }

    /// Gives the VMM a control group that is not the container's, which may start again. It keeps the
    /// old one if that fails.
    async fn rename(&self, owner: &Owner, old: Option<Cgroup>) -> Option<Cgroup> {
        // Held until the limits of the new one are those that change.
        let room = owner.room.lock().await;
        let memory = room.size.memory.max(self.machine.memory);
        let memory = memory.saturating_add(self.machine.code_cache);
        let pid = owner.machine.pid();
        let moved = cgroup::make_pod(&self.config, memory, room.size.cpus, pid).await;
        match moved {
            Ok(new) => {
                owner.moved(new.clone());
                if let Some(old) = old
                    && let Err(error) = cgroup::delete(old).await
                {
                    machine::complain(&error);
                }
                Some(new)
            }
            Err(error) => {
                machine::complain(&error);
                old
            }
        }
    }

    /// Ends the machine, its disks written if they outlive it; of another's machine the container's
    /// part.
    async fn end(&self, running: &Running) -> Result<()> {
        if let Some(heard) = &running.heard {
            heard.all(&running.agent).await;
        }
        if running.is_member {
            let released = running.agent.release(self.config.durable, Vec::new());
            let released = tokio::time::timeout(SHUTDOWN, released).await;
            let left = running.machine.kill().await.map_err(from_vmm);
            // A machine that is gone has released everything.
            return match released {
                Ok(Ok(()) | Err(coracle_guest::Error::Gone(_))) => left,
                Ok(Err(error)) => left.and(Err(from_guest(error))),
                Err(_) => left.and(Err(late())),
            };
        }
        if let Some((volumes, own)) = &running.volumes
            && !own.is_empty()
        {
            // They outlive it: nobody may have them mounted when the machine goes.
            if let Err(error) = self.release_all(running, Vec::new()).await {
                machine::complain(&error);
            }
            volumes.leave(own, false).await;
        }
        // What is removed when it ends need not be on its disk.
        match self.config.durable {
            true => shut_down(running).await,
            false => running.machine.kill().await.map_err(from_vmm),
        }
    }
}

fn late() -> SandboxError {
    SandboxError::internal("the virtual machine did not end the container in time")
}

/// Has the machine write its disks and end.
async fn shut_down(running: &Running) -> Result<()> {
    let off = async {
        let _ = running.agent.shutdown().await;
        running.machine.wait().await;
    };
    if tokio::time::timeout(SHUTDOWN, off).await.is_err() {
        let message = "the virtual machine did not write its disks in time, and was killed";
        running.machine.kill().await.map_err(from_vmm)?;
        return Err(SandboxError::internal(message));
    }
    running.machine.kill().await.map_err(from_vmm)
}
