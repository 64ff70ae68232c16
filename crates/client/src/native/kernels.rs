//! Guest kernels.

use coracle_native::kernel::{Kernel, KernelDefault, KernelInstall};

use super::{Native, named, path};
use crate::error::Result;

impl Native<'_> {
    /// Lists guest kernels.
    pub async fn kernels(&self) -> Result<Vec<Kernel>> {
        self.all(&path("/kernels")).await
    }

    /// Looks at one; `default` is the default one.
    pub async fn kernel(&self, name: &str) -> Result<Kernel> {
        self.get(&named("/kernels/", name, "")).await
    }

    /// Installs one of the daemon's host.
    pub async fn install_kernel(&self, kernel: &KernelInstall) -> Result<Kernel> {
        self.post(&path("/kernels"), kernel).await
    }

    /// Makes one the default.
    pub async fn set_default_kernel(&self, name: &str) -> Result<()> {
        let body = KernelDefault { name: name.into() };
        let query = path("/kernels/default");
        self.client.put_body(&query, &body).await.map(drop)
    }

    /// Removes one.
    pub async fn remove_kernel(&self, name: &str) -> Result<()> {
        self.delete(&named("/kernels/", name, "")).await
    }
}
