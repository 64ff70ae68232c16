//! One image, and its layers.

use std::sync::Arc;

use bytes::Bytes;
use coracle_oci::{
    ContainerConfig as ImageDefaults, Descriptor, Digest, History, ImageConfig, Manifest, Platform,
    Reference, media,
};
use coracle_runtime::image::{HistoryEntry, Image};
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

use super::invalid;
use crate::fs::{Tree, tar};

/// A layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) diff_id: Digest,
    /// Not compressed.
    pub(crate) tar: Bytes,
    /// Bytes of its files.
    pub(crate) size: u64,
}

impl Layer {
    pub(crate) fn new(tar: Bytes) -> Result<Self> {
        let mut tree = Tree::default();
        tar::apply(&mut tree, &*tar).map_err(invalid)?;
        Ok(Self {
            diff_id: Digest::sha256(&tar),
            tar,
            size: tree.size(),
        })
    }
}

/// An image.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: Digest,
    pub(crate) config: ImageConfig,
    pub(crate) config_json: Bytes,
    pub(crate) layers: Vec<Layer>,
    /// All layers, one over the other.
    pub(crate) tree: Arc<Tree>,
    pub(crate) manifest: Bytes,
    pub(crate) parent: Option<Digest>,
    pub(crate) tagged: Option<Timestamp>,
    /// Names with tags.
    pub(crate) names: Vec<Reference>,
    /// Names with digests.
    pub(crate) digests: Vec<Reference>,
}

impl Stored {
    /// An image of these parts. The configuration must tell the same layers.
    pub(crate) fn new(config_json: Bytes, layers: Vec<Layer>) -> Result<Self> {
        let config: ImageConfig = serde_json::from_slice(&config_json)
            .map_err(|error| RuntimeError::InvalidArgument(format!("invalid image: {error}")))?;
        if !config
            .rootfs
            .diff_ids
            .iter()
            .eq(layers.iter().map(|layer| &layer.diff_id))
        {
            return Err(RuntimeError::InvalidArgument(
                "invalid image: its configuration does not tell its layers".into(),
            ));
        }
        let mut tree = Tree::default();
        for layer in &layers {
            tar::apply(&mut tree, &*layer.tar).map_err(invalid)?;
        }
        let manifest = Manifest::oci(
            Descriptor::of(media::OCI_CONFIG, &config_json),
            layers
                .iter()
                .map(|layer| Descriptor::of(media::OCI_LAYER, &layer.tar))
                .collect(),
        );
        let manifest = serde_json::to_vec(&manifest)
            .map_err(|error| RuntimeError::Internal(error.to_string()))?
            .into();
        Ok(Self {
            id: Digest::sha256(&config_json),
            config,
            config_json,
            layers,
            tree: Arc::new(tree),
            manifest,
            parent: None,
            tagged: None,
            names: Vec::new(),
            digests: Vec::new(),
        })
    }

    /// A new image, over a parent or not.
    pub(crate) fn make(
        parent: Option<&Stored>,
        layer: Option<Layer>,
        defaults: ImageDefaults,
        mut history: History,
        platform: Option<Platform>,
    ) -> Result<Self> {
        let mut config = parent
            .map(|parent| parent.config.clone())
            .unwrap_or_default();
        let mut layers = parent
            .map(|parent| parent.layers.clone())
            .unwrap_or_default();
        let platform = platform
            .or_else(|| parent.map(Self::platform))
            .unwrap_or_else(Platform::host);
        config.os = platform.os;
        config.architecture = platform.architecture;
        config.variant = platform.variant;
        config.config = defaults;
        let created = history
            .created
            .get_or_insert_with(|| Timestamp::now().to_string());
        config.created = Some(created.clone());
        config.author.clone_from(&history.author);
        config.comment.clone_from(&history.comment);
        history.empty_layer = layer.is_none();
        config.history.push(history);
        if let Some(layer) = layer {
            config.rootfs.diff_ids.push(layer.diff_id.clone());
            layers.push(layer);
        }
        let json = serde_json::to_vec(&config)
            .map_err(|error| RuntimeError::Internal(error.to_string()))?;
        let mut made = Self::new(json.into(), layers)?;
        made.parent = parent.map(|parent| parent.id.clone());
        Ok(made)
    }

    pub(crate) fn platform(&self) -> Platform {
        let mut platform = Platform::new(&self.config.os, &self.config.architecture);
        platform.variant.clone_from(&self.config.variant);
        platform
    }

    pub(super) fn created(&self) -> Option<Timestamp> {
        self.config
            .created
            .as_deref()
            .and_then(|text| text.parse().ok())
    }

    fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    pub(super) fn all_names(&self) -> impl Iterator<Item = &Reference> {
        self.names.iter().chain(&self.digests)
    }

    pub(crate) fn describe(&self) -> Image {
        let familiar = |names: &[Reference]| names.iter().map(Reference::familiar).collect();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (container, container_config) = coracle_spec::changes::made_of(&self.config);
        Image {
            container,
            container_config,
            id: self.id.to_string(),
            repo_tags: familiar(&self.names),
            repo_digests: familiar(&self.digests),
            target_digest: Digest::sha256(&self.manifest).to_string(),
            target_media_type: media::OCI_MANIFEST.into(),
            target_size: self.manifest.len() as u64,
            parent: self
                .parent
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            comment: self
                .config
                .history
                .last()
                .map(|step| text(&step.comment))
                .unwrap_or_default(),
            created: self.created(),
            author: text(&self.config.author),
            config: coracle_spec::changes::container_config(&self.config),
            architecture: self.config.architecture.clone(),
            variant: text(&self.config.variant),
            os: self.config.os.clone(),
            size: self.size(),
            layers: self
                .layers
                .iter()
                .map(|layer| layer.diff_id.to_string())
                .collect(),
            last_tag_time: self.tagged,
            containers: 0,
            shared_size: None,
        }
    }

    /// The steps of its making, newest first.
    pub(crate) fn history(&self) -> Vec<HistoryEntry> {
        let mut sizes = self.layers.iter().map(|layer| layer.size);
        let mut steps: Vec<HistoryEntry> = self
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
        steps.extend(sizes.map(|size| HistoryEntry {
            id: "<missing>".into(),
            size,
            ..Default::default()
        }));
        steps.reverse();
        if let Some(first) = steps.first_mut() {
            first.id = self.id.to_string();
            first.tags = self.names.iter().map(Reference::familiar).collect();
        }
        steps
    }
}
