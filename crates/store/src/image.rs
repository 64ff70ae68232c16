//! Images as callers see them, and choosing one of several platforms.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Document;
use coracle_oci::ImageConfig;
use coracle_oci::Manifest;
use coracle_oci::Platform;
use coracle_oci::Reference;
use coracle_oci::chain_ids;
use coracle_oci::limits;
use coracle_oci::media;
use jiff::Timestamp;

use crate::ImageId;
use crate::Lease;
use crate::Store;
use crate::StoreError;
use crate::images::Record;
use crate::store::locked;

/// Parsed images that are kept in memory.
const CACHED: usize = 64;
/// How deep indexes may be nested.
const DEPTH: usize = 4;

/// An image: one platform's manifest and configuration, and the names it has.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its configuration, which is what Docker calls the image id.
    pub id: ImageId,
    /// Its manifest's descriptor.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// Its configuration.
    pub config: Arc<ImageConfig>,
    /// Its names with tags, sorted.
    pub references: Vec<Reference>,
    /// Its names with digests, as it was pulled or pushed, sorted.
    pub repo_digests: Vec<Reference>,
    /// The image that it was committed or built from here.
    pub parent: Option<ImageId>,
    /// Bytes of its layers as stored, most of them compressed.
    pub size: u64,
    /// When it was made, by its configuration.
    pub created: Option<Timestamp>,
    /// When it was last given a tag here.
    pub last_tag_time: Option<Timestamp>,
    /// What it runs on.
    pub platform: Platform,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The layer as stored.
    pub descriptor: Descriptor,
    /// The digest of its uncompressed tar.
    pub diff_id: Digest,
    /// The name of it and everything below it.
    pub chain_id: Digest,
}

impl Image {
    /// Its layers, the lowest first.
    pub fn layers(&self) -> Vec<Layer> {
        let diff_ids = &self.config.rootfs.diff_ids;
        let chain_ids = chain_ids(diff_ids);
        self.manifest
            .layers
            .iter()
            .zip(diff_ids)
            .zip(chain_ids)
            .map(|((descriptor, diff_id), chain_id)| Layer {
                descriptor: descriptor.clone(),
                diff_id: diff_id.clone(),
                chain_id,
            })
            .collect()
    }

    /// The name of all its layers together, [`None`] if it has none.
    pub fn chain_id(&self) -> Option<Digest> {
        chain_ids(&self.config.rootfs.diff_ids).pop()
    }

    /// Whether no tag names it.
    pub fn is_dangling(&self) -> bool {
        self.references.is_empty()
    }
}

/// A manifest and its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) config: Arc<ImageConfig>,
}

/// Contents by the digest of their manifest, with the time of their last use.
#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<Digest, (u64, Content)>,
    clock: u64,
}

impl Cache {
    fn get(&mut self, digest: &Digest) -> Option<Content> {
        self.clock += 1;
        let (used, content) = self.entries.get_mut(digest)?;
        *used = self.clock;
        Some(content.clone())
    }

