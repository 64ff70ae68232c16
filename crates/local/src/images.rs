//! Images as users see them: listed, inspected, tagged, removed.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use coracle_oci::{Digest, ImageConfig, Platform, Reference};
use coracle_registry::{Client, Puller};
use coracle_runtime::filter::Filters;
use coracle_runtime::image::{HistoryEntry, Image, ImageRemoval, PrunedImages, RemoveImageOptions};
use coracle_runtime::system::RootDisk;
use coracle_runtime::{Result, RuntimeError};
use coracle_store::{ErrorKind, ImageUse, Removed, Store, StoreError};

use crate::container::names::Containers;
use crate::container::record::Record;
use crate::disks::{self, Disks};
use crate::engine::Engine;
use crate::snapshots::Snapshots;

/// Everything that the engine does with images.
pub(crate) struct Images {
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) puller: Puller,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) disks: Disks,
    containers: Arc<Containers>,
}

/// An image that a container is made from.
pub(crate) struct Base {
    image: coracle_store::Image,
}

impl Base {
    pub(crate) fn config(&self) -> &ImageConfig {
        &self.image.config
    }

    pub(crate) fn id(&self) -> String {
        self.image.id.to_string()
    }

    pub(crate) fn manifest_digest(&self) -> Option<String> {
        Some(self.image.descriptor.digest.to_string())
    }

    pub(crate) fn platform(&self) -> String {
        self.image.platform.to_string()
    }

    /// Docker's warning for an image of another machine that was not asked for.
    pub(crate) fn platform_warning(&self, asked: Option<&str>) -> Option<String> {
        let host = Platform::host();
        let fits = self.image.platform.architecture == host.architecture;
        (!fits && asked.is_none()).then(|| {
            format!(
                "The requested image's platform ({}) does not match the detected host platform \
                 ({host}) and no specific platform was requested",
                self.image.platform
            )
        })
    }
}

impl Images {
    pub(crate) fn new(
        store: Store,
        client: Client,
        puller: Puller,
        snapshots: Arc<Snapshots>,
        disks: Disks,
        containers: Arc<Containers>,
    ) -> Self {
        Self {
            store,
            client,
            puller,
            snapshots,
            disks,
            containers,
        }
    }

    /// Finds what a container is to be made from.
    pub(crate) fn for_container(&self, name: &str, platform: Option<&str>) -> Result<Base> {
        if name.is_empty() {
            return Err(RuntimeError::InvalidArgument(
                "invalid reference format".into(),
            ));
        }
        let image = match platform.filter(|platform| !platform.is_empty()) {
            None => self.store.image(name),
            Some(wanted) => self.store.image_for(name, &parse_platform(wanted)?),
        };
        Ok(Base {
            image: image.map_err(error)?,
        })
    }

    /// Makes sure that an image's layers are unpacked; gives their chain ids, lowest first.
    pub(crate) fn unpacked_layers(&self, base: &Base) -> Result<Vec<String>> {
        let layers = base.image.layers();
        let mut parent = None;
        for layer in &layers {
            if !self.snapshots.has_layer(&layer.chain_id) {
                let blob = self
                    .store
                    .open_blob(&layer.descriptor.digest)
                    .map_err(error)?;
                self.snapshots.unpack(layer, parent, blob)?;
            }
            parent = Some(&layer.chain_id);
        }
        Ok(layers
            .iter()
            .map(|layer| layer.chain_id.to_string())
            .collect())
    }

    /// Unpacks those of a container's layers that are not there any more.
    pub(crate) fn ensure_layers(&self, record: &Record) -> Result<()> {
        let there = |text: &String| {
            text.parse()
                .is_ok_and(|chain_id| self.snapshots.has_layer(&chain_id))
        };
        if record.layers.iter().all(there) {
            return Ok(());
        }
        let id = record
            .image_id
            .parse()
            .map_err(|_| RuntimeError::no_such_image(&record.image_id))?;
        let image = self.store.image_by_id(&id).map_err(error)?;
        self.unpacked_layers(&Base { image }).map(drop)
    }

    /// The root file system of a container's image as a disk, made if it isn't there.
    pub(crate) async fn root_image(&self, record: &Record) -> Result<PathBuf> {
        let topmost = record.layers.last().and_then(|text| text.parse().ok());
        if let Some(path) = self.disks.find(topmost.as_ref()) {
            return Ok(path);
        }
        let id = record
            .image_id
            .parse()
            .map_err(|_| RuntimeError::no_such_image(&record.image_id))?;
        let image = self.store.image_by_id(&id).map_err(error)?;
        self.disks.root_image(&image).await
    }

    /// Removes disks of images that went while theirs were being made.
    pub(crate) fn clear_disks(&self) {
        let images = self.store.images();
        let images = images.iter().filter_map(coracle_store::Image::chain_id);
        let mut wanted: HashSet<String> = images.map(|id| id.to_string()).collect();
        for handle in self.containers.all() {
            wanted.extend(handle.now().record.layers.last().cloned());
        }
        self.disks.retain(&|id| wanted.contains(id));
    }

