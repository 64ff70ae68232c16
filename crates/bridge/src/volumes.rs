//! Volumes.

use coracle_client::{Filters as WireFilters, Query};
use coracle_docker::volume::VolumeInspect;
use coracle_runtime::container::Pruned;
use coracle_runtime::volume::{Volume, VolumeSpec};
use coracle_runtime::{Filters, Result};

use crate::containers::filters;
use crate::convert::system as convert;
use crate::error::About;
use crate::names;
use crate::runtime::Bridge;

impl Bridge {
    pub(crate) async fn list_volumes(&self) -> Result<Vec<Volume>> {
        let all = WireFilters::default();
        let listed = self.ask(About::Thing, self.client.list_volumes(&all));
        let volumes = listed.await?.volumes.into_iter();
        Ok(volumes.map(convert::volume).collect())
    }

    pub(crate) async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        let query = Query::named("/volumes/", names::volume(name)?, "");
        let found: VolumeInspect = self.ask(About::Thing, self.client.get(&query)).await?;
        Ok(convert::volume(found))
    }

    pub(crate) async fn create_volume(&self, spec: VolumeSpec) -> Result<Volume> {
        let creating = self.client.create_volume(&spec);
        let made = self.change(About::Name, creating).await?;
        Ok(convert::volume(made))
    }

    pub(crate) async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let removing = self.client.remove_volume(names::volume(name)?, force);
        self.change(About::Thing, removing).await
    }

    pub(crate) async fn prune_volumes(&self, which: &Filters) -> Result<Pruned> {
        let mut which = filters(which);
        if self.engine.minor < 42 && !which.has("all") {
            // Older engines prune named ones too. What nobody named has a label, in those that have it;
            // in others nothing is lost.
            which.add("label", convert::ANONYMOUS);
        }
        let pruning = self.client.prune_volumes(&which);
        let pruned = self.change(About::Thing, pruning).await?;
        Ok(Pruned {
            deleted: pruned.volumes_deleted,
            space_reclaimed: pruned.space_reclaimed,
        })
    }
}
