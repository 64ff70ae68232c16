//! Volumes.

use coracle_docker::volume::{VolumeCreateBody, VolumeInspect, VolumeList, VolumesPruned};
use http::Method;

use crate::client::Client;
use crate::error::Result;
use crate::query::{Filters, Query};

impl Client {
    /// Lists volumes.
    pub async fn list_volumes(&self, filters: &Filters) -> Result<VolumeList> {
        self.get(&Query::new("/volumes").filters(filters)).await
    }

    /// Makes a volume.
    pub async fn create_volume(&self, volume: &VolumeCreateBody) -> Result<VolumeInspect> {
        self.post_json(&Query::new("/volumes/create"), volume).await
    }

    /// Removes a volume.
    pub async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let query = Query::named("/volumes/", name, "").flag("force", force);
        self.bytes(Method::DELETE, &query).await.map(drop)
    }

    /// Removes volumes that nothing uses.
    pub async fn prune_volumes(&self, filters: &Filters) -> Result<VolumesPruned> {
        let query = Query::new("/volumes/prune").filters(filters);
        self.json(Method::POST, &query).await
    }
}