    /// The disks of images, and whether containers in machines need them.
    pub(crate) fn root_disks(&self) -> Vec<RootDisk> {
        let containers = self.containers.all().into_iter();
        let needed: HashSet<String> = containers
            .map(|handle| handle.now().record)
            .filter(|record| crate::machine::is_machine(&record.host_config))
            .map(|record| {
                record
                    .layers
                    .last()
                    .cloned()
                    .unwrap_or_else(|| disks::EMPTY.to_owned())
            })
            .collect();
        let all = self.disks.all().into_iter();
        all.map(|(name, size)| RootDisk {
            in_use: needed.contains(&name),
            name,
            size,
        })
        .collect()
    }

    fn used_by(&self, id: &Digest) -> Vec<ImageUse> {
        let text = id.to_string();
        self.containers
            .all()
            .into_iter()
            .filter_map(|handle| {
                let now = handle.now();
                (now.record.image_id == text).then(|| ImageUse {
                    container: handle.id.to_string(),
                    running: now.container.state.status.is_alive(),
                })
            })
            .collect()
    }

    /// All images, newest first.
    pub(crate) fn list(&self, shared: bool) -> Vec<Image> {
        let images = self.store.images();
        let mut users: HashMap<String, u64> = HashMap::new();
        for handle in self.containers.all() {
            *users
                .entry(handle.now().record.image_id.clone())
                .or_default() += 1;
        }
        let mut seen: HashMap<Digest, u32> = HashMap::new();
        if shared {
            for layer in images.iter().flat_map(coracle_store::Image::layers) {
                *seen.entry(layer.chain_id).or_default() += 1;
            }
        }
        let mut list: Vec<Image> = images
            .iter()
            .map(|image| {
                let mut described = self.describe(image);
                described.containers = users.get(&described.id).copied().unwrap_or_default();
                described.shared_size = shared.then(|| {
                    image
                        .layers()
                        .iter()
                        .filter(|layer| seen.get(&layer.chain_id).is_some_and(|n| *n > 1))
                        .map(|layer| self.snapshots.layer_size(&layer.chain_id))
                        .sum()
                });
                described
            })
            .collect();
        list.sort_by_key(|image| std::cmp::Reverse(image.created));
        list
    }

    /// Bytes of all unpacked layers of all images, each counted once, and of their disks.
    pub(crate) fn layers_size(&self) -> u64 {
        let mut layers: Vec<Digest> = self
            .store
            .images()
            .iter()
            .flat_map(coracle_store::Image::layers)
            .map(|layer| layer.chain_id)
            .collect();
        layers.sort();
        layers.dedup();
        let unpacked: u64 = layers
            .iter()
            .map(|chain_id| self.snapshots.layer_size(chain_id))
            .sum();
        unpacked + self.disks.usage()
    }

    pub(crate) fn inspect(&self, name: &str) -> Result<Image> {
        self.store
            .image(name)
            .map(|image| self.describe(&image))
            .map_err(error)
    }

    fn describe(&self, image: &coracle_store::Image) -> Image {
        let config = &image.config;
        let target = image
            .references
            .first()
            .and_then(|reference| self.store.target(reference))
            .unwrap_or_else(|| image.descriptor.clone());
        let layers = image.layers();
        let unpacked = layers
            .iter()
            .map(|layer| self.snapshots.layer_size(&layer.chain_id))
            .sum();
        let (container, container_config) = coracle_spec::changes::made_of(config);
        Image {
            container,
            container_config,
            id: image.id.to_string(),
            repo_tags: image.references.iter().map(Reference::familiar).collect(),
            repo_digests: image.repo_digests.iter().map(Reference::familiar).collect(),
            target_digest: target.digest.to_string(),
            target_media_type: target.media_type.clone(),
            target_size: target.size,
            parent: image
                .parent
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            comment: config
                .history
                .last()
                .and_then(|step| step.comment.clone())
                .unwrap_or_default(),
            created: image.created,
            author: config.author.clone().unwrap_or_default(),
            config: coracle_spec::changes::container_config(config),
            architecture: config.architecture.clone(),
            variant: config.variant.clone().unwrap_or_default(),
            os: config.os.clone(),
            size: unpacked,
            layers: config
                .rootfs
                .diff_ids
                .iter()
                .map(ToString::to_string)
                .collect(),
            last_tag_time: image.last_tag_time,
            containers: 0,
            shared_size: None,
        }
    }

