//! Makes the template that machines of one shape are copies of.

use std::io;
use std::path::Path;
use std::time::Duration;

use coracle_guest::Agent;
use coracle_task::MachineConfig;
use coracle_vmm::Accelerator;
use coracle_vmm::MachineSpec;
use coracle_vmm::Shape;
use coracle_vmm::Template;
use coracle_vmm::Vmm;
use tokio::net::UnixStream;

use super::from_guest;
use super::from_vmm;
use super::machine;
use crate::Result;

/// How long a machine may take to boot.
const BOOT: Duration = Duration::from_secs(180);

/// The accelerator to use; tries which one works, if the configuration leaves it open.
async fn accelerator(vmm: &dyn Vmm, config: &MachineConfig) -> Result<Accelerator> {
    let Some(file) = machine::choice_file(config).filter(|_| config.accelerator == "auto") else {
        return machine::accelerator(vmm, config);
    };
    let shape = machine::shape(config, Accelerator::Tcg)?;
    let spec = |accelerator| {
        let shape = Shape {
            accelerator,
            ..shape.clone()
        };
        let mut spec = MachineSpec::new(shape, "accelerator", &config.boot_log);
        spec.user = config.user;
        spec
    };
    let choice = coracle_vmm::choose(vmm, &file, &spec, &|stream| Box::pin(answers(stream))).await;
    Ok(choice.map_err(from_vmm)?.accelerator)
}

async fn answers(stream: UnixStream) -> io::Result<()> {
    let agent = Agent::connect(stream).await;
    agent.map(drop).map_err(io::Error::other)
}

/// Boots a machine of this shape, has it get ready, and keeps it as a template; one that is there and
/// whole is left as it is. Its disks and interfaces are not looked at. Answers the template's name.
pub async fn make(config: &MachineConfig, templates: &Path) -> Result<String> {
    let vmm = coracle_vmm::open(&config.qemu).map_err(from_vmm)?;
    let accelerator = accelerator(vmm.as_ref(), config).await?;
    let shape = machine::shape(config, accelerator)?;
    let key = vmm.key(&shape).map_err(from_vmm)?;
    let directory = templates.join(&key);
    if Template::open(&directory, &key).is_ok() {
        return Ok(key);
    }
    let mut spec = MachineSpec::new(shape, key.as_str(), &config.boot_log);
    spec.user = config.user;
    spec.template = true;
    let machine = vmm.boot(spec).await.map_err(from_vmm)?;
    let (machine, agent) = machine::connect(machine, BOOT).await?;
    agent.prepare().await.map_err(from_guest)?;
    // Connected until the machine stands still: copies find their agent waiting for a word, not
    // busy with the end of a conversation.
    machine.snapshot(&directory).await.map_err(from_vmm)?;
    drop(agent);
    Ok(key)
}
