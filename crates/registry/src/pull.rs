//! Pulling an image: manifest, configuration, then all layers side by side.

use std::sync::Arc;

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::ImageConfig;
use coracle_oci::Manifest;
use coracle_oci::Platform;
use coracle_oci::Reference;
use coracle_store::Lease;
use coracle_store::Store;
use futures_util::future::try_join_all;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::auth::AuthSource;
use crate::client::Client;
use crate::error::Error;
use crate::error::Result;
use crate::flight::Flights;
use crate::flight::Shown;
use crate::flight::State;
use crate::flight::blocking;
use crate::follow::LayerStream;
use crate::manifest::ManifestName;
use crate::progress::Progress;
use crate::progress::Status;
use crate::repository::Repository;
use crate::select::Selected;
use crate::select::Selector;

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Who pulls.
    pub auth: AuthSource,
    /// What the image must run on; `None`: whatever fits this machine, and an image that isn't one
    /// of several is taken as it is.
    pub platform: Option<Platform>,
    /// Who hears of each step.
    pub progress: Progress,
    /// Who unpacks the layers while they come in.
    pub events: Option<UnboundedSender<PullEvent>>,
}

/// What an unpacker needs to know, in order: `Image` first, then each layer at most once
/// `LayerStarted` and, if all goes well, exactly once `LayerStored`.
#[derive(Debug)]
pub enum PullEvent {
    /// The manifest and configuration are known and verified.
    Image {
        /// The image's manifest.
        manifest: Box<Manifest>,
        /// Its configuration, which has as many diff ids as the manifest has layers.
        config: Box<ImageConfig>,
    },
    /// A layer is coming in and can be read already. If the stream fails, wait for `LayerStored`
    /// and read the blob from the store.
    LayerStarted {
        /// Its place in the manifest, the lowest layer is 0.
        index: usize,
        /// Its compressed bytes.
        stream: LayerStream,
    },
    /// A layer was verified and is in the store.
    LayerStored {
        /// Its place in the manifest.
        index: usize,
    },
}

/// A pulled image. All of its content is in the store, and stays while [`lease`](Self::lease)
/// lives: name the image before it is dropped.
#[derive(Clone)]
pub struct PulledImage {
    /// What the reference stands for: an index, or the manifest itself.
    pub root: Descriptor,
    /// The image's manifest.
    pub manifest_descriptor: Descriptor,
    /// The same, parsed.
    pub manifest: Manifest,
    /// The image's configuration.
    pub config: ImageConfig,
    /// Whether all layers were there already.
    pub was_complete: bool,
    /// Keeps the content.
    pub lease: Lease,
}

impl std::fmt::Debug for PulledImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PulledImage")
            .field("root", &self.root)
            .field("manifest_descriptor", &self.manifest_descriptor)
            .field("was_complete", &self.was_complete)
            .finish_non_exhaustive()
    }
}

impl PulledImage {
    /// The image's layers, the lowest first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.manifest.layers
    }
}

/// Pulls into one store. Pulls that run at the same time share downloads and the limit on them.
#[derive(Clone)]
pub struct Puller {
    client: Client,
    store: Store,
    flights: Arc<Flights>,
}

impl std::fmt::Debug for Puller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Puller")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Puller {
    /// As dockerd's `--max-concurrent-downloads`.
    pub const DEFAULT_DOWNLOADS: usize = 3;

    /// A puller that downloads `at_once` layers at the same time, at least one.
    pub fn new(client: Client, store: Store, at_once: usize) -> Self {
        let flights = Arc::new(Flights::new(store.clone(), at_once));
        Self {
            client,
            store,
            flights,
        }
    }

    /// Pulls the image that `reference` names.
    ///
    /// Dropping the future stops all downloads that nobody else waits for. What they brought is
    /// kept, and the next pull goes on from there.
    pub async fn pull(&self, reference: &Reference, options: PullOptions) -> Result<PulledImage> {
        let repository = self.client.repository(reference, options.auth.clone())?;
        let repository = Arc::new(repository);
        let name = ManifestName::of(reference);
        let resolving = Status::Resolving {
            repository: reference.path().to_owned(),
        };
        options.progress.send(name.as_str(), resolving);
        let lease = self.store.lease();
        let familiar = reference.familiar();
        let selector = Selector {
            repository: &repository,
            store: &self.store,
            lease: &lease,
            platform: options.platform.as_ref(),
            reference: &familiar,
        };
        let Selected {
            path,
            manifest,
            config,
            config_bytes,
        } = selector.select(name).await?;
        let (Some(root), Some(last)) = (path.first(), path.last()) else {
            return Err(Error::Manifest {
                reason: "it is empty".into(),
            });
        };
        send(&options, || PullEvent::Image {
            manifest: Box::new(manifest.clone()),
            config: Box::new(config.clone()),
        });
        selector.keep(&manifest.config, &config_bytes).await?;
        for document in &path {
            let mut descriptor = document.descriptor.clone();
            descriptor.platform = None;
            selector.keep(&descriptor, &document.bytes).await?;
        }
        let layers = Layers {
            puller: self,
            repository: &repository,
            lease: &lease,
            options: &options,
        };
        let fetched = layers.fetch(&manifest.layers).await?;
        Ok(PulledImage {
            root: root.descriptor.clone(),
            manifest_descriptor: last.descriptor.clone(),
            manifest,
            config,
            was_complete: !fetched,
            lease,
        })
    }
}

