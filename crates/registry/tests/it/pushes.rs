//! Pushes to registries that fail on the way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use coracle_registry::Error;
use coracle_registry::Progress;
use coracle_registry::PushOptions;
use coracle_registry::push;

use crate::TestStore;
use crate::client;
use crate::fake::Reply;
use crate::fake::Seen;
use crate::fake::Server;
use crate::image::Image;
use crate::image::index;
use crate::image::put;
use crate::reference;

/// A registry that takes uploads, as the specification says.
#[derive(Default)]
struct Uploads {
    begun: AtomicUsize,
    open: Mutex<HashMap<String, Vec<u8>>>,
    done: Mutex<HashMap<String, Vec<u8>>>,
}

fn query<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    let (_, query) = seen.path.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

impl Uploads {
    fn answer(&self, seen: &Seen) -> Reply {
        let path = seen.path.split('?').next().unwrap();
        let id = path.rsplit('/').next().unwrap().to_owned();
        let (mut open, mut done) = (self.open.lock().unwrap(), self.done.lock().unwrap());
        match (seen.method.as_str(), path) {
            (_, "/v2/") => Reply::new(200, ""),
            ("HEAD", _) if done.contains_key(&id) => Reply::new(200, ""),
            ("HEAD", _) => Reply::new(404, ""),
            ("POST", _) => {
                let id = format!("u{}", self.begun.fetch_add(1, Ordering::SeqCst));
                open.insert(id.clone(), Vec::new());
                Reply::new(202, "").header("Location", format!("{path}{id}?state=a%2Fb"))
            }
            ("GET", _) => {
                let last = open[&id].len().saturating_sub(1);
                Reply::new(204, "")
                    .header("Range", format!("0-{last}"))
                    .header("Location", &seen.path)
            }
            ("PATCH", _) => {
                let range = seen.header("content-range").unwrap();
                let upload = open.get_mut(&id).unwrap();
                if !range.starts_with(&format!("{}-", upload.len())) {
                    return Reply::error(416, "RANGE_INVALID");
                }
                upload.extend_from_slice(&seen.body);
                Reply::new(202, "").header("Location", &seen.path)
            }
            ("PUT", _) if path.contains("/manifests/") => {
                done.insert(id, seen.body.clone());
                Reply::new(201, "")
            }
            ("PUT", _) => {
                let mut bytes = open.remove(&id).unwrap();
                bytes.extend_from_slice(&seen.body);
                let digest = coracle_oci::Digest::sha256(&bytes).to_string();
                if query(seen, "digest") != Some(digest.replace(':', "%3A").as_str()) {
                    return Reply::error(400, "DIGEST_INVALID");
                }
                done.insert(digest, bytes);
                Reply::new(201, "")
            }
            _ => Reply::new(405, ""),
        }
    }

    fn has(&self, image: &Image) -> bool {
        let done = self.done.lock().unwrap();
        image
            .blobs
            .iter()
            .all(|(d, bytes)| done.get(d.digest.as_str()) == Some(bytes))
    }
}

