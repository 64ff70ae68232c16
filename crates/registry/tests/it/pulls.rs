//! Pulls that go well: selection, sharing, streaming, cancelling, resuming.

use std::io::Read;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_oci::Platform;
use coracle_registry::Error;
use coracle_registry::Progress;
use coracle_registry::ProgressEvent;
use coracle_registry::PullEvent;
use coracle_registry::PullOptions;
use coracle_registry::Status;

use crate::TestStore;
use crate::client;
use crate::fake::Content;
use crate::fake::Plan;
use crate::fake::Reply;
use crate::fake::Server;
use crate::image::Image;
use crate::image::index;
use crate::reference;

fn listening() -> (Progress, Arc<Mutex<Vec<ProgressEvent>>>) {
    let events: Arc<Mutex<Vec<ProgressEvent>>> = Arc::default();
    let sink = events.clone();
    (
        Progress::new(move |event| sink.lock().unwrap().push(event)),
        events,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_comes_whole_and_only_once() {
    let image = Image::new(1, &[300_000, 10, 2_000_000, 0]);
    let content = Content::of(&[("v1", &image)]);
    let server = Server::start(move |seen| content.answer(seen)).await;
    let here = TestStore::new();
    let puller = here.puller(&client());
    let name = reference(&format!("{}/a/b:v1", server.address));

    let (progress, events) = listening();
    let options = PullOptions {
        progress,
        ..PullOptions::default()
    };
    let pulled = puller.pull(&name, options.clone()).await.unwrap();
    assert!(image.is_in(&here.store));
    assert_eq!(pulled.root.digest, image.manifest.0.digest);
    assert_eq!(pulled.layers().len(), 4);
    assert!(!pulled.was_complete);
    assert_eq!(here.list("ingest"), Vec::<String>::new());

    let of_large: Vec<String> = {
        let events = events.lock().unwrap();
        let id = image.layer(2).0.digest.short();
        events
            .iter()
            .filter(|e| e.id == id)
            .map(|e| e.status.to_string())
            .collect()
    };
    assert_eq!(
        of_large.first().map(String::as_str),
        Some("Pulling fs layer")
    );
    assert!(of_large.contains(&"Downloading".to_owned()), "{of_large:?}");
    assert_eq!(
        of_large.last().map(String::as_str),
        Some("Download complete")
    );
    assert_eq!(
        events.lock().unwrap()[0].status.to_string(),
        "Pulling from a/b"
    );
    assert_eq!(events.lock().unwrap()[0].id, "v1");

    events.lock().unwrap().clear();
    let requests = server.seen().len();
    let again = puller.pull(&name, options).await.unwrap();
    assert!(again.was_complete);
    // Nothing but a look at what the tag stands for now.
    assert_eq!(server.seen().len(), requests + 1);
    let exists = events
        .lock()
        .unwrap()
        .iter()
        .filter(|e| e.status == Status::AlreadyExists)
        .count();
    assert_eq!(exists, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_are_chosen() {
    let platform = |text: &str| Platform::parse(text).unwrap();
    let arm = Image::for_platform(1, &[10], &platform("linux/arm64"));
    let host = Image::new(2, &[20]);
    let list = index(&[
        (&arm, Some(platform("linux/arm64"))),
        (&host, Some(Platform::host())),
    ]);
    let mut content = Content::of(&[("", &arm), ("", &host), ("arm", &arm)]);
    content.add_manifest("list", &list);
    let unnamed = index(&[(&arm, None), (&host, None)]);
    content.add_manifest("unnamed", &unnamed);
    let inner = (list.0.clone(), list.1.clone());
    let nested = serde_json::json!({"schemaVersion": 2, "manifests": [inner.0]});
    let nested = serde_json::to_vec(&nested).unwrap();
    let nested = (
        coracle_oci::Descriptor::of(coracle_oci::media::OCI_INDEX, &nested),
        nested,
    );
    content.add_manifest("nested", &nested);
    let server = Server::start(move |seen| content.answer(seen)).await;
    let at = |tag: &str| reference(&format!("{}/p:{tag}", server.address));

    for tag in ["list", "unnamed", "nested"] {
        let here = TestStore::new();
        let puller = here.puller(&client());
        let pulled = puller.pull(&at(tag), PullOptions::default()).await.unwrap();
        assert_eq!(
            pulled.manifest_descriptor.digest, host.manifest.0.digest,
            "{tag}"
        );
        assert_ne!(pulled.root.digest, pulled.manifest_descriptor.digest);
        assert!(host.is_in(&here.store) && !arm.is_in(&here.store));
    }

    let here = TestStore::new();
    let puller = here.puller(&client());
    let wanting = |text: &str| PullOptions {
        platform: Some(platform(text)),
        ..PullOptions::default()
    };
    let pulled = puller
        .pull(&at("list"), wanting("linux/arm64"))
        .await
        .unwrap();
    assert_eq!(pulled.manifest_descriptor.digest, arm.manifest.0.digest);

    let error = puller
        .pull(&at("list"), wanting("linux/s390x"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/s390x in the manifest list entries"
    );
    let error = puller
        .pull(&at("arm"), wanting("linux/s390x"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::PlatformMismatch { .. }), "{error}");
    // Without a wish, an image that is one of none is taken as it is.
    puller
        .pull(&at("arm"), PullOptions::default())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_can_be_read_while_they_come() {
    let image = Image::new(3, &[3_000_000, 500_000]);
    let digest = image.layer(0).0.digest.clone();
    let content = Content::of(&[("v", &image)]);
    let part = image.layer(0).1[..1_000_000].to_vec();
    let tries = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if seen.path.contains(digest.as_str()) && tries.fetch_add(1, Ordering::SeqCst) == 0 {
            return Reply::plan(200, Plan::Cut(part.clone(), 3_000_000));
        }
        content.answer(seen)
    })
    .await;
    let here = TestStore::new();
    let (events, mut news) = tokio::sync::mpsc::unbounded_channel();
    let options = PullOptions {
        events: Some(events),
        ..PullOptions::default()
    };
    let puller = here.puller(&client());
    let name = reference(&format!("{}/s:v", server.address));
    let pull = tokio::spawn(async move { puller.pull(&name, options).await });
    let mut readers = Vec::new();
    let mut stored = Vec::new();
    let mut told = false;
    while let Some(event) = news.recv().await {
        match event {
            PullEvent::Image { manifest, config } => {
                assert_eq!(manifest.layers.len(), config.rootfs.diff_ids.len());
                told = true;
            }
            PullEvent::LayerStarted { index, mut stream } => {
                assert!(told);
                readers.push(tokio::task::spawn_blocking(move || {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).map(|_| (index, all))
                }));
            }
            PullEvent::LayerStored { index } => stored.push(index),
        }
    }
    pull.await.unwrap().unwrap();
    assert_eq!(readers.len(), 2);
    for reader in readers {
        let (index, bytes) = reader.await.unwrap().unwrap();
        assert!(bytes == image.layer(index).1);
    }
    stored.sort_unstable();
    assert_eq!(stored, [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_at_the_same_time_share_downloads() {
    let image = Image::new(4, &[400_000, 500_000, 10]);
    let content = Content::of(&[("a", &image), ("b", &image)]);
    let layers: Vec<_> = (0..3).map(|n| image.layer(n).clone()).collect();
    let server = Server::start(move |seen| {
        match layers
            .iter()
            .find(|(d, _)| seen.path.contains(d.digest.as_str()))
        {
            Some((_, bytes)) => {
                Reply::plan(200, Plan::Slow(Duration::from_millis(300), bytes.clone()))
            }
            None => content.answer(seen),
        }
    })
    .await;
    let here = TestStore::new();
    let puller = here.puller(&client());
    let pulls = ["a", "b", "a", "b"].map(|tag| {
        let (puller, name) = (
            puller.clone(),
            reference(&format!("{}/x:{tag}", server.address)),
        );
        tokio::spawn(async move { puller.pull(&name, PullOptions::default()).await })
    });
    for pull in pulls {
        pull.await.unwrap().unwrap();
    }
    assert!(image.is_in(&here.store));
    for (descriptor, _) in &image.blobs[1..] {
        assert_eq!(server.count("GET", descriptor.digest.as_str()), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_may_leave() {
    let image = Image::new(5, &[200_000]);
    let content = Content::of(&[("v", &image)]);
    let layer = image.layer(0).clone();
    let server = Server::start(move |seen| {
        if seen.path.contains(layer.0.digest.as_str()) {
            let slow = Plan::Slow(Duration::from_millis(600), layer.1.clone());
            return Reply::plan(200, slow);
        }
        content.answer(seen)
    })
    .await;
    let here = TestStore::new();
    let puller = here.puller(&client());
    let name = reference(&format!("{}/x:v", server.address));
    let start = || {
        let (puller, name) = (puller.clone(), name.clone());
        tokio::spawn(async move { puller.pull(&name, PullOptions::default()).await })
    };
    let first = start();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.abort();
    second.await.unwrap().unwrap();
    assert!(image.is_in(&here.store));
    assert_eq!(server.count("GET", image.layer(0).0.digest.as_str()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_pull_stops_and_the_next_one_resumes() {
    let image = Image::new(6, &[2_000_000]);
    let (descriptor, bytes) = image.layer(0).clone();
    let content = Content::of(&[("v", &image)]);
    let first = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if seen.path.contains(descriptor.digest.as_str())
            && first.fetch_add(1, Ordering::SeqCst) < 1
        {
            return Reply::plan(200, Plan::Cut(bytes[..700_000].to_vec(), 2_000_000));
        }
        if seen.range().is_some() && first.fetch_add(1, Ordering::SeqCst) < 3 {
            return Reply::plan(206, Plan::Stall)
                .header("Content-Range", "bytes 700000-1999999/2000000")
                .header("Content-Length", "1300000");
        }
        content.answer(seen)
    })
    .await;
    let here = TestStore::new();
    let puller = here.puller(&client());
    let name = reference(&format!("{}/x:v", server.address));
    let pull = {
        let (puller, name) = (puller.clone(), name.clone());
        tokio::spawn(async move { puller.pull(&name, PullOptions::default()).await })
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while server.seen().iter().all(|seen| seen.range().is_none()) {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pull.abort();
    assert!(pull.await.unwrap_err().is_cancelled());
    let partial = here.list("ingest");
    assert_eq!(partial.len(), 1, "{partial:?}");
    let before = server.seen().len();
    puller.pull(&name, PullOptions::default()).await.unwrap();
    assert!(image.is_in(&here.store));
    let resumed: Vec<_> = server.seen()[before..]
        .iter()
        .filter(|s| s.path.contains("/blobs/"))
        .cloned()
        .collect();
    assert_eq!(resumed[0].range(), Some(700_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_partial_download_is_begun_anew() {
    let image = Image::new(7, &[900_000]);
    let content = Content::of(&[("v", &image)]);
    let server = Server::start(move |seen| content.answer(seen)).await;
    let here = TestStore::new();
    {
        let lease = here.store.lease();
        let mut ingest = here.store.resume(&lease, &image.layer(0).0).unwrap();
        ingest.write(&vec![7; 400_000]).unwrap();
    }
    let name = reference(&format!("{}/x:v", server.address));
    here.puller(&client())
        .pull(&name, PullOptions::default())
        .await
        .unwrap();
    assert!(image.is_in(&here.store));
    assert_eq!(server.count("GET", image.layer(0).0.digest.as_str()), 2);
}
