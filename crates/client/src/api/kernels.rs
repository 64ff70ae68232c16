//! Guest kernels.

use coracle_docker::kernel::{KernelDefaultBody, KernelInspect, KernelInstallBody};
use http::Method;

use crate::client::Client;
use crate::error::Result;
use crate::query::Query;

impl Client {
    /// Lists guest kernels.
    pub async fn list_kernels(&self) -> Result<Vec<KernelInspect>> {
        self.get(&Query::new("/api/v1/kernels")).await
    }

    /// Installs a guest kernel of the daemon's host.
    pub async fn install_kernel(&self, kernel: &KernelInstallBody) -> Result<KernelInspect> {
        self.post_json(&Query::new("/api/v1/kernels"), kernel).await
    }

    /// Makes a guest kernel the default.
    pub async fn set_default_kernel(&self, name: &str) -> Result<()> {
        let body = KernelDefaultBody { name: name.into() };
        let query = Query::new("/api/v1/kernels/default");
        self.put_body(&query, &body).await.map(drop)
    }

    /// Removes a guest kernel.
    pub async fn remove_kernel(&self, name: &str) -> Result<()> {
        let query = Query::named("/api/v1/kernels/", name, "");
        self.bytes(Method::DELETE, &query).await.map(drop)
    }
}
