//! Finding the image for a platform behind a name.

use bytes::Bytes;
use coracle_oci::Descriptor;
use coracle_oci::Document;
use coracle_oci::ImageConfig;
use coracle_oci::Index;
use coracle_oci::Manifest;
use coracle_oci::Platform;
use coracle_oci::limits;
use coracle_oci::media;
use coracle_store::Lease;
use coracle_store::Store;

use crate::blob::mismatch;
use crate::error::Error;
use crate::error::Result;
use crate::flight::blocking;
use crate::manifest::FetchedManifest;
use crate::manifest::ManifestName;
use crate::repository::Repository;

/// Indexes within indexes that are followed.
const DEPTH: usize = 4;
/// Entries without a platform whose image is looked at.
const UNNAMED: usize = 8;

/// An image and how it was found.
pub(crate) struct Selected {
    /// Every manifest on the way, the root first; the last is the image's.
    pub(crate) path: Vec<FetchedManifest>,
    pub(crate) manifest: Manifest,
    pub(crate) config: ImageConfig,
    pub(crate) config_bytes: Bytes,
}

/// Looks into the store before it asks the registry.
pub(crate) struct Selector<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) store: &'a Store,
    pub(crate) lease: &'a Lease,
    pub(crate) platform: Option<&'a Platform>,
    pub(crate) reference: &'a str,
}

impl Selector<'_> {
    pub(crate) async fn select(&self, name: ManifestName<'_>) -> Result<Selected> {
        let root = match name {
            ManifestName::Tag(_) => {
                let found = self.repository.resolve(name).await?;
                // Its size and type are only what HEAD said: the document has the last word.
                self.manifest(ManifestName::Digest(&found.digest), None)
                    .await?
            }
            ManifestName::Digest(_) => self.manifest(name, None).await?,
        };
        let host = Platform::host();
        let wanted = self.platform.unwrap_or(&host);
        let no_match = || Error::NoMatchingManifest {
            platform: wanted.to_string(),
        };
        // Depth first; each entry is a manifest and the way to it.
        let mut open = vec![vec![root]];
        let mut unnamed = 0;
        while let Some(path) = open.pop() {
            let Some(here) = path.last() else { continue };
            match here.document.clone() {
                Document::Manifest(manifest) => {
                    let selected = self.image(path, manifest).await?;
                    let actual = selected.config.platform();
                    let direct = selected.path.len() == 1;
                    if wanted.matches(&actual) || (direct && self.platform.is_none()) {
                        return Ok(selected);
                    }
                    if direct {
                        return Err(Error::PlatformMismatch {
                            reference: self.reference.to_owned(),
                            wanted: wanted.to_string(),
                            actual: actual.to_string(),
                        });
                    }
                    // The index knows better than a sloppy configuration.
                    if selected
                        .path
                        .iter()
                        .any(|m| m.descriptor.platform.is_some())
                    {
                        return Ok(selected);
                    }
                }
                Document::Index(index) => {
                    if path.len() > DEPTH {
                        return Err(Error::Manifest {
                            reason: "indexes are nested too deeply".into(),
                        });
                    }
                    for entry in candidates(&index, wanted).into_iter().rev() {
                        if entry.platform.is_none() {
                            unnamed += 1;
                            if unnamed > UNNAMED {
                                continue;
                            }
                        }
                        let name = ManifestName::Digest(&entry.digest);
                        let mut found = self.manifest(name, Some(entry)).await?;
                        found.descriptor.platform = entry.platform.clone();
                        let mut longer = path.clone();
                        longer.push(found);
                        open.push(longer);
                    }
                }
            }
        }
        Err(no_match())
    }

    /// A manifest, from the store or the registry.
    async fn manifest(
        &self,
        name: ManifestName<'_>,
        expected: Option<&Descriptor>,
    ) -> Result<FetchedManifest> {
        if let ManifestName::Digest(digest) = name
            && let Some(bytes) = self.stored(digest.clone(), limits::MANIFEST_BYTES).await?
            && let Ok(document) = Document::parse(&bytes, expected.map(|e| e.media_type.as_str()))
        {
            let media_type = document_type(&document);
            let descriptor = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
            return Ok(FetchedManifest {
                descriptor,
                bytes,
                document,
            });
        }
        self.repository.fetch_manifest(name, expected).await
    }

    async fn image(&self, path: Vec<FetchedManifest>, manifest: Manifest) -> Result<Selected> {
        let invalid = |reason: String| Error::Manifest { reason };
        let config = &manifest.config;
        if !media::is_config(&config.media_type) {
            let reason = format!(
                "{:?} is not the configuration of an image",
                config.media_type
            );
            return Err(invalid(reason));
        }
        let limit = limits::CONFIG_BYTES;
        let config_bytes = match self.stored(config.digest.clone(), limit).await? {
            Some(bytes) => bytes,
            None => self.repository.fetch_blob(config, limit).await?,
        };
        let config = ImageConfig::parse(&config_bytes).map_err(|e| invalid(e.to_string()))?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(invalid(format!(
                "it has {layers} layers and {diff_ids} diff ids"
            )));
        }
        for layer in &manifest.layers {
            if !layer.media_type.is_empty() && !media::is_layer(&layer.media_type) {
                return Err(invalid(format!(
                    "unsupported layer type {:?}",
                    layer.media_type
                )));
            }
        }
        Ok(Selected {
            path,
            manifest,
            config,
            config_bytes,
        })
    }

    /// A small blob that the store has; one that can't be read any more is fetched again.
    async fn stored(&self, digest: coracle_oci::Digest, limit: usize) -> Result<Option<Bytes>> {
        let (store, lease) = (self.store.clone(), self.lease.clone());
        blocking(move || match store.hold(&lease, &digest) {
            Ok(Some(_)) => Ok(store.read_small(&digest, limit).ok().map(Bytes::from)),
            Ok(None) => Ok(None),
            Err(error) => Err(Error::store(error)),
        })
        .await?
    }

    /// Puts a small blob that was verified into the store.
    pub(crate) async fn keep(&self, descriptor: &Descriptor, bytes: &Bytes) -> Result<()> {
        let (store, lease) = (self.store.clone(), self.lease.clone());
        let (descriptor, bytes) = (descriptor.clone(), bytes.clone());
        let put = blocking(move || {
            if store.hold(&lease, &descriptor.digest)?.is_some() {
                return Ok(());
            }
            let mut ingest = store.ingest(&lease, Some(&descriptor))?;
            ingest.write(&bytes)?;
            ingest.commit().map(|_| ())
        });
        put.await?.map_err(|error| match error {
            coracle_store::StoreError::Verify(error) => mismatch(error),
            error => Error::store(error),
        })
    }
}

fn document_type(document: &Document) -> String {
    match document {
        Document::Manifest(manifest) => manifest.media_type().to_owned(),
        Document::Index(index) => index.media_type().to_owned(),
    }
}

/// The entries worth a look, the best first: the one that fits best, else those that don't say
/// what they are for.
fn candidates<'a>(index: &'a Index, wanted: &Platform) -> Vec<&'a Descriptor> {
    let usable = |entry: &&Descriptor| {
        media::is_manifest(&entry.media_type) || media::is_index(&entry.media_type)
    };
    let entries: Vec<&Descriptor> = index.manifests.iter().filter(usable).collect();
    match wanted.choose(entries.iter().map(|entry| entry.platform.as_ref())) {
        Some(best) => entries.get(best).copied().into_iter().collect(),
        None => entries
            .into_iter()
            .filter(|entry| entry.platform.is_none())
            .collect(),
    }
}
