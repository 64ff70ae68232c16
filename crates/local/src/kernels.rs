//! Guest kernels. Work on them is off the threads that serve.

use std::sync::Arc;

use coracle_kernel::{KernelStore, face};
use coracle_runtime::kernel::{Kernel, KernelSpec};
use coracle_runtime::{Result, RuntimeError};

use crate::container::files::blocking;
use crate::engine::Engine;
use crate::machine;

pub(crate) async fn list(engine: &Arc<Engine>) -> Result<Vec<Kernel>> {
    with(engine, face::list).await
}

pub(crate) async fn inspect(engine: &Arc<Engine>, name: &str) -> Result<Kernel> {
    let name = name.to_owned();
    with(engine, move |store| face::inspect(store, &name)).await
}

pub(crate) async fn install(engine: &Arc<Engine>, spec: KernelSpec) -> Result<Kernel> {
    let kernel = with(engine, |store| face::install(store, spec)).await?;
    tracing::info!(kernel = kernel.name, digest = kernel.digest, "installed");
    tokio::spawn(machine::templates::prepare(engine.clone()));
    Ok(kernel)
}

pub(crate) async fn set_default(engine: &Arc<Engine>, name: &str) -> Result<()> {
    let name = name.to_owned();
    with(engine, move |store| Ok(store.set_default(&name)?)).await?;
    tokio::spawn(machine::templates::prepare(engine.clone()));
    Ok(())
}

/// Removes one, unless a container asks for it by its name.
pub(crate) async fn remove(engine: &Arc<Engine>, name: &str) -> Result<()> {
    let name = name.to_owned();
    for handle in engine.containers.all() {
        let now = handle.now();
        let asked = now.record.host_config.annotations.get(machine::KERNEL);
        if asked == Some(&name) {
            return Err(RuntimeError::InvalidState(format!(
                "kernel {name:?} is used by container {}: remove the container first",
                now.container.name
            )));
        }
    }
    with(engine, move |store| Ok(store.remove(&name)?)).await?;
    engine.machines.asked.give_up();
    Ok(())
}

async fn with<T: Send + 'static>(
    engine: &Arc<Engine>,
    work: impl FnOnce(&KernelStore) -> Result<T> + Send + 'static,
) -> Result<T> {
    let engine = engine.clone();
    blocking(move || work(&engine.machines.kernels)).await
}