    /// The steps of its making, newest first.
    pub(crate) fn history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        let image = self.store.image(name).map_err(error)?;
        let layers = image.layers();
        let mut sizes = layers
            .iter()
            .map(|layer| self.snapshots.layer_size(&layer.chain_id));
        let mut steps: Vec<HistoryEntry> = image
            .config
            .history
            .iter()
            .map(|step| HistoryEntry {
                id: "<missing>".into(),
                created: step.created.as_deref().and_then(|text| text.parse().ok()),
                created_by: step.created_by.clone().unwrap_or_default(),
                tags: Vec::new(),
                size: if step.empty_layer {
                    0
                } else {
                    sizes.next().unwrap_or_default()
                },
                comment: step.comment.clone().unwrap_or_default(),
            })
            .collect();
        // An image need not tell its history: then there is a step a layer.
        steps.extend(sizes.map(|size| HistoryEntry {
            id: "<missing>".into(),
            size,
            ..Default::default()
        }));
        steps.reverse();
        if let Some(first) = steps.first_mut() {
            first.id = image.id.to_string();
            first.tags = image.references.iter().map(Reference::familiar).collect();
        }
        Ok(steps)
    }

    pub(crate) fn tag(&self, source: &str, target: &str) -> Result<String> {
        let reference = Reference::parse_normalized(target)
            .map_err(|error| RuntimeError::InvalidArgument(error.to_string()))?;
        let replaced = self.store.tag(source, &reference).map_err(error)?;
        Ok(replaced.id.to_string())
    }

    pub(crate) fn remove(
        &self,
        name: &str,
        options: RemoveImageOptions,
    ) -> Result<(Vec<Removed>, u64)> {
        let removed = self
            .store
            .remove(name, options.force, options.no_prune, &|id| {
                self.used_by(id)
            })
            .map_err(error)?;
        let freed = self.collect(&removed)?;
        Ok((removed, freed))
    }

    /// Takes an image back that came in and turned out to be none: its layers can't be unpacked.
    pub(crate) fn discard(&self, id: &Digest) {
        let options = RemoveImageOptions {
            force: true,
            no_prune: false,
        };
        if let Err(error) = self.remove(id.as_ref(), options) {
            tracing::warn!(%id, %error, "cannot take back an image that is damaged");
        }
    }

    /// Removes unused images.
    pub(crate) fn prune(&self, filters: &Filters) -> Result<(Vec<Removed>, u64)> {
        let all = filters.boolean("dangling")? == Some(false);
        let until = filters.until()?;
        let fits = |image: &coracle_store::Image| {
            until
                .iter()
                .all(|limit| image.created.is_none_or(|created| created < *limit))
                && filters.labels(&image.config.config.labels)
        };
        let removed = self
            .store
            .prune(all, &fits, &|id| self.used_by(id))
            .map_err(error)?;
        let freed = self.collect(&removed)?;
        Ok((removed, freed))
    }

    /// Frees what nothing reaches any more: blobs, and the unpacked layers of removed images.
    fn collect(&self, removed: &[Removed]) -> Result<u64> {
        let mut freed = 0;
        let kept: Vec<String> = self
            .containers
            .all()
            .iter()
            .flat_map(|handle| handle.now().record.layers.clone())
            .collect();
        for step in removed {
            if let Removed::Layer(chain_id) = step
                && !kept.contains(&chain_id.to_string())
            {
                freed += self.snapshots.layer_size(chain_id);
                self.snapshots.remove_layer(chain_id);
                freed += self.disks.remove(chain_id);
            }
        }
        let containers = self.containers.clone();
        let collected = self
            .store
            .gc(&|| {
                containers
                    .all()
                    .iter()
                    .filter_map(|handle| handle.now().record.image_id.parse().ok())
                    .collect()
            })
            .map_err(error)?;
        Ok(freed + collected.bytes)
    }
}

/// Publishes what a removal did, and gives it in the API's words.
pub(crate) fn report(engine: &Engine, removed: &[Removed]) -> Vec<ImageRemoval> {
    removed
        .iter()
        .map(|step| match step {
            Removed::Untagged { name, id } => {
                engine.emit_image("untag", id.as_ref(), &name.familiar());
                ImageRemoval::Untagged(step.text())
            }
            Removed::Image(id) => {
                engine.emit_image("delete", id.as_ref(), id.as_ref());
                ImageRemoval::Deleted(step.text())
            }
            Removed::Layer(_) => ImageRemoval::Deleted(step.text()),
        })
        .collect()
}

/// What a prune did, in the API's words.
pub(crate) fn pruned(engine: &Engine, removed: &[Removed], freed: u64) -> PrunedImages {
    PrunedImages {
        removed: report(engine, removed),
        space_reclaimed: freed,
    }
}

pub(crate) fn parse_platform(text: &str) -> Result<Platform> {
    Platform::parse(text).map_err(|error| RuntimeError::InvalidArgument(error.to_string()))
}

/// What a store's error means to the user.
pub(crate) fn error(error: StoreError) -> RuntimeError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::NotFound => RuntimeError::ImageNotFound(text),
        ErrorKind::Conflict => RuntimeError::InvalidState(text),
        ErrorKind::Invalid => RuntimeError::InvalidArgument(text),
        ErrorKind::Internal => RuntimeError::Internal(text),
    }
}
