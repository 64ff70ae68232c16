//! Guest kernels: the product's own store, in a temporary directory that goes with the mock. Nothing
//! boots them.

use std::sync::Arc;

use coracle_kernel::{KernelStore, face};
use coracle_runtime::kernel::{Kernel, KernelSpec};
use coracle_runtime::{Result, RuntimeError};
use tokio::sync::OnceCell;

/// The store, made when it is first asked for.
#[derive(Default)]
pub(crate) struct Kernels(OnceCell<Arc<Kept>>);

struct Kept {
    store: KernelStore,
    _dir: tempfile::TempDir,
}

impl Kernels {
    pub(crate) async fn list(&self) -> Result<Vec<Kernel>> {
        self.with(face::list).await
    }

    pub(crate) async fn inspect(&self, name: &str) -> Result<Kernel> {
        let name = name.to_owned();
        self.with(move |store| face::inspect(store, &name)).await
    }

    pub(crate) async fn install(&self, spec: KernelSpec) -> Result<Kernel> {
        self.with(move |store| face::install(store, spec)).await
    }

    pub(crate) async fn set_default(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.with(move |store| Ok(store.set_default(&name)?)).await
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.with(move |store| Ok(store.remove(&name)?)).await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&KernelStore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let kept = self.0.get_or_try_init(|| blocking(open)).await?.clone();
        blocking(move || work(&kept.store)).await
    }
}

fn open() -> Result<Arc<Kept>> {
    let failed = |error: std::io::Error| {
        RuntimeError::Internal(format!("cannot make a temporary directory: {error}"))
    };
    let dir = tempfile::tempdir().map_err(failed)?;
    let store = KernelStore::open(dir.path())?;
    Ok(Arc::new(Kept { store, _dir: dir }))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(RuntimeError::Internal(error.to_string())))
}
