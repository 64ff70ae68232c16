//! Makes the template that machines of one shape are copies of.

use std::path::Path;
use std::time::Duration;

use coracle_task::MachineConfig;
use coracle_vmm::MachineSpec;
use coracle_vmm::Qemu;
use coracle_vmm::Template;
use coracle_vmm::Vmm;

use super::from_guest;
use super::from_vmm;
use super::machine;
use crate::Result;

/// How long a machine may take to boot.
const BOOT: Duration = Duration::from_secs(180);

/// Boots a machine of this shape, has it get ready, and keeps it as a template; one that is there and
/// whole is left as it is. Its disks and interfaces are not looked at.
pub async fn make(config: &MachineConfig, templates: &Path) -> Result<()> {
    let vmm = Qemu::new(&config.qemu).map_err(from_vmm)?;
    let shape = machine::shape(config)?;
    let key = vmm.key(&shape).map_err(from_vmm)?;
    let directory = templates.join(&key);
    if Template::open(&directory).is_ok() {
        return Ok(());
    }
    let mut spec = MachineSpec::new(shape, format!("template-{key}"), &config.boot_log);
    spec.user = config.user;
    spec.template = true;
    let machine = vmm.boot(spec).await.map_err(from_vmm)?;
    let (machine, agent) = machine::connect(machine, BOOT).await?;
    agent.prepare().await.map_err(from_guest)?;
    drop(agent);
    machine.snapshot(&directory).await.map_err(from_vmm)?;
    Ok(())
}
