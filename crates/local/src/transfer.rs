//! Images in and out: registries, archives.

use std::io::Read;
use std::sync::Arc;

use coracle_oci::Reference;
use coracle_registry::{
    AuthSource, Credentials, ErrorKind, ProgressEvent, PullEvent, PullOptions, PushOptions, Status,
};
use coracle_runtime::image::{LoginStatus, Progress, PullRequest, PushRequest, RegistryAuth};
use coracle_runtime::io::BoxStream;
use coracle_runtime::{Result, RuntimeError};
use coracle_store::{Image, Origin};
use futures_util::stream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::images::{self, parse_platform};

/// What is kept of a pull's progress while nobody reads it.
type Sender = UnboundedSender<Result<Progress>>;

/// Pulls an image, or all of a repository's.
pub(crate) async fn pull(engine: Arc<Engine>, request: PullRequest) -> Result<BoxStream<Progress>> {
    let reference = parse(&request.reference)?;
    let platform = request.platform.as_deref().filter(|text| !text.is_empty());
    let platform = platform.map(parse_platform).transpose()?;
    let auth = auth(request.auth);
    let references = if request.all_tags {
        let repository = engine
            .images
            .client
            .repository(&reference, auth.clone())
            .map_err(error)?;
        let tags = repository.tags().await.map_err(error)?;
        tags.iter()
            .map(|tag| {
                reference
                    .with_tag(tag)
                    .map_err(|error| RuntimeError::Backend(error.to_string()))
            })
            .collect::<Result<Vec<_>>>()?
    } else {
        vec![reference]
    };
    let (sender, receiver) = mpsc::unbounded_channel();
    let work = async move {
        for reference in references {
            let options = PullOptions {
                auth: auth.clone(),
                platform: platform.clone(),
                progress: listener(&sender),
                events: None,
            };
            if let Err(error) = pull_one(&engine, &reference, options, &sender).await {
                let _ = sender.send(Err(error));
                return;
            }
        }
    };
    first_or_error(receiver, work).await
}

async fn pull_one(
    engine: &Arc<Engine>,
    reference: &Reference,
    mut options: PullOptions,
    sender: &Sender,
) -> Result<()> {
    let (events, received) = mpsc::unbounded_channel();
    options.events = Some(events);
    let platform = options.platform.clone();
    let unpacking = unpack(engine.clone(), received, sender.clone());
    let pulling = async {
        engine
            .images
            .puller
            .pull(reference, options)
            .await
            .map_err(error)
    };
    let (pulled, ()) = tokio::try_join!(pulling, unpacking)?;
    let before = engine.images.store.target(reference);
    let store = engine.images.store.clone();
    let (root, named) = (pulled.root.clone(), reference.clone());
    let replaced = tokio::task::spawn_blocking(move || {
        store.set_image(Some(&named), &root, platform.as_ref(), Origin::Registry)
    })
    .await
    .map_err(interrupted)?
    .map_err(images::error)?;
    let name = reference.familiar();
    let fresh = before.is_none_or(|before| before.digest != pulled.root.digest);
    let say = |status: String| {
        let _ = sender.send(Ok(Progress {
            status,
            ..Default::default()
        }));
    };
    say(format!("Digest: {}", pulled.root.digest));
    say(if fresh {
        format!("Status: Downloaded newer image for {name}")
    } else {
        format!("Status: Image is up to date for {name}")
    });
    engine.emit_image("pull", &name, &reference.familiar_name());
    tracing::info!(%name, id = %replaced.id, "pulled");
    Ok(())
}

/// Unpacks layers while they come in, each as soon as it can be read.
async fn unpack(
    engine: Arc<Engine>,
    mut events: UnboundedReceiver<PullEvent>,
    sender: Sender,
) -> Result<()> {
    let mut plan: Option<Arc<Plan>> = None;
    let mut started: JoinSet<(usize, bool)> = JoinSet::new();
    let mut unpacked = std::collections::HashSet::new();
    let mut stored = std::collections::BTreeSet::new();
    while let Some(event) = events.recv().await {
        match event {
            PullEvent::Image { manifest, config } => {
                plan = Some(Arc::new(Plan::new(&manifest, &config)));
            }
            PullEvent::LayerStarted { index, stream } => {
                let Some(plan) = plan.clone() else { continue };
                let engine = engine.clone();
                started.spawn_blocking(move || {
                    let done = plan.unpack(&engine, index, stream).is_ok();
                    (index, done)
                });
            }
            PullEvent::LayerStored { index } => drop(stored.insert(index)),
        }
    }
    while let Some(result) = started.join_next().await {
        let (index, done) = result.map_err(interrupted)?;
        if done {
            unpacked.insert(index);
        }
    }
    let Some(plan) = plan else { return Ok(()) };
    // What was there already, or failed as a stream, from the blob.
    for index in stored {
        if !unpacked.contains(&index) {
            let (engine, plan) = (engine.clone(), plan.clone());
            tokio::task::spawn_blocking(move || plan.unpack_stored(&engine, index))
                .await
                .map_err(interrupted)??;
        }
        let id = plan
            .layers
            .get(index)
            .map(|layer| short(&layer.descriptor.digest));
        let status = Status::PullComplete.to_string();
        let _ = sender.send(Ok(Progress {
            id: id.unwrap_or_default(),
            status,
            ..Default::default()
        }));
    }
    Ok(())
}