fn listening() -> (Progress, Arc<Mutex<Vec<String>>>) {
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = events.clone();
    (
        Progress::new(move |event| sink.lock().unwrap().push(event.status.to_string())),
        events,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_images_go_once() {
    let image = Image::new(1, &[1_000_000, 5]);
    let uploads = Arc::new(Uploads::default());
    let registry = uploads.clone();
    let server = Server::start(move |seen| registry.answer(seen)).await;
    let here = TestStore::new();
    image.put(&here.store);
    let name = reference(&format!("{}/x:v", server.address));
    let (progress, events) = listening();
    let options = PushOptions {
        progress,
        ..PushOptions::default()
    };
    let root = &image.manifest.0;
    let pushed = push(&client(), &here.store, root, &name, options.clone())
        .await
        .unwrap();
    assert_eq!(pushed.descriptor.digest, root.digest);
    assert_eq!(pushed.tag.as_deref(), Some("v"));
    assert!(uploads.has(&image));
    assert_eq!(uploads.done.lock().unwrap()["v"], image.manifest.1);
    let said = std::mem::take(&mut *events.lock().unwrap());
    assert_eq!(said.iter().filter(|s| *s == "Pushed").count(), 2);
    assert_eq!(said[0], "Preparing");

    push(&client(), &here.store, root, &name, options)
        .await
        .unwrap();
    let said = events.lock().unwrap().clone();
    assert_eq!(
        said.iter().filter(|s| *s == "Layer already exists").count(),
        2
    );
    assert_eq!(server.count("POST", "/uploads/"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_uploads_are_resumed() {
    let image = Image::new(2, &[900_000]);
    let uploads = Arc::new(Uploads::default());
    let registry = uploads.clone();
    let failed = Mutex::new(false);
    let server = Server::start(move |seen| {
        let mut failed = failed.lock().unwrap();
        if seen.method == "PUT" && seen.body.len() == 900_000 && !*failed {
            *failed = true;
            // The registry got most of it, then lost its storage.
            let id = seen
                .path
                .split('?')
                .next()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap();
            let mut open = registry.open.lock().unwrap();
            open.get_mut(id)
                .unwrap()
                .extend_from_slice(&seen.body[..600_000]);
            return Reply::error(503, "UNAVAILABLE");
        }
        drop(failed);
        registry.answer(seen)
    })
    .await;
    let here = TestStore::new();
    image.put(&here.store);
    let name = reference(&format!("{}/x:v", server.address));
    let root = &image.manifest.0;
    push(&client(), &here.store, root, &name, PushOptions::default())
        .await
        .unwrap();
    assert!(uploads.has(&image));
    let patch = server
        .seen()
        .into_iter()
        .find(|seen| seen.method == "PATCH")
        .unwrap();
    assert_eq!(patch.header("content-range"), Some("600000-899999"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_too_large_become_chunks() {
    let image = Image::new(3, &[400_000]);
    let uploads = Arc::new(Uploads::default());
    let registry = uploads.clone();
    let server = Server::start(move |seen| {
        if seen.is("PUT", "/uploads/") && seen.body.len() > 200_000 {
            return Reply::new(413, "<html>nginx</html>");
        }
        registry.answer(seen)
    })
    .await;
    let here = TestStore::new();
    image.put(&here.store);
    let name = reference(&format!("{}/x:v", server.address));
    let root = &image.manifest.0;
    push(&client(), &here.store, root, &name, PushOptions::default())
        .await
        .unwrap();
    assert!(uploads.has(&image));
    assert_eq!(server.count("PATCH", ""), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts() {
    let image = Image::new(4, &[5000]);
    let uploads = Arc::new(Uploads::default());
    let registry = uploads.clone();
    let server = Server::start(move |seen| {
        if seen.method == "POST" && query(seen, "from") == Some("base%2Fimage") {
            return Reply::new(201, "");
        }
        registry.answer(seen)
    })
    .await;
    let here = TestStore::new();
    image.put(&here.store);
    let name = reference(&format!("{}/x:v", server.address));
    let (progress, events) = listening();
    let layer = image.layer(0).0.digest.clone();
    let options = PushOptions {
        progress,
        known_in: Some(Arc::new(move |digest| {
            let from = if *digest == layer {
                "base/image"
            } else {
                "elsewhere"
            };
            vec!["x".to_owned(), from.to_owned()]
        })),
        ..PushOptions::default()
    };
    push(&client(), &here.store, &image.manifest.0, &name, options)
        .await
        .unwrap();
    assert!(
        events
            .lock()
            .unwrap()
            .contains(&"Mounted from base/image".to_owned())
    );
    // The configuration was sent, for its mount was not granted.
    assert_eq!(server.count("PUT", "/uploads/"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_go_whole_or_in_the_one_part_that_is_here() {
    let platform = |text: &str| coracle_oci::Platform::parse(text).unwrap();
    let (one, two) = (Image::new(5, &[10]), Image::new(6, &[20]));
    let list = index(&[
        (&one, Some(platform("linux/amd64"))),
        (&two, Some(platform("linux/arm64"))),
    ]);
    let uploads = Arc::new(Uploads::default());
    let registry = uploads.clone();
    let server = Server::start(move |seen| registry.answer(seen)).await;
    let name = reference(&format!("{}/x:v", server.address));
    let client = client();

    let here = TestStore::new();
    let lease = here.store.lease();
    put(&here.store, &lease, &list.0, &list.1);
    let error = push(&client, &here.store, &list.0, &name, PushOptions::default()).await;
    assert!(matches!(error.unwrap_err(), Error::MissingContent { .. }));

    one.put(&here.store);
    let pushed = push(&client, &here.store, &list.0, &name, PushOptions::default())
        .await
        .unwrap();
    assert!(pushed.is_part);
    assert_eq!(pushed.descriptor.digest, one.manifest.0.digest);

    two.put(&here.store);
    let pushed = push(&client, &here.store, &list.0, &name, PushOptions::default())
        .await
        .unwrap();
    assert!(!pushed.is_part);
    assert_eq!(pushed.descriptor.digest, list.0.digest);
    assert!(uploads.has(&one) && uploads.has(&two));
    assert_eq!(uploads.done.lock().unwrap()["v"], list.1);

    let only = PushOptions {
        platform: Some(platform("linux/arm64")),
        ..PushOptions::default()
    };
    let pushed = push(&client, &here.store, &list.0, &name, only)
        .await
        .unwrap();
    assert_eq!(pushed.descriptor.digest, two.manifest.0.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals() {
    let image = Image::new(7, &[10]);
    let here = TestStore::new();
    image.put(&here.store);
    let server = Server::start(|seen| match (seen.method.as_str(), seen.path.as_str()) {
        (_, "/v2/") => Reply::new(200, ""),
        ("HEAD", _) => Reply::new(404, ""),
        _ => Reply::error(403, "DENIED"),
    })
    .await;
    let name = reference(&format!("{}/x:v", server.address));
    let root = &image.manifest.0;
    let error = push(&client(), &here.store, root, &name, PushOptions::default())
        .await
        .unwrap_err();
    assert!(error.to_string() == "denied: denied", "{error}");

    // An upload that leads to another host doesn't take the password there.
    let other = Server::start(|_| Reply::new(201, "")).await;
    let target = other.url("/upload");
    let server = Server::start(move |seen| {
        if seen.header("authorization").is_none() {
            return Reply::new(401, "").header("WWW-Authenticate", "Basic realm=x");
        }
        match seen.method.as_str() {
            "POST" => Reply::new(202, "").header("Location", target.clone()),
            "HEAD" => Reply::new(404, ""),
            _ => Reply::new(201, ""),
        }
    })
    .await;
    let name = reference(&format!("{}/x:v", server.address));
    let auth = coracle_registry::Credentials::basic("me", "secret");
    let options = PushOptions {
        auth: coracle_registry::AuthSource::Given(auth),
        ..PushOptions::default()
    };
    push(&client(), &here.store, root, &name, options)
        .await
        .unwrap();
    assert_eq!(other.seen().len(), 2);
    assert!(
        other
            .seen()
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
}
