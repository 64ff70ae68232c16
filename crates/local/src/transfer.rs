//! Images in and out: registries, archives.

use std::collections::BTreeSet;
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
    let mut running: JoinSet<(usize, bool)> = JoinSet::new();
    let mut done = BTreeSet::new();
    let mut stored = BTreeSet::new();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                None => break,
                Some(PullEvent::Image { manifest, config }) => {
                    plan = Some(Arc::new(Plan::new(&manifest, &config)));
                }
                Some(PullEvent::LayerStarted { index, stream }) => {
                    let Some(plan) = plan.clone() else { continue };
                    let engine = engine.clone();
                    running.spawn_blocking(move || {
                        (index, plan.unpack(&engine, index, stream).is_ok())
                    });
                }
                Some(PullEvent::LayerStored { index }) => drop(stored.insert(index)),
            },
            Some(result) = running.join_next() => {
                note(result, plan.as_deref(), &mut done, &sender)?;
            }
        }
    }
    while let Some(result) = running.join_next().await {
        note(result, plan.as_deref(), &mut done, &sender)?;
    }
    let Some(plan) = plan else { return Ok(()) };
    // What was there already, or failed as a stream, from the blob.
    for index in stored.difference(&done).copied() {
        let (engine, planned) = (engine.clone(), plan.clone());
        let fresh = tokio::task::spawn_blocking(move || planned.unpack_stored(&engine, index))
            .await
            .map_err(interrupted)??;
        if fresh {
            plan.say_complete(index, &sender);
        }
    }
    Ok(())
}

/// Notes that the unpacking of a layer has ended; one that failed is tried again from the blob.
fn note(
    result: std::result::Result<(usize, bool), tokio::task::JoinError>,
    plan: Option<&Plan>,
    done: &mut BTreeSet<usize>,
    sender: &Sender,
) -> Result<()> {
    let (index, unpacked) = result.map_err(interrupted)?;
    if let (true, Some(plan)) = (unpacked, plan) {
        done.insert(index);
        plan.say_complete(index, sender);
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

    /// Unpacks a layer from its blob; `false` where that was done already.
    fn unpack_stored(&self, engine: &Engine, index: usize) -> Result<bool> {
        let Some(layer) = self.layers.get(index) else {
            return Ok(false);
        };
        if engine.snapshots.has_layer(&layer.chain_id) {
            return Ok(false);
        }
        let blob = engine
            .images
            .store
            .open_blob(&layer.descriptor.digest)
            .map_err(images::error)?;
        self.unpack(engine, index, blob).map(|()| true)
    }

    fn say_complete(&self, index: usize, sender: &Sender) {
        let id = self
            .layers
            .get(index)
            .map(|layer| short(&layer.descriptor.digest));
        let _ = sender.send(Ok(Progress {
            id: id.unwrap_or_default(),
            status: Status::PullComplete.to_string(),
            ..Default::default()
        }));
    }
}

/// Unpacks all layers of an image that came in without a pull.
pub(crate) fn unpack_image(engine: &Engine, image: &Image) -> Result<()> {
    let plan = Plan::new(&image.manifest, &image.config);
    (0..plan.layers.len()).try_for_each(|index| plan.unpack_stored(engine, index).map(drop))
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

pub(crate) fn auth(given: Option<RegistryAuth>) -> AuthSource {
    match given
        .map(credentials)
        .filter(|credentials| !credentials.is_empty())
    {
        Some(credentials) => AuthSource::Given(credentials),
        None => AuthSource::Anonymous,
    }
}

pub(crate) fn parse(text: &str) -> Result<Reference> {
    Reference::parse_normalized(text)
        .map_err(|error| RuntimeError::InvalidArgument(error.to_string()))
}

/// Passes progress on. That a pull begins is only said once something was found: until then an
/// error is the call's own, with a status code.
fn listener(sender: &Sender) -> coracle_registry::Progress {
    let sender = sender.clone();
    let begun = std::sync::Mutex::new(None);
    coracle_registry::Progress::new(move |event| {
        let mut begun = begun
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if matches!(event.status, Status::Resolving { .. }) {
            *begun = Some(progress(&event));
            return;
        }
        for message in begun.take().into_iter().chain([progress(&event)]) {
            let _ = sender.send(Ok(message));
        }
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
        // Not 401: by that a client is asked for its own credentials, and Docker's then asks the user.
        ErrorKind::Unauthorized => RuntimeError::Backend(text),
        ErrorKind::Invalid => RuntimeError::InvalidArgument(text),
        // Docker answers 500 here, and its clients expect no gateway errors; the text tells.
        ErrorKind::Unavailable | ErrorKind::Corrupt => RuntimeError::Backend(text),
        ErrorKind::Internal => RuntimeError::Internal(text),
    }
}
