//! Starting a machine.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use serde_json::json;
use tokio::net::UnixStream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::error::{Error, Result};
use crate::helper::Job;
use crate::helper::filter::Ram;
use crate::machine::Machine;
use crate::qemu::Qemu;
use crate::qemu::arch::Board;
use crate::qemu::command::{self, Parts};
use crate::qemu::logs::{self, Log};
use crate::qemu::machine::{Life, QemuMachine};
use crate::qemu::qmp::{Event, Qmp};
use crate::spawn::{self, Spawned};
use crate::spec::{Accelerator, Generation, MachineSpec, Slot};
use crate::template::Template;

/// How long a clone may take to continue: far longer than it does under any load.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a machine's memory and device state come from.
struct Source {
    kind: Ram,
    ram: Option<OwnedFd>,
    state: Option<OwnedFd>,
}

impl Source {
    fn of(vmm: &Qemu, spec: &MachineSpec, template: Option<&Template>) -> Result<Source> {
        use crate::machine::Vmm;
        let (kind, ram, state) = match template {
            Some(template) => {
                if vmm.key(&spec.shape)? != template.key() {
                    return Err(Error::template(
                        template.dir(),
                        "it is of another shape than the machine",
                    ));
                }
                if spec.template {
                    return Err(Error::Invalid(
                        "a template is made of a machine that was booted, not of a clone".into(),
                    ));
                }
                let (ram, state) = template.open_files()?;
                (Ram::Private, Some(ram), Some(state))
            }
            None if spec.template => (Ram::Shared, Some(new_memory(spec.shape.memory)?), None),
            None => (Ram::Anonymous, None, None),
        };
        Ok(Source { kind, ram, state })
    }
}

fn new_memory(bytes: u64) -> Result<OwnedFd> {
    let failed = || Error::os("making the machine's memory");
    let fd = rustix::fs::memfd_create("vm-template", MemfdFlags::CLOEXEC).map_err(failed())?;
    rustix::fs::ftruncate(&fd, bytes).map_err(failed())?;
    Ok(fd)
}

/// A socket pair: our end, and the one to hand on.
pub(super) fn channel() -> Result<(UnixStream, OwnedFd)> {
    let failed = || Error::io("making a socket pair");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed())?;
    ours.set_nonblocking(true).map_err(failed())?;
    let ours = UnixStream::from_std(ours).map_err(failed())?;
    Ok((ours, theirs.into()))
}

/// Starts a machine: from its kernel, or from a template.
pub(super) async fn launch(
    vmm: &Qemu,
    mut spec: MachineSpec,
    template: Option<&Template>,
) -> Result<Box<dyn Machine>> {
    spec.check()?;
    if template.is_none() {
        Board::of(spec.shape.arch).check(&spec.shape.kernel)?;
    }
    let source = Source::of(vmm, &spec, template)?;
    let (disks, nics) = (
        std::mem::take(&mut spec.disks),
        std::mem::take(&mut spec.nics),
    );
    let incoming = source.state.is_some();
    let (control, their_control) = channel()?;
    let (agent, their_agent) = match spec.agent.take() {
        Some(theirs) => (None, theirs),
        None => channel().map(|(ours, theirs)| (Some(ours), theirs))?,
    };
    let (console, their_console) = logs::pipe()?;
    let (words, their_stderr) = logs::pipe()?;
    let log = Log::create(&spec.console)?;
    let generation = match spec.generation {
        Some(generation) => generation,
        None => Generation::fresh()?,
    };
    let slot = |slot: Slot| -> Result<Option<OwnedFd>> {
        spec.disk(slot)
            .map(|disk| disk.file()?.try_clone().map_err(Error::io("dup")))
            .transpose()
    };
    let mut line = command::build(Parts {
        program: &vmm.program,
        id: &spec.id,
        shape: &spec.shape,
        ram: source.kind,
        generation,
        control: their_control,
        agent: their_agent,
        console: their_console,
        slots: [slot(Slot::Root)?, slot(Slot::Layer)?],
        incoming,
    })?;
    let qmp = Qmp::new(control);
    let events = qmp.events();
    // Given before QEMU is there to read it: none of the answers decides the next command.
    let mut answers = vec![qmp.give("qmp_capabilities", json!({}), None).await?];
    if let Some(state) = source.state {
        let number = line.inherit(state);
        let capabilities = json!([{"capability": "x-ignore-shared", "state": true}]);
        let set = json!({"capabilities": capabilities});
        answers.push(qmp.give("migrate-set-capabilities", set, None).await?);
        let from = json!({"uri": format!("fd:{number}")});
        answers.push(qmp.give("migrate-incoming", from, None).await?);
    }
    let mut binds = Vec::new();
    if !incoming {
        binds.extend([spec.shape.kernel.clone(), spec.shape.initrd.clone()]);
    }
    let job = Job {
        program: vmm.program.clone(),
        args: line.args,
        binds,
        user: spec.user,
        cgroups: spec.cgroups.clone(),
        kvm: spec.shape.accelerator == Accelerator::Kvm,
        ram: source.kind,
    };
    let mut fds = vec![their_stderr];
    fds.append(&mut line.fds);
    let Spawned {
        process,
        warnings,
        listener,
    } = spawn::spawn(job, fds).await?;
    // Ours until it runs; then nothing may be opened for writing by its path any more.
    let giver = match (listener, source.ram.as_ref()) {
        (Some(listener), Some(ram)) => {
            let ram = ram.try_clone().map_err(Error::io("dup"))?;
            Some(Giver(tokio::spawn(spawn::give_memory(listener, ram))))
        }
        _ => None,
    };
    tokio::spawn(log.clone().follow(console));
    let life = Life::begin(process, &qmp, words)?;
    let shared = (source.kind == Ram::Shared).then_some(source.ram).flatten();
    let key = match shared {
        Some(_) => crate::machine::Vmm::key(vmm, &spec.shape)?,
        None => String::new(),
    };
    let mut machine = QemuMachine::new(spec, qmp, agent, life, warnings, shared, key);
    machine.log = log;
    let started = async {
        for answer in answers {
            answer.wait().await?;
        }
        if incoming {
            running(events, &machine.life).await?;
        }
        drop(giver);
        for disk in disks {
            machine.add_disk(disk).await?;
        }
        for nic in nics {
            machine.add_nic(nic).await?;
        }
        Ok(())
    };
    match started.await {
        Ok(()) => Ok(Box::new(machine)),
        Err(error) => Err(machine.explain(error).await),
    }
}

/// Waits until a machine that comes in continues.
async fn running(mut events: Receiver<Event>, life: &Life) -> Result<()> {
    let resumed = async {
        loop {
            match events.recv().await {
                Ok(event) if event.name == "RESUME" => return Ok(()),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Error::Ended("QEMU hung up".into())),
            }
        }
    };
    tokio::select! {
        resumed = tokio::time::timeout(PATIENCE, resumed) => {
            resumed.map_err(|_| Error::Timeout("continuing the template".into()))?
        }
        exit = life.ended() => Err(Error::Ended(exit.to_string())),
    }
}

/// Who answers for the memory, ended by being dropped.
struct Giver(tokio::task::JoinHandle<std::io::Result<()>>);

impl Drop for Giver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
