//! Registries that fail now and then: what is tried again, and what is not.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use coracle_registry::Error;
use coracle_registry::PullOptions;

use crate::TestStore;
use crate::client;
use crate::fake::Content;
use crate::fake::Plan;
use crate::fake::Reply;
use crate::fake::Seen;
use crate::fake::Server;
use crate::image::Image;
use crate::reference;

/// A registry with one image, `x:v`, that answers requests for its only layer by `fault`, which
/// also gets the number of the request; `None` is the right answer.
async fn faulty(
    image: &Image,
    fault: impl Fn(usize, &Seen, &[u8]) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    let content = Content::of(&[("v", image)]);
    let (descriptor, bytes) = image.layer(0).clone();
    let count = AtomicUsize::new(0);
    Server::start(move |seen| {
        if !seen.path.contains(descriptor.digest.as_str()) {
            return content.answer(seen);
        }
        let number = count.fetch_add(1, Ordering::SeqCst);
        fault(number, seen, &bytes).unwrap_or_else(|| content.answer(seen))
    })
    .await
}

async fn pull(server: &Server, here: &TestStore) -> Result<(), Error> {
    let name = reference(&format!("{}/x:v", server.address));
    here.puller(&client())
        .pull(&name, PullOptions::default())
        .await
        .map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_are_resumed_by_range() {
    let image = Image::new(1, &[3_000_000]);
    let server = faulty(&image, |number, seen, bytes| {
        let start = seen.range().unwrap_or(0);
        let end = start + 700_000;
        (number < 3).then(|| {
            let body = Plan::Cut(bytes[start..end].to_vec(), bytes.len() - start);
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            match start {
                0 => Reply::plan(200, body),
                _ => Reply::plan(206, body).header("Content-Range", range),
            }
        })
    })
    .await;
    let here = TestStore::new();
    pull(&server, &here).await.unwrap();
    assert!(image.is_in(&here.store));
    let ranges: Vec<_> = server
        .seen()
        .iter()
        .filter(|seen| seen.is("GET", image.layer(0).0.digest.as_str()))
        .map(Seen::range)
        .collect();
    assert_eq!(
        ranges,
        [None, Some(700_000), Some(1_400_000), Some(2_100_000)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_ignore_ranges_are_read_from_the_start() {
    let image = Image::new(2, &[1_000_000]);
    let server = faulty(&image, |number, _, bytes| {
        Some(match number {
            0 => Reply::plan(200, Plan::Cut(bytes[..600_000].to_vec(), bytes.len())),
            _ => Reply::new(200, bytes),
        })
    })
    .await;
    let here = TestStore::new();
    pull(&server, &here).await.unwrap();
    assert!(image.is_in(&here.store));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_ranges_are_refused() {
    for range in [
        "bytes 5-999999/1000000",
        "bytes 600000-9/1000000",
        "nonsense",
        "bytes 600000-1999999/2000000",
    ] {
        let image = Image::new(3, &[1_000_000]);
        let server = faulty(&image, move |number, _, bytes| {
            Some(match number {
                0 => Reply::plan(200, Plan::Cut(bytes[..600_000].to_vec(), bytes.len())),
                _ => Reply::new(206, &bytes[600_000..]).header("Content-Range", range),
            })
        })
        .await;
        let here = TestStore::new();
        let error = pull(&server, &here).await.unwrap_err();
        assert!(
            matches!(error, Error::Protocol { .. } | Error::SizeMismatch { .. }),
            "{error}"
        );
        assert!(!image.is_in(&here.store));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_busy_are_asked_again() {
    let image = Image::new(4, &[1000]);
    let server = faulty(&image, |number, _, _| match number {
        0 => Some(Reply::error(503, "UNAVAILABLE")),
        1 => Some(Reply::error(429, "TOOMANYREQUESTS").header("Retry-After", "1")),
        2 => Some(Reply::error(408, "TIMEOUT")),
        _ => None,
    })
    .await;
    let here = TestStore::new();
    let begun = Instant::now();
    pull(&server, &here).await.unwrap();
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "Retry-After was not honoured"
    );
    assert!(image.is_in(&here.store));
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_have_an_end_and_refusals_none() {
    for (status, code, tries) in [
        (500, "UNKNOWN", 4),
        (429, "TOOMANYREQUESTS", 4),
        (400, "UNSUPPORTED", 1),
        (403, "DENIED", 1),
        (404, "BLOB_UNKNOWN", 1),
    ] {
        let image = Image::new(5, &[1000]);
        let server = faulty(&image, move |_, _, _| Some(Reply::error(status, code))).await;
        let here = TestStore::new();
        let error = pull(&server, &here).await.unwrap_err();
        let fits = match status {
            403 => matches!(error, Error::Denied { .. }),
            404 => matches!(error, Error::BlobNotFound { .. }),
            429 => matches!(error, Error::RateLimited { .. }),
            _ => matches!(error, Error::Registry { .. }),
        };
        assert!(fits, "{status}: {error}");
        assert_eq!(
            server.count("GET", image.layer(0).0.digest.as_str()),
            tries,
            "{status}"
        );
        assert_eq!(here.list("ingest"), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_a_timeout_and_tried_again() {
    let image = Image::new(6, &[1000]);
    let server = faulty(&image, |number, _, _| {
        (number == 0).then(|| Reply::plan(200, Plan::Stall))
    })
    .await;
    let here = TestStore::new();
    pull(&server, &here).await.unwrap();
    assert!(image.is_in(&here.store));
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_retried_but_a_dead_registry_is_told_at_once() {
    let image = Image::new(7, &[10]);
    let content = Content::of(&[("v", &image)]);
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if seen.is("GET", "/manifests/") && count.fetch_add(1, Ordering::SeqCst) == 0 {
            return Reply::plan(200, Plan::Cut(b"{".to_vec(), 400));
        }
        content.answer(seen)
    })
    .await;
    let here = TestStore::new();
    pull(&server, &here).await.unwrap();

    let address = server.address;
    drop(server);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    let name = reference(&format!("{address}/y:v"));
    let error = here
        .puller(&client())
        .pull(&name, PullOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(
        error.to_string().ends_with(": connection refused"),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_layers_come_from_their_urls_only_where_allowed() {
    let bytes = crate::image::noise(8, 5000);
    let served = bytes.clone();
    let elsewhere = Server::start(move |_| Reply::new(200, served.clone())).await;
    let mut layer = coracle_oci::Descriptor::of(coracle_oci::media::OCI_FOREIGN_GZIP, &bytes);
    layer.urls = vec!["gopher://nowhere/".into(), elsewhere.url("/layer")];
    let digest = layer.digest.clone();
    let image = Image::of(vec![(layer, bytes)], 8, &coracle_oci::Platform::host());
    let mut content = Content::of(&[("v", &image)]);
    content.remove_blob(&digest);
    let server = Server::start(move |seen| content.answer(seen)).await;
    let name = reference(&format!("{}/x:v", server.address));

    let here = TestStore::new();
    let error = here
        .puller(&client())
        .pull(&name, PullOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ForeignLayer { .. }), "{error}");
    assert!(elsewhere.seen().is_empty());

    let mut open = crate::registries();
    open.allow_foreign_layers = true;
    let puller = here.puller(&crate::client_with(open));
    puller.pull(&name, PullOptions::default()).await.unwrap();
    assert!(image.is_in(&here.store));
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
}
