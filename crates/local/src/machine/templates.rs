//! Templates of machines: made ahead by a process of their own, so that nobody waits for a boot.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use coracle_runtime::{Result, RuntimeError};
use coracle_task::MachineConfig;

use crate::durable::{self, Durability};
use crate::engine::Engine;

/// The shapes that this daemon has asked a template for. Whether there is one is for the maker to find
/// out; it leaves a whole one as it is.
#[derive(Default)]
pub(crate) struct Asked(Mutex<HashSet<u64>>);

/// Has the template of the machines of containers without limits made, if there can be machines.
pub(crate) async fn prepare(engine: Arc<Engine>) {
    if engine.machines.unavailable(&engine.config).is_some() {
        return;
    }
    match super::default_shape(&engine).await {
        Ok(config) => ask(&engine, &config),
        Err(error) => tracing::warn!(%error, "no template of machines is made"),
    }
}

/// Has a template of this machine's shape made, once. The machine itself need not wait for it.
pub(crate) fn ask(engine: &Engine, config: &MachineConfig) {
    let shape = MachineConfig {
        image: Default::default(),
        layer: Default::default(),
        interfaces: Vec::new(),
        copies: Vec::new(),
        ..config.clone()
    };
    let number = number(&shape);
    let asked = &engine.machines.asked.0;
    if !asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(number)
    {
        return;
    }
    if let Err(error) = spawn(engine, shape, number) {
        tracing::warn!(%error, "no template of machines is made");
    }
}

/// The console's log of the machine that became the template of a shape.
pub(crate) fn boot_log(engine: &Engine, shape: &MachineConfig) -> PathBuf {
    let name = format!("{:016x}.boot.log", number(shape));
    engine.config.data_root.join("machines").join(name)
}

fn spawn(engine: &Engine, mut shape: MachineConfig, number: u64) -> Result<()> {
    let root = engine.config.data_root.join("machines");
    let failed = |error: std::io::Error| {
        RuntimeError::Internal(format!("cannot have a template made: {error}"))
    };
    durable::private_dir(&root.join("templates")).map_err(failed)?;
    let name = format!("{number:016x}");
    shape.boot_log = root.join(format!("{name}.boot.log"));
    shape.user = (engine.machines.users).of_container(name.get(1..).unwrap_or_default());
    let file = root.join(format!("{name}.json"));
    let text = serde_json::to_vec(&shape).map_err(|error| failed(error.into()))?;
    durable::write(&file, &text, Durability::Process).map_err(failed)?;
    let log = root.join("templates.log");
    let child = coracle_task::spawn_template(&engine.config.shim, &file, &log).map_err(failed)?;
    engine.reaper.add(child);
    Ok(())
}

/// Tells shapes apart, within one daemon's life and across them.
fn number(shape: &MachineConfig) -> u64 {
    let mut hasher = DefaultHasher::new();
    (
        &shape.qemu,
        &shape.accelerator,
        &shape.kernel,
        &shape.initrd,
        &shape.kernel_args,
        shape.cpus,
        shape.memory,
    )
        .hash(&mut hasher);
    hasher.finish()
}