fn send(options: &PullOptions, event: impl FnOnce() -> PullEvent) {
    if let Some(events) = &options.events {
        // An unpacker that is gone has its own error to tell.
        let _ = events.send(event());
    }
}

/// The layers of one pull.
struct Layers<'a> {
    puller: &'a Puller,
    repository: &'a Arc<Repository>,
    lease: &'a Lease,
    options: &'a PullOptions,
}

/// A blob, and which layers it is: the same one may be there several times.
struct Wanted<'a> {
    descriptor: &'a Descriptor,
    places: Vec<usize>,
}

impl Layers<'_> {
    /// Brings all layers in. Returns whether any was fetched.
    async fn fetch(&self, layers: &[Descriptor]) -> Result<bool> {
        let mut wanted: Vec<Wanted<'_>> = Vec::new();
        for (index, descriptor) in layers.iter().enumerate() {
            match wanted
                .iter_mut()
                .find(|w| w.descriptor.digest == descriptor.digest)
            {
                Some(known) if known.descriptor.size != descriptor.size => {
                    let reason = format!("it gives {} two sizes", descriptor.digest);
                    return Err(Error::Manifest { reason });
                }
                Some(known) => known.places.push(index),
                None => wanted.push(Wanted {
                    descriptor,
                    places: vec![index],
                }),
            }
        }
        let mut missing = Vec::new();
        for layer in wanted {
            let id = layer.descriptor.digest.short();
            if self.is_stored(&layer.descriptor.digest).await? {
                self.options.progress.send(id, Status::AlreadyExists);
                self.stored(&layer);
            } else {
                self.options.progress.send(id, Status::PullingFsLayer);
                missing.push(layer);
            }
        }
        let fetched = !missing.is_empty();
        try_join_all(missing.iter().map(|layer| self.layer(layer))).await?;
        Ok(fetched)
    }

    async fn is_stored(&self, digest: &Digest) -> Result<bool> {
        let (store, lease, digest) = (
            self.puller.store.clone(),
            self.lease.clone(),
            digest.clone(),
        );
        let held = blocking(move || store.hold(&lease, &digest)).await?;
        Ok(held.map_err(Error::store)?.is_some())
    }

    fn stored(&self, layer: &Wanted<'_>) {
        for index in &layer.places {
            send(self.options, || PullEvent::LayerStored { index: *index });
        }
    }

    async fn layer(&self, layer: &Wanted<'_>) -> Result<()> {
        let mut streamed = false;
        loop {
            let (flight, own) =
                self.puller
                    .flights
                    .join(self.repository, layer.descriptor, self.lease);
            let result = self.follow(layer, flight.watch(), &mut streamed).await;
            match result {
                Ok(()) => {
                    // Somebody else's lease kept it until now.
                    if !own && !self.is_stored(&layer.descriptor.digest).await? {
                        continue;
                    }
                    let id = layer.descriptor.digest.short();
                    self.options.progress.send(id, Status::DownloadComplete);
                    self.stored(layer);
                    return Ok(());
                }
                // Somebody else's download failed, perhaps for want of their credentials.
                Err(_) if !own => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells what a download does, until it is done.
    async fn follow(
        &self,
        layer: &Wanted<'_>,
        mut watch: watch::Receiver<Shown>,
        streamed: &mut bool,
    ) -> Result<()> {
        let id = layer.descriptor.digest.short();
        loop {
            let shown = watch.borrow_and_update().clone();
            if let (Some(tail), false, Some(index)) = (shown.tail, *streamed, layer.places.first())
            {
                *streamed = true;
                let stream = LayerStream::new(tail);
                send(self.options, || PullEvent::LayerStarted {
                    index: *index,
                    stream,
                });
            }
            let status = match shown.state {
                State::Done(result) => return result,
                State::Starting => None,
                State::Queued => Some(Status::Waiting),
                State::Downloading { current, total } => {
                    Some(Status::Downloading { current, total })
                }
                State::Retrying { seconds } => Some(Status::Retrying { seconds }),
                State::Verifying => Some(Status::VerifyingChecksum),
            };
            if let Some(status) = status {
                self.options.progress.send(id, status);
            }
            if watch.changed().await.is_err() {
                let last = watch.borrow().state.clone();
                return match last {
                    State::Done(result) => result,
                    _ => Err(Error::store("the download was aborted")),
                };
            }
        }
    }
}
