//! A machine that waits for a container: a copy of its template in which a container was tried out, so
//! that the next one finds all of the guest's code translated and its memory copied.
//!
//! What it was tried out with did nothing, and nothing of it is left but that. Until a container is put
//! into it, nobody's code ran there; then it gets an identity as every copy does, random numbers first.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_guest::Agent;
use coracle_guest::Streams;
use coracle_task::MachineConfig;
use coracle_task::TaskConfig;
use coracle_vmm::Disk;
use coracle_vmm::Machine;
use coracle_vmm::MachineSpec;
use coracle_vmm::Nic;
use coracle_vmm::Slot;
use coracle_vmm::Source;
use coracle_vmm::Template;
use tokio::io::AsyncReadExt;

use super::from_vmm;
use super::from_young_guest;
use super::machine;
use super::place::Place;
use super::setup;
use crate::Result;
use crate::SandboxError;

/// How long a spare's devices may take to be exchanged: far less than it saves, on a quiet host.
const EXCHANGE: Duration = Duration::from_secs(5);

/// The most output of the container that is tried out.
const MAX_OUTPUT: u64 = 4096;

/// A machine that waits for a container. Dropping it ends it.
pub struct Spare {
    machine: Arc<dyn Machine>,
    agent: Agent,
    /// What its template is called: it is for machines of this shape.
    key: String,
}

impl Spare {
    /// Makes one, by the container that is tried out: it must do nothing, and end at once. `files` are
    /// the image's disk, the writable disk, and a tap for each interface.
    ///
    /// # Errors
    /// If there is no template of this shape, or the container does not end as it should.
    pub async fn make(task: &TaskConfig, files: Vec<OwnedFd>) -> Result<Self> {
        let config = task.machine.as_deref();
        let config = config.ok_or_else(|| SandboxError::internal("the task has no machine"))?;
        let mut files = files.into_iter();
        let (Some(image), Some(layer)) = (files.next(), files.next()) else {
            return Err(SandboxError::internal("there are no disks"));
        };
        let vmm = coracle_vmm::open(&config.qemu).map_err(from_vmm)?;
        let accelerator = machine::accelerator(vmm.as_ref(), config)?;
        let shape = machine::shape(config, accelerator)?;
        let key = vmm.key(&shape).map_err(from_vmm)?;
        let templates = config.templates.as_ref();
        let templates =
            templates.ok_or_else(|| SandboxError::internal("there are no templates"))?;
        let template = Template::open(&templates.join(&key), &key).map_err(from_vmm)?;
        let mut spec = MachineSpec::new(shape, &task.id, PathBuf::new());
        spec.root = Some(disk(image, Slot::Root));
        spec.layer = Some(disk(layer, Slot::Layer));
        spec.user = config.user;
        let machine = vmm.clone_from(&template, spec).await.map_err(from_vmm)?;
        let (machine, agent) = machine::connect(machine, machine::CLONE).await?;
        let spare = Self {
            machine,
            agent,
            key,
        };
        spare.rehearse(task, config, files.collect()).await?;
        // A helper is ready for the next container, and what was written is on its disk.
        spare.agent.prepare().await.map_err(from_young_guest)?;
        Ok(spare)
    }

    /// Runs a container as any other is run, and takes away all that it had.
    async fn rehearse(
        &self,
        task: &TaskConfig,
        config: &MachineConfig,
        taps: Vec<OwnedFd>,
    ) -> Result<()> {
        let (machine, agent) = (&self.machine, &self.agent);
        for (interface, tap) in config.interfaces.iter().zip(taps) {
            let mac = interface.mac.parse().map_err(from_vmm)?;
            machine.add_nic(Nic { tap, mac }).await.map_err(from_vmm)?;
        }
        let place = Place::own(machine.clone(), agent.clone(), &task.id);
        let plan = setup::plan(task, config, &place, true, None)?;
        agent.setup(&plan.setup).await.map_err(from_young_guest)?;
        let streams = Streams {
            stdin: false,
            output: true,
        };
        let started = agent.run(&task.id, &plan.config, streams).await;
        let started = started.map_err(from_young_guest)?;
        for output in [started.stdout, started.stderr].into_iter().flatten() {
            let mut said = Vec::new();
            let read = output.take(MAX_OUTPUT).read_to_end(&mut said).await;
            read.map_err(|error| SandboxError::internal(error.to_string()))?;
        }
        let exited = started.exit.await.map_err(from_young_guest)?;
        if exited.code != 0 {
            let message = format!("the first container ended with {}", exited.code);
            return Err(SandboxError::internal(message));
        }
        agent.delete(&task.id).await.map_err(from_young_guest)?;
        // With its last user the guest's kernel forgets what it read of a disk.
        let removed = agent.remove_root(&task.id).await;
        removed.map_err(from_young_guest)?;
        for interface in &plan.setup.interfaces {
            let unset = agent.unset_interface(interface).await;
            unset.map_err(from_young_guest)?;
        }
        for interface in &config.interfaces {
            let mac = interface.mac.parse().map_err(from_vmm)?;
            machine.remove_nic(mac).await.map_err(from_vmm)?;
        }
        Ok(())
    }

    /// Waits for its end, and says why.
    pub async fn ended(&self) -> String {
        self.machine.wait().await.to_string()
    }

    /// Becomes the machine of a container: with its disks and network cards, in its control groups (their
    /// `cgroup.procs` files).
    pub(super) async fn become_machine(
        self,
        task: &TaskConfig,
        config: &MachineConfig,
        cgroups: &[PathBuf],
        whole: bool,
    ) -> Result<(Arc<dyn Machine>, Agent)> {
        let vmm = coracle_vmm::open(&config.qemu).map_err(from_vmm)?;
        let accelerator = machine::accelerator(vmm.as_ref(), config)?;
        let key = vmm
            .key(&machine::shape(config, accelerator)?)
            .map_err(from_vmm)?;
        if key != self.key {
            return Err(SandboxError::internal("it is of another shape"));
        }
        let spec = machine::spec(task, config, accelerator, whole)?;
        let (machine, pid) = (&self.machine, self.machine.pid());
        let files = cgroups.to_vec();
        let moved = tokio::task::spawn_blocking(move || {
            files
                .iter()
                .try_for_each(|file| fs::write(file, pid.to_string()))
        });
        let exchanged = async {
            for disk in [spec.root, spec.layer].into_iter().flatten() {
                machine.fill_slot(disk).await.map_err(from_vmm)?;
            }
            for nic in spec.nics {
                machine.add_nic(nic).await.map_err(from_vmm)?;
            }
            machine.log_console(&config.boot_log).map_err(from_vmm)?;
            let moved = moved.await.unwrap_or_else(|error| Err(error.into()));
            moved.map_err(|error| SandboxError::internal(format!("its control group: {error}")))
        };
        let exchanged = tokio::time::timeout(EXCHANGE, exchanged).await;
        exchanged.unwrap_or_else(|_| Err(SandboxError::internal("it takes too long")))?;
        Ok((self.machine, self.agent))
    }
}

fn disk(file: OwnedFd, slot: Slot) -> Disk {
    Disk {
        source: Source::File(file),
        read_only: slot.read_only(),
        serial: slot.serial().into(),
    }
}
