//! New images on top of others (`docker commit`, and each step of a build).

use coracle_oci::ContainerConfig;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::History;
use coracle_oci::ImageConfig;
use coracle_oci::Manifest;
use coracle_oci::Platform;
use coracle_oci::Reference;
use coracle_oci::RootFs;
use coracle_oci::media;
use jiff::Timestamp;

use crate::Image;
use crate::Lease;
use crate::Origin;
use crate::Store;
use crate::StoreError;
use crate::images::set::Replaced;

/// An image to be made of content that is in the store already.
#[derive(Debug, Default)]
pub struct NewImage<'a> {
    /// The image below it, if any.
    pub parent: Option<&'a Image>,
    /// The new layer and the digest of its uncompressed tar; [`None`] changes just the
    /// configuration.
    pub layer: Option<(Descriptor, Digest)>,
    /// How containers of it start; replaces the parent's.
    pub config: ContainerConfig,
    /// How it came about. `created` is now unless it is set; `empty_layer` is set by `layer`.
    pub history: History,
    /// The container that it is made of, by its id and as it was created, to be told to Docker's older clients.
    pub container: Option<(String, serde_json::Value)>,
    /// What it runs on; the parent's, else the host's, if not set.
    pub platform: Option<Platform>,
}

impl Store {
    /// Makes an image, and names it if there is a reference.
    ///
    /// The layer must be in the store under a lease of the caller's; the parent's layers are kept
    /// by the parent, which must still be there.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] if a layer isn't there.
    pub fn commit_image(
        &self,
        new: NewImage<'_>,
        reference: Option<&Reference>,
    ) -> Result<Replaced, StoreError> {
        let lease = self.lease();
        let mut layers = Vec::new();
        let mut config = match new.parent {
            Some(parent) => {
                // Whoever removes the parent meanwhile must not take its layers along.
                lease.add(&parent.descriptor.digest);
                for child in parent.manifest.children() {
                    lease.add(&child.digest);
                }
                layers.clone_from(&parent.manifest.layers);
                (*parent.config).clone()
            }
            None => ImageConfig {
                rootfs: RootFs::default(),
                ..ImageConfig::default()
            },
        };
        let platform = new.platform.unwrap_or_else(|| match new.parent {
            Some(parent) => parent.platform.clone(),
            None => Platform::host(),
        });
        config.os = platform.os;
        config.architecture = platform.architecture;
        config.variant = platform.variant;
        config.config = new.config;
        let mut history = new.history;
        let created = history
            .created
            .get_or_insert_with(|| Timestamp::now().to_string());
        config.created = Some(created.clone());
        config.author.clone_from(&history.author);
        config.comment.clone_from(&history.comment);
        config.docker_version = None;
        (config.container, config.container_config) = match new.container {
            Some((id, created)) => (Some(id.into()), Some(created)),
            None => (None, None),
        };
        history.empty_layer = new.layer.is_none();
        config.history.push(history);
        if let Some((descriptor, diff_id)) = new.layer {
            layers.push(descriptor);
            config.rootfs.diff_ids.push(diff_id);
        }
        let config = self.put_json(&lease, media::OCI_CONFIG, &config)?;
        let manifest = Manifest::oci(config, layers);
        let manifest = self.put_json(&lease, media::OCI_MANIFEST, &manifest)?;
        let parent = new.parent.map(|parent| &parent.id);
        self.set_child(reference, &manifest, None, Origin::Local, parent)
    }

    /// Puts a document into the store.
    pub(crate) fn put_json(
        &self,
        lease: &Lease,
        media_type: &str,
        value: &impl serde::Serialize,
    ) -> Result<Descriptor, StoreError> {
        let bytes = serde_json::to_vec(value).map_err(|error| StoreError::Stream {
            action: "encoding",
            source: error.into(),
        })?;
        self.put_bytes(lease, media_type, &bytes)
    }
}
