//! Pushing an image: its blobs side by side, then its manifests, the root last.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Document;
use coracle_oci::Index;
use coracle_oci::Platform;
use coracle_oci::Reference;
use coracle_oci::limits;
use coracle_oci::media;
use coracle_store::Store;
use coracle_store::StoreError;
use futures_util::future::try_join_all;
use tokio::sync::Semaphore;

use crate::auth::AuthSource;
use crate::client::Client;
use crate::error::Error;
use crate::error::Result;
use crate::file_body::Open;
use crate::flight::blocking;
use crate::progress::Progress;
use crate::progress::Status;
use crate::progress::seconds;
use crate::repository::Repository;
use crate::upload::Upload;
use crate::upload::Uploaded;

/// Indexes within indexes that are followed.
const DEPTH: usize = 4;

/// Says which repositories of a registry, by their paths, have a blob.
pub type KnownIn = Arc<dyn Fn(&Digest) -> Vec<String> + Send + Sync>;

/// How to push.
#[derive(Clone)]
pub struct PushOptions {
    /// Who pushes.
    pub auth: AuthSource,
    /// Push only the image for this platform out of an index.
    pub platform: Option<Platform>,
    /// Who hears of each step.
    pub progress: Progress,
    /// Blobs sent at the same time, at least one. dockerd's default is 5.
    pub at_once: usize,
    /// Says which repositories of the same registry (their paths) have a blob, to save sending it.
    pub known_in: Option<KnownIn>,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            auth: AuthSource::Anonymous,
            platform: None,
            progress: Progress::none(),
            at_once: 5,
            known_in: None,
        }
    }
}

impl std::fmt::Debug for PushOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushOptions")
            .field("auth", &self.auth)
            .field("platform", &self.platform)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

/// What a push left in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// What the tag stands for now.
    pub descriptor: Descriptor,
    /// The tag; `None` when it was pushed by digest.
    pub tag: Option<String>,
    /// Whether it is only the one image of an index whose content is here.
    pub is_part: bool,
}

/// Pushes what `root` names in `store` as `reference`.
///
/// An index goes as a whole when all its images are here. If only one of them is, that one is
/// pushed alone, as Docker does.
///
/// Dropping the future stops all uploads.
pub async fn push(
    client: &Client,
    store: &Store,
    root: &Descriptor,
    reference: &Reference,
    options: PushOptions,
) -> Result<PushedImage> {
    let repository = client.repository(reference, options.auth.clone())?;
    let plan = {
        let (store, root) = (store.clone(), root.clone());
        let platform = options.platform.clone();
        blocking(move || Plan::make(&store, &root, platform.as_ref())).await??
    };
    let pusher = Pusher {
        repository: &repository,
        store,
        options: &options,
    };
    pusher.blobs(&plan.blobs).await?;
    let tag = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, None) => Some(coracle_oci::DEFAULT_TAG.to_owned()),
        (None, Some(_)) => None,
    };
    let last = plan.manifests.len().saturating_sub(1);
    for (at, (descriptor, bytes)) in plan.manifests.iter().enumerate() {
        let tag = tag.as_deref().filter(|_| at == last);
        repository
            .push_manifest(descriptor, bytes.clone(), tag)
            .await?;
    }
    let (descriptor, _) = plan.manifests.last().ok_or_else(|| Error::Manifest {
        reason: "it is empty".into(),
    })?;
    Ok(PushedImage {
        descriptor: descriptor.clone(),
        tag,
        is_part: plan.is_part,
    })
}

/// What has to be in the registry, in the order in which it must come.
#[derive(Default)]
struct Plan {
    blobs: Vec<Blob>,
    /// Each after those that it names.
    manifests: Vec<(Descriptor, Bytes)>,
    is_part: bool,
}

struct Blob {
    descriptor: Descriptor,
    is_layer: bool,
}

impl Plan {
    fn make(store: &Store, root: &Descriptor, platform: Option<&Platform>) -> Result<Self> {
        let mut plan = Self::default();
        if let (Document::Index(index), _) = read(store, root)? {
            if let Some(platform) = platform {
                let entries = index.manifests.iter().map(|entry| entry.platform.as_ref());
                let chosen = platform
                    .choose(entries)
                    .and_then(|at| index.manifests.get(at));
                let Some(chosen) = chosen else {
                    return Err(Error::NoMatchingManifest {
                        platform: platform.to_string(),
                    });
                };
                plan.add(store, chosen, 0)?;
                plan.is_part = true;
                return Ok(plan);
            }
            match plan.add(store, root, 0) {
                Err(Error::MissingContent { digest }) => {
                    return Self::of_one(store, &index, digest);
                }
                done => done?,
            }
        } else {
            plan.add(store, root, 0)?;
        }
        Ok(plan)
    }