    fn put(&mut self, digest: Digest, content: Content) {
        self.clock += 1;
        self.entries.insert(digest, (self.clock, content));
        if self.entries.len() > CACHED {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) {
                self.entries.remove(&oldest);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

impl Store {
    /// Reads a manifest and its configuration, and checks that they belong together.
    pub(crate) fn content(&self, manifest: &Descriptor) -> Result<Content, StoreError> {
        if let Some(content) = locked(&self.inner.cache).get(&manifest.digest) {
            return Ok(content);
        }
        let digest = &manifest.digest;
        let parsed = match self.document(manifest)? {
            Document::Manifest(parsed) if media::is_config(&parsed.config.media_type) => parsed,
            Document::Manifest(parsed) => {
                let kind = parsed.artifact_type.unwrap_or(parsed.config.media_type);
                return Err(StoreError::NotAnImage(digest.clone(), kind));
            }
            Document::Index(index) => {
                return Err(StoreError::NotAnImage(
                    digest.clone(),
                    index.media_type().into(),
                ));
            }
        };
        if let Some(other) = parsed
            .layers
            .iter()
            .find(|l| !media::is_layer(&l.media_type))
        {
            return Err(StoreError::NotAnImage(
                digest.clone(),
                other.media_type.clone(),
            ));
        }
        let bytes = self.read_small(&parsed.config.digest, limits::CONFIG_BYTES)?;
        let config = ImageConfig::parse(&bytes).map_err(|source| StoreError::Config {
            digest: parsed.config.digest.clone(),
            source,
        })?;
        let (layers, diff_ids) = (parsed.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(StoreError::LayerCount {
                image: digest.clone(),
                layers,
                diff_ids,
            });
        }
        let content = Content {
            manifest: Arc::new(parsed),
            config: Arc::new(config),
        };
        locked(&self.inner.cache).put(digest.clone(), content.clone());
        Ok(content)
    }

    /// Makes the view of a record.
    pub(crate) fn view(&self, record: &Record) -> Result<Image, StoreError> {
        let content = self
            .content(&record.manifest)
            .map_err(|error| match error {
                StoreError::NoSuchBlob(missing) => StoreError::Incomplete {
                    image: record.id.clone(),
                    missing,
                },
                other => other,
            })?;
        let names = |list: &[crate::images::Name]| {
            let mut names: Vec<Reference> = list.iter().map(|n| n.name.clone()).collect();
            names.sort();
            names
        };
        Ok(Image {
            id: record.id.clone(),
            descriptor: record.manifest.clone(),
            references: names(&record.names),
            repo_digests: names(&record.digests),
            parent: record.parent.clone(),
            size: content
                .manifest
                .layers
                .iter()
                .map(|l| l.size)
                .fold(0, u64::saturating_add),
            created: content
                .config
                .created
                .as_deref()
                .and_then(|text| text.parse().ok()),
            last_tag_time: record.tagged,
            platform: content.config.platform(),
            manifest: content.manifest,
            config: content.config,
        })
    }

    /// The image whose manifest `manifest` is, whether it has a name or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBlob`], [`StoreError::NotAnImage`], [`StoreError::Damaged`], and what
    /// parsing can tell.
    pub fn image_of(&self, manifest: &Descriptor) -> Result<Image, StoreError> {
        let id = self.content(manifest)?.manifest.config.digest.clone();
        if let Some(record) = self.inner.images.state().images.get(&id) {
            return self.view(record);
        }
        self.view(&Record::new(id, manifest.clone()))
    }

    /// The manifest of the image `id` if all its content is there, kept by `lease` from then on.
    pub(crate) fn hold_image(
        &self,
        lease: &Lease,
        id: &ImageId,
    ) -> Result<Option<Descriptor>, StoreError> {
        let _growing = self.inner.growing();
        let state = self.inner.images.state();
        let Some(record) = state.images.get(id) else {
            return Ok(None);
        };
        if self.missing(&record.manifest)?.is_some() {
            return Ok(None);
        }
        lease.add(&record.manifest.digest);
        Ok(Some(record.manifest.clone()))
    }

    /// What of an image isn't there: the first of manifest, configuration and layers that is missing
    /// or has another size. Foreign layers may be missing.
    pub(crate) fn missing(&self, manifest: &Descriptor) -> Result<Option<Digest>, StoreError> {
        if self.blob(&manifest.digest)?.is_none() {
            return Ok(Some(manifest.digest.clone()));
        }
        let content = match self.content(manifest) {
            Err(StoreError::NoSuchBlob(missing)) => return Ok(Some(missing)),
            other => other?,
        };
        for child in content.manifest.children() {
            let there = self
                .blob(&child.digest)?
                .is_some_and(|blob| blob.size == child.size);
            if !there && !media::is_foreign(&child.media_type) {
                return Ok(Some(child.digest.clone()));
            }
        }
        Ok(None)
    }

    /// Whether all content of an image, or of at least one platform of an index, is there.
    pub fn is_complete(&self, target: &Descriptor) -> Result<bool, StoreError> {
        Ok(!self.platforms(target)?.is_empty())
    }

    /// The images that `target` stands for, those whose content is all there, in its order. A
    /// manifest stands for itself.
    pub fn platforms(
        &self,
        target: &Descriptor,
    ) -> Result<Vec<(Platform, Descriptor)>, StoreError> {
        let mut found = Vec::new();
        self.collect_platforms(target, DEPTH, &mut found)?;
        Ok(found)
    }

    fn collect_platforms(
        &self,
        target: &Descriptor,
        depth: usize,
        found: &mut Vec<(Platform, Descriptor)>,
    ) -> Result<(), StoreError> {
        if !media::is_index(&target.media_type) {
            if self.missing(target)?.is_none() {
                found.push((self.content(target)?.config.platform(), target.clone()));
            }
            return Ok(());
        }
        if depth == 0 || self.blob(&target.digest)?.is_none() {
            return Ok(());
        }
        let Document::Index(index) = self.document(target)? else {
            return Ok(());
        };
        for child in &index.manifests {
            if found.len() >= limits::INDEX_MANIFESTS {
                break;
            }
            match self.collect_platforms(child, depth - 1, found) {
                // Attestations and other artifacts lie beside the images in an index.
                Err(StoreError::NotAnImage(..)) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// The manifest of `target` that serves `platform` best, of those whose content is all there.
    /// Without a platform it is the host's, or the first if there is none for the host.
    ///
    /// # Errors
    /// [`StoreError::NoPlatform`]; [`StoreError::Incomplete`] if nothing is there at all.
    pub fn select(
        &self,
        target: &Descriptor,
        platform: Option<&Platform>,
    ) -> Result<Descriptor, StoreError> {
        let mut found = self.platforms(target)?;
        if found.is_empty() {
            let image = target.digest.clone();
            let missing = if media::is_index(&target.media_type) {
                None
            } else {
                self.missing(target)?
            };
            return Err(match (missing, platform) {
                (Some(missing), _) => StoreError::Incomplete { image, missing },
                (None, platform) => StoreError::NoPlatform {
                    target: image,
                    platform: platform.cloned().unwrap_or_else(Platform::host).to_string(),
                },
            });
        }
        let wanted = platform.cloned().unwrap_or_else(Platform::host);
        let chosen = wanted.choose(found.iter().map(|(platform, _)| Some(platform)));
        match (chosen, platform) {
            (Some(at), _) => Ok(found.swap_remove(at).1),
            (None, None) => Ok(found.swap_remove(0).1),
            (None, Some(_)) => Err(StoreError::NoPlatform {
                target: target.digest.clone(),
                platform: wanted.to_string(),
            }),
        }
    }
}