/// An image's layers, before the image is there.
struct Plan {
    layers: Vec<coracle_store::Layer>,
}

impl Plan {
    fn new(manifest: &coracle_oci::Manifest, config: &coracle_oci::ImageConfig) -> Self {
        let diff_ids = &config.rootfs.diff_ids;
        let layers = manifest
            .layers
            .iter()
            .zip(diff_ids)
            .zip(coracle_oci::chain_ids(diff_ids))
            .map(|((descriptor, diff_id), chain_id)| coracle_store::Layer {
                descriptor: descriptor.clone(),
                diff_id: diff_id.clone(),
                chain_id,
            })
            .collect();
        Self { layers }
    }

    fn unpack(&self, engine: &Engine, index: usize, from: impl Read + Send) -> Result<()> {
        let Some(layer) = self.layers.get(index) else {
            return Ok(());
        };
        if engine.snapshots.has_layer(&layer.chain_id) {
            return Ok(());
        }
        let below = index
            .checked_sub(1)
            .and_then(|below| self.layers.get(below));
        engine
            .snapshots
            .unpack(layer, below.map(|layer| &layer.chain_id), from)
    }

    fn unpack_stored(&self, engine: &Engine, index: usize) -> Result<()> {
        let Some(layer) = self.layers.get(index) else {
            return Ok(());
        };
        if engine.snapshots.has_layer(&layer.chain_id) {
            return Ok(());
        }
        let blob = engine
            .images
            .store
            .open_blob(&layer.descriptor.digest)
            .map_err(images::error)?;
        self.unpack(engine, index, blob)
    }
}

/// Unpacks all layers of an image that came in without a pull.
pub(crate) fn unpack_image(engine: &Engine, image: &Image) -> Result<()> {
    let plan = Plan::new(&image.manifest, &image.config);
    (0..plan.layers.len()).try_for_each(|index| plan.unpack_stored(engine, index))
}