    /// The only image of an index that is complete.
    fn of_one(store: &Store, index: &Index, missing: Digest) -> Result<Self> {
        let mut complete = None;
        for entry in &index.manifests {
            // Attestations are not for any platform.
            if entry.platform.as_ref().is_some_and(|p| p.os == "unknown") {
                continue;
            }
            let mut plan = Self {
                is_part: true,
                ..Self::default()
            };
            match plan.add(store, entry, 0) {
                Ok(()) if complete.is_none() => complete = Some(plan),
                Ok(()) => return Err(Error::MissingContent { digest: missing }),
                Err(Error::MissingContent { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        complete.ok_or(Error::MissingContent { digest: missing })
    }

    fn add(&mut self, store: &Store, descriptor: &Descriptor, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(Error::Manifest {
                reason: "indexes are nested too deeply".into(),
            });
        }
        if self
            .manifests
            .iter()
            .any(|(known, _)| known.digest == descriptor.digest)
        {
            return Ok(());
        }
        let (document, bytes) = read(store, descriptor)?;
        match &document {
            Document::Index(index) => {
                for entry in &index.manifests {
                    if !media::is_manifest(&entry.media_type) && !media::is_index(&entry.media_type)
                    {
                        self.blob(store, entry, false)?;
                        continue;
                    }
                    self.add(store, entry, depth + 1)?;
                }
            }
            Document::Manifest(manifest) => {
                self.blob(store, &manifest.config, false)?;
                for layer in &manifest.layers {
                    if !media::is_foreign(&layer.media_type) || layer.urls.is_empty() {
                        self.blob(store, layer, true)?;
                    }
                }
            }
        }
        let mut plain = Descriptor::new(
            descriptor.media_type.clone(),
            descriptor.digest.clone(),
            bytes.len() as u64,
        );
        plain.platform = None;
        self.manifests.push((plain, bytes));
        Ok(())
    }

    fn blob(&mut self, store: &Store, descriptor: &Descriptor, is_layer: bool) -> Result<()> {
        if self
            .blobs
            .iter()
            .any(|known| known.descriptor.digest == descriptor.digest)
        {
            return Ok(());
        }
        if store
            .blob(&descriptor.digest)
            .map_err(Error::store)?
            .is_none()
        {
            return Err(Error::MissingContent {
                digest: descriptor.digest.clone(),
            });
        }
        self.blobs.push(Blob {
            descriptor: descriptor.clone(),
            is_layer,
        });
        Ok(())
    }
}

fn read(store: &Store, descriptor: &Descriptor) -> Result<(Document, Bytes)> {
    let bytes = match store.read_small(&descriptor.digest, limits::MANIFEST_BYTES) {
        Ok(bytes) => bytes,
        Err(StoreError::NoSuchBlob(digest)) => return Err(Error::MissingContent { digest }),
        Err(error) => return Err(Error::store(error)),
    };
    let document =
        Document::parse(&bytes, Some(&descriptor.media_type)).map_err(|error| Error::Manifest {
            reason: error.to_string(),
        })?;
    Ok((document, bytes.into()))
}

struct Pusher<'a> {
    repository: &'a Repository,
    store: &'a Store,
    options: &'a PushOptions,
}

impl Pusher<'_> {
    async fn blobs(&self, blobs: &[Blob]) -> Result<()> {
        for blob in blobs.iter().filter(|blob| blob.is_layer) {
            self.tell(blob, Status::Preparing);
        }
        let slots = Semaphore::new(self.options.at_once.max(1));
        let all = blobs.iter().map(|blob| async {
            if slots.available_permits() == 0 {
                self.tell(blob, Status::Waiting);
            }
            let slot = slots.acquire().await;
            let _slot = slot.map_err(|_| Error::store("the upload queue is closed"))?;
            self.blob(blob).await
        });
        try_join_all(all).await?;
        Ok(())
    }

    /// Docker shows layers only.
    fn tell(&self, blob: &Blob, status: Status) {
        if blob.is_layer {
            self.options
                .progress
                .send(blob.descriptor.digest.short(), status);
        }
    }

    async fn blob(&self, blob: &Blob) -> Result<()> {
        let digest = &blob.descriptor.digest;
        if self.repository.blob_exists(digest).await? {
            self.tell(blob, Status::LayerAlreadyExists);
            return Ok(());
        }
        let (store, wanted) = (self.store.clone(), digest.clone());
        let found = blocking(move || store.blob(&wanted))
            .await?
            .map_err(Error::store)?;
        let Some(found) = found else {
            return Err(Error::MissingContent {
                digest: digest.clone(),
            });
        };
        let total = found.size;
        if total != blob.descriptor.size {
            return Err(Error::SizeMismatch {
                digest: digest.clone(),
                expected: blob.descriptor.size,
                received: total,
            });
        }
        let open: Open = Arc::new(move || File::open(&found.path));
        let mut mounts = self
            .options
            .known_in
            .as_ref()
            .map_or_else(Vec::new, |f| f(digest));
        mounts.retain(|from| from != self.repository.path());
        mounts.truncate(3);
        let sent = Arc::new(AtomicU64::new(0));
        let upload = Upload {
            repository: self.repository,
            descriptor: &blob.descriptor,
            open,
            mount_from: &mounts,
            sent: sent.clone(),
        };
        let run = upload.run(|wait| {
            self.tell(
                blob,
                Status::Retrying {
                    seconds: seconds(wait),
                },
            )
        });
        tokio::pin!(run);
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        let mut last = None;
        let done = loop {
            tokio::select! {
                done = &mut run => break done?,
                _ = ticks.tick() => {
                    let current = sent.load(Ordering::Relaxed);
                    if last != Some(current) {
                        last = Some(current);
                        self.tell(blob, Status::Pushing { current, total });
                    }
                }
            }
        };
        self.tell(
            blob,
            match done {
                Uploaded::Sent => Status::Pushed,
                Uploaded::Mounted { from } => Status::Mounted { from },
            },
        );
        Ok(())
    }
}
