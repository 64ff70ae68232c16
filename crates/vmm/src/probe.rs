//! Which accelerator works here: found by running a machine, and remembered.
//!
//! That `/dev/kvm` is there proves little: under nested virtualization it may be so slow, or so
//! incomplete, that no kernel gets through its boot.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::error::{Error, Result};
use crate::machine::Vmm;
use crate::spec::{Accelerator, MachineSpec};

/// Says, over the agent's stream, whether the guest is there.
pub type Ready<'r> = dyn Fn(UnixStream) -> Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>
    + Send
    + Sync
    + 'r;

/// How long a machine under hardware virtualization may take to be ready: a healthy one takes a
/// tenth of it.
const DEADLINE: Duration = Duration::from_secs(3);

/// Which accelerator was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What machines run on.
    pub accelerator: Accelerator,
    /// Why, for people.
    pub reason: String,
    /// The VMM's own line about its version.
    pub version: String,
    /// When the choice holds: this boot of the host, and this VMM.
    valid_for: String,
}

impl Choice {
    /// What was chosen for this boot of the host and this VMM, if anything was.
    #[must_use]
    pub fn remembered(vmm: &dyn Vmm, record: &Path) -> Option<Choice> {
        let valid_for = valid_for(vmm).ok()?;
        if std::fs::metadata(record).ok()?.len() > 64 << 10 {
            return None;
        }
        let choice: Choice = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
        (choice.valid_for == valid_for).then_some(choice)
    }

    /// Writes it down, for `record` is a path whose directory exists.
    fn remember(&self, record: &Path) -> Result<()> {
        use std::io::Write;
        let failed = || Error::io(format!("writing {}", record.display()));
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed()(error.into()))?;
        let mut stage = record.as_os_str().to_owned();
        stage.push(format!(".{}", std::process::id()));
        let file = std::fs::File::create(&stage).map_err(failed())?;
        (&file).write_all(&text).map_err(failed())?;
        // Lost with the host's power it would be out of date anyway: so no fsync.
        std::fs::rename(&stage, record).map_err(failed())
    }
}

/// Chooses an accelerator: the remembered choice, else the first of the VMM's
/// ([`Vmm::accelerators`]) under which a machine made from `spec` gets ready within three seconds, else
/// their last. `spec` is called for each machine that is tried.
///
/// # Errors
/// If the VMM doesn't run at all, or the choice can't be written down.
pub async fn choose(
    vmm: &dyn Vmm,
    record: &Path,
    spec: &(dyn Fn(Accelerator) -> MachineSpec + Sync),
    ready: &Ready<'_>,
) -> Result<Choice> {
    if let Some(choice) = Choice::remembered(vmm, record) {
        return Ok(choice);
    }
    let (accelerator, reason) = decide(vmm, spec, ready).await?;
    let choice = Choice {
        accelerator,
        reason,
        version: vmm.version().await?,
        valid_for: valid_for(vmm)?,
    };
    choice.remember(record)?;
    Ok(choice)
}

/// The first that works, and why; the last isn't tried.
async fn decide(
    vmm: &dyn Vmm,
    spec: &(dyn Fn(Accelerator) -> MachineSpec + Sync),
    ready: &Ready<'_>,
) -> Result<(Accelerator, String)> {
    let none = || Error::Unsupported("the VMM executes no machines here".into());
    let (last, better) = vmm.accelerators().split_last().ok_or_else(none)?;
    let mut failures = Vec::new();
    for &accelerator in better {
        let tried = attempt(vmm, accelerator, spec, ready);
        let why = match tokio::time::timeout(DEADLINE, tried).await {
            Ok(Ok(())) => return Ok((accelerator, "a machine ran on it".into())),
            Ok(Err(why)) => why.lines().collect::<Vec<_>>().join("; "),
            Err(_) => format!("no machine was ready within {} s", DEADLINE.as_secs()),
        };
        failures.push(format!("{accelerator} does not work here: {why}"));
    }
    if failures.is_empty() {
        failures.push("the VMM has nothing else".into());
    }
    Ok((*last, failures.join("; ")))
}

async fn attempt(
    vmm: &dyn Vmm,
    accelerator: Accelerator,
    spec: &(dyn Fn(Accelerator) -> MachineSpec + Sync),
    ready: &Ready<'_>,
) -> Result<(), String> {
    let text = |error: Error| error.to_string();
    if accelerator == Accelerator::Kvm {
        rustix::fs::access("/dev/kvm", rustix::fs::Access::EXISTS)
            .map_err(|errno| format!("/dev/kvm: {errno}"))?;
    }
    let machine = vmm.boot(spec(accelerator)).await.map_err(text)?;
    let agent = machine.agent().ok_or("the machine has no agent's stream")?;
    tokio::select! {
        ready = ready(agent) => ready.map_err(|error| format!("the guest: {error}")),
        exit = machine.wait() => Err(exit.to_string()),
    }
}

fn valid_for(vmm: &dyn Vmm) -> Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_err(Error::io("reading the boot id"))?;
    let mut key = crate::key::Key::new();
    key.text(boot.trim());
    key.text(&vmm.identity()?);
    Ok(key.finish())
}