/// Pushes an image, or all tags of a repository.
pub(crate) async fn push(engine: Arc<Engine>, request: PushRequest) -> Result<BoxStream<Progress>> {
    let reference = parse(&request.reference)?;
    let platform = request.platform.as_deref().filter(|text| !text.is_empty());
    let platform = platform.map(parse_platform).transpose()?;
    let auth = auth(request.auth);
    let store = &engine.images.store;
    let references = if request.all_tags {
        store.tags(&reference)
    } else {
        vec![reference.clone()]
    };
    let mut targets = Vec::new();
    for reference in references {
        if let Some(target) = store.target(&reference) {
            targets.push((reference, target));
        }
    }
    if targets.is_empty() {
        return Err(RuntimeError::ImageNotFound(format!(
            "An image does not exist locally with the tag: {}",
            reference.familiar_name()
        )));
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let at_once = engine.config.max_uploads;
    let work = async move {
        let domain = reference.domain().to_owned();
        let path = reference.path().to_owned();
        let _ = sender.send(Ok(Progress {
            status: format!("The push refers to repository [{domain}/{path}]"),
            ..Default::default()
        }));
        for (reference, target) in targets {
            let options = PushOptions {
                auth: auth.clone(),
                platform: platform.clone(),
                progress: listener(&sender),
                at_once,
                known_in: None,
            };
            let store = &engine.images.store;
            let client = &engine.images.client;
            match coracle_registry::push(client, store, &target, &reference, options).await {
                Ok(pushed) => {
                    let tag = pushed.tag.clone().unwrap_or_default();
                    let digest = pushed.descriptor.digest.to_string();
                    let size = pushed.descriptor.size;
                    if let Err(error) = store.add_repo_digest(&reference, &pushed.descriptor) {
                        tracing::warn!(%error, "cannot note the digest of a pushed image");
                    }
                    let _ = sender.send(Ok(Progress {
                        status: format!("{tag}: digest: {digest} size: {size}"),
                        ..Default::default()
                    }));
                    let _ = sender.send(Ok(Progress {
                        aux: Some(serde_json::json!({"Tag": tag, "Digest": digest, "Size": size})),
                        ..Default::default()
                    }));
                    let name = reference.familiar();
                    engine.emit_image("push", &name, &reference.familiar_name());
                }
                Err(failure) => {
                    let _ = sender.send(Err(error(failure)));
                    return;
                }
            }
        }
    };
    Ok(with_work(receiver, work))
}

/// Checks credentials with their registry.
pub(crate) async fn login(engine: &Engine, given: RegistryAuth) -> Result<LoginStatus> {
    let registry = match given.server_address.as_str() {
        "" => "docker.io".to_owned(),
        address => address.to_owned(),
    };
    let status = engine
        .images
        .client
        .login(&registry, &credentials(given))
        .await
        .map_err(|failure| match failure.kind() {
            ErrorKind::Unauthorized | ErrorKind::NotFound => {
                RuntimeError::Unauthorized(failure.to_string())
            }
            _ => error(failure),
        })?;
    Ok(LoginStatus {
        status: "Login Succeeded".into(),
        identity_token: status.identity_token.unwrap_or_default(),
    })
}

fn credentials(given: RegistryAuth) -> Credentials {
    Credentials {
        username: given.username,
        password: given.password,
        identity_token: given.identity_token,
        registry_token: given.registry_token,
        server_address: given.server_address,
    }
}

fn auth(given: Option<RegistryAuth>) -> AuthSource {
    match given
        .map(credentials)
        .filter(|credentials| !credentials.is_empty())
    {
        Some(credentials) => AuthSource::Given(credentials),
        None => AuthSource::Anonymous,
    }
}

fn parse(text: &str) -> Result<Reference> {
    Reference::parse_normalized(text)
        .map_err(|error| RuntimeError::InvalidArgument(error.to_string()))
}

fn listener(sender: &Sender) -> coracle_registry::Progress {
    let sender = sender.clone();
    coracle_registry::Progress::new(move |event| {
        let _ = sender.send(Ok(progress(&event)));
    })
}

fn progress(event: &ProgressEvent) -> Progress {
    Progress {
        id: event.id.clone(),
        status: event.status.to_string(),
        bytes: event
            .status
            .amounts()
            .map(|(current, total)| (current, Some(total))),
        ..Default::default()
    }
}

fn short(digest: &coracle_oci::Digest) -> String {
    let text = digest.to_string();
    text.split(':')
        .nth(1)
        .unwrap_or_default()
        .chars()
        .take(12)
        .collect()
}

/// Runs work beside a stream of what it tells; dropping the stream drops the work.
pub(crate) fn with_work<T: Send + 'static>(
    receiver: UnboundedReceiver<Result<T>>,
    work: impl Future<Output = ()> + Send + 'static,
) -> BoxStream<T> {
    let state = (receiver, Some(Box::pin(work)));
    Box::pin(stream::unfold(
        state,
        |(mut receiver, mut work)| async move {
            loop {
                let Some(running) = &mut work else {
                    // All that is left was said before the work ended.
                    return receiver
                        .try_recv()
                        .ok()
                        .map(|item| (item, (receiver, None)));
                };
                tokio::select! {
                    biased;
                    item = receiver.recv() => match item {
                        Some(item) => return Some((item, (receiver, work))),
                        None => return None,
                    },
                    () = running => work = None,
                }
            }
        },
    ))
}

/// As [`with_work`], but an error that comes before anything else is the call's own: it has a status
/// code of its own then.
async fn first_or_error<T: Send + 'static>(
    receiver: UnboundedReceiver<Result<T>>,
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<BoxStream<T>> {
    use futures_util::StreamExt;
    let mut told = with_work(receiver, work);
    match told.next().await {
        None => Ok(told),
        Some(Err(error)) => Err(error),
        Some(Ok(first)) => Ok(Box::pin(stream::iter([Ok(first)]).chain(told))),
    }
}

fn interrupted(error: tokio::task::JoinError) -> RuntimeError {
    RuntimeError::Internal(format!("the work was interrupted: {error}"))
}

/// What a registry's error means to the user.
pub(crate) fn error(error: coracle_registry::Error) -> RuntimeError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::NotFound => RuntimeError::ImageNotFound(text),
        ErrorKind::Unauthorized => RuntimeError::Unauthorized(text),
        ErrorKind::Invalid => RuntimeError::InvalidArgument(text),
        // Docker answers 500 here, and its clients expect no gateway errors; the text tells.
        ErrorKind::Unavailable | ErrorKind::Corrupt => RuntimeError::Backend(text),
        ErrorKind::Internal => RuntimeError::Internal(text),
    }
}
