//! Images: what there is.

use std::collections::BTreeMap;

use coracle_client::Query;
use coracle_docker::image::{ImageInspect, ImageSummary};
use coracle_runtime::image::{HistoryEntry, Image, ImageRemoval, PrunedImages, RemoveImageOptions};
use coracle_runtime::{Filters, Result, RuntimeError};
use futures_util::{StreamExt, stream};

use crate::containers::{AT_ONCE, filters, present};
use crate::convert::container::image_id;
use crate::convert::image as convert;
use crate::error::About;
use crate::names;
use crate::runtime::Bridge;

impl Bridge {
    /// A list has less to say of each than the trait, so each is asked about.
    pub(crate) async fn list_images(&self, shared_size: bool) -> Result<Vec<Image>> {
        let query = Query::new("/images/json")
            .add("all", "1")
            .flag("shared-size", shared_size && self.engine.minor >= 42);
        let listed: Vec<ImageSummary> = self.ask(About::Image, self.client.get(&query)).await?;
        let used = self.used_images().await?;
        let asked = stream::iter(listed)
            .map(|summary| {
                let used = &used;
                async move {
                    let mut image = self.inspect_image(&summary.id).await?;
                    image.containers = used.get(&image.id).copied().unwrap_or(0);
                    image.shared_size = u64::try_from(summary.shared_size).ok();
                    Ok(image)
                }
            })
            .buffered(AT_ONCE);
        present(asked.collect().await)
    }

    /// How many containers were made from each image.
    async fn used_images(&self) -> Result<BTreeMap<String, u64>> {
        let mut used = BTreeMap::new();
        for container in self.summaries().await? {
            *used.entry(image_id(container.image_id)).or_default() += 1;
        }
        Ok(used)
    }

    pub(crate) async fn inspect_image(&self, name: &str) -> Result<Image> {
        let query = Query::named("/images/", names::image(name)?, "/json");
        let found: ImageInspect = self.ask(About::Image, self.client.get(&query)).await?;
        Ok(convert::image(found))
    }

    pub(crate) async fn image_history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        let history = self.client.image_history(names::image(name)?);
        let items = self.ask(About::Image, history).await?;
        Ok(items.into_iter().map(convert::history).collect())
    }

    pub(crate) async fn tag_image(&self, source: &str, target: &str) -> Result<()> {
        let (repository, tag) = names::split_image(target)?;
        if tag.contains(':') {
            return Err(RuntimeError::InvalidArgument(
                "refusing to create a tag with a digest reference".into(),
            ));
        }
        let tagging = self
            .client
            .tag_image(names::image(source)?, repository, tag);
        self.change(About::Image, tagging).await
    }

    pub(crate) async fn remove_image(
        &self,
        name: &str,
        options: RemoveImageOptions,
    ) -> Result<Vec<ImageRemoval>> {
        let name = names::image(name)?;
        let removing = self
            .client
            .remove_image(name, options.force, options.no_prune);
        let items = self.change(About::Image, removing).await?;
        Ok(convert::removals(items))
    }

    pub(crate) async fn prune_images(&self, which: &Filters) -> Result<PrunedImages> {
        let which = filters(which);
        let pruning = self.client.prune_images(&which);
        let pruned = self.change(About::Image, pruning).await?;
        Ok(convert::pruned(pruned))
    }
}
