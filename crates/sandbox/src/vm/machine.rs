//! Starts a container's machine: a copy of a template, or by booting it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_guest::Agent;
use coracle_network::tap;
use coracle_task::MachineConfig;
use coracle_task::TaskConfig;
use coracle_vmm::Accelerator;
use coracle_vmm::Arch;
use coracle_vmm::Choice;
use coracle_vmm::Disk;
use coracle_vmm::Machine;
use coracle_vmm::MachineSpec;
use coracle_vmm::Nic;
use coracle_vmm::Shape;
use coracle_vmm::Slot;
use coracle_vmm::Template;
use coracle_vmm::Vmm;

use super::from_vmm;
use crate::Result;
use crate::SandboxError;

/// How long a copy may take until its agent answers. Many may be starting on a busy host.
pub(super) const CLONE: Duration = Duration::from_secs(20);
/// The same of a machine that boots.
const BOOT: Duration = Duration::from_secs(120);

/// What this host was found to have, where the configuration leaves it open; emulation, which is
/// everywhere, as long as nothing else was tried.
pub(crate) fn accelerator(vmm: &dyn Vmm, config: &MachineConfig) -> Result<Accelerator> {
    match config.accelerator.as_str() {
        "kvm" => Ok(Accelerator::Kvm),
        "tcg" => Ok(Accelerator::Tcg),
        "auto" => Ok(choice_file(config)
            .and_then(|file| Choice::remembered(vmm, &file))
            .map_or(Accelerator::Tcg, |choice| choice.accelerator)),
        other => {
            let message = format!("there is no accelerator {other:?}");
            Err(SandboxError::internal(message))
        }
    }
}

/// Where the choice of an accelerator is kept: beside the templates.
pub(crate) fn choice_file(config: &MachineConfig) -> Option<PathBuf> {
    let templates = config.templates.as_ref()?;
    Some(templates.with_file_name("accelerator.json"))
}

/// What machines of this configuration have in common.
pub(crate) fn shape(config: &MachineConfig, accelerator: Accelerator) -> Result<Shape> {
    let mut kernel_args = config.kernel_args.clone();
    let cpus = config.max_cpus.max(config.cpus);
    // The others stay offline until an update asks for them.
    if cpus > config.cpus {
        kernel_args.insert(0, format!("maxcpus={}", config.cpus));
    }
    Ok(Shape {
        arch: Arch::HOST,
        kernel: config.kernel.clone(),
        initrd: config.initrd.clone(),
        kernel_args,
        cpus,
        memory: config.memory,
        accelerator,
        code_cache: config.code_cache,
    })
}

/// Starts it in control groups of this host (their `cgroup.procs` files), and waits until its agent
/// answers. `whole`: with network cards.
pub(crate) async fn start(
    task: &TaskConfig,
    config: &MachineConfig,
    cgroups: &[PathBuf],
    whole: bool,
) -> Result<(Arc<dyn Machine>, Agent)> {
    let vmm = coracle_vmm::open(&config.qemu).map_err(from_vmm)?;
    let accelerator = accelerator(vmm.as_ref(), config)?;
    let template = match &config.templates {
        Some(templates) => {
            let key = vmm.key(&shape(config, accelerator)?).map_err(from_vmm)?;
            Template::open(&templates.join(&key), &key).ok()
        }
        None => None,
    };
    let spec = || {
        let spec = spec(task, config, accelerator, whole)?;
        Ok::<_, SandboxError>(MachineSpec {
            cgroups: cgroups.to_vec(),
            ..spec
        })
    };
    if let Some(template) = template {
        let cloned = async {
            let machine = vmm.clone_from(&template, spec()?).await;
            connect(machine.map_err(from_vmm)?, CLONE).await
        };
        match cloned.await {
            Ok(started) => return Ok(started),
            // A template is never a reason for a start to fail.
            Err(error) => complain(&format!("booting instead of cloning: {error}")),
        }
    }
    let machine = vmm.boot(spec()?).await;
    connect(machine.map_err(from_vmm)?, BOOT).await
}

/// Says what went wrong: the shim's log is its standard error.
pub(crate) fn complain(what: &dyn std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Waits for the agent; a machine that ends before says why.
pub(crate) async fn connect(
    machine: Box<dyn Machine>,
    patience: Duration,
) -> Result<(Arc<dyn Machine>, Agent)> {
    let stream = machine
        .agent()
        .ok_or_else(|| SandboxError::internal("the machine has no agent"))?;
    let machine: Arc<dyn Machine> = machine.into();
    let ended = machine.clone();
    let why = tokio::select! {
        agent = tokio::time::timeout(patience, Agent::connect(stream)) => match agent {
            Ok(Ok(agent)) => return Ok((machine, agent)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("its agent did not answer within {} s", patience.as_secs()),
        },
        exit = ended.wait() => exit.to_string(),
    };
    let _ = machine.kill().await;
    Err(SandboxError::internal(format!(
        "the virtual machine did not start: {why}"
    )))
}

pub(super) fn spec(
    task: &TaskConfig,
    config: &MachineConfig,
    accelerator: Accelerator,
    whole: bool,
) -> Result<MachineSpec> {
    let mut spec = MachineSpec::new(shape(config, accelerator)?, &task.id, &config.boot_log);
    spec.root = Some(Disk::open(&config.image, Slot::Root.serial(), true).map_err(from_vmm)?);
    spec.layer = Some(Disk::open(&config.layer, Slot::Layer.serial(), false).map_err(from_vmm)?);
    spec.user = config.user;
    if whole {
        for interface in &config.interfaces {
            let tap = tap::open(&interface.tap)
                .map_err(|error| SandboxError::internal(error.to_string()))?;
            let mac = interface.mac.parse().map_err(from_vmm)?;
            spec.nics.push(Nic { tap, mac });
        }
    }
    Ok(spec)
}
