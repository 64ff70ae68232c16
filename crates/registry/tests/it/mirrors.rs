//! Mirrors of docker.io, and proxies. The real one is out of reach: every test ends at a mirror or
//! in an error.

use coracle_registry::AuthSource;
use coracle_registry::Credentials;
use coracle_registry::Error;
use coracle_registry::PullOptions;

use crate::TestStore;
use crate::client_with;
use crate::fake::Content;
use crate::fake::Reply;
use crate::fake::Server;
use crate::image::Image;
use crate::reference;
use crate::registries;

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_are_asked_in_order_and_failures_fall_through() {
    let image = Image::new(1, &[100_000, 10]);
    let lacking = Image::new(1, &[100_000, 10]);
    let content = Content::of(&[("latest", &image)]);
    let good = Server::start(move |seen| {
        let mut seen = seen.clone();
        let Some(path) = seen.path.strip_prefix("/hub") else {
            return Reply::error(404, "NAME_UNKNOWN");
        };
        seen.path = path.to_owned();
        content.answer(&seen)
    })
    .await;
    let broken = Server::start(|_| Reply::error(500, "UNKNOWN")).await;
    // Has the manifest and one layer, but not the other.
    let mut partial = Content::of(&[("latest", &lacking)]);
    partial.remove_blob(&image.layer(0).0.digest);
    let partial = Server::start(move |seen| partial.answer(seen)).await;

    let mut config = registries();
    config.add_mirror("http://127.0.0.1:1").unwrap();
    config.add_mirror(&broken.url("")).unwrap();
    config.add_mirror(&partial.url("/")).unwrap();
    config.add_mirror(&good.url("/hub")).unwrap();
    let here = TestStore::new();
    let puller = here.puller(&client_with(config));
    let credentials = Credentials::basic("me", "secret");
    let options = PullOptions {
        auth: AuthSource::Given(credentials),
        ..PullOptions::default()
    };
    puller.pull(&reference("busybox"), options).await.unwrap();
    assert!(image.is_in(&here.store));
    assert!(
        good.seen()
            .iter()
            .any(|s| s.path.starts_with("/hub/v2/library/busybox/blobs/"))
    );
    assert!(partial.seen().len() >= 3);
    // A mirror that is down is asked once, not for every layer.
    assert_eq!(
        broken.seen().len(),
        broken.count("HEAD", "/manifests/latest")
    );
    for server in [&good, &partial, &broken] {
        assert!(
            server
                .seen()
                .iter()
                .all(|seen| seen.header("authorization").is_none())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_listed_by_the_first_mirror_that_has_the_repository() {
    let lacking = Server::start(|_| Reply::error(404, "NAME_UNKNOWN")).await;
    let good = Server::start(|seen| match seen.path.as_str() {
        "/hub/v2/library/busybox/tags/list" => Reply::new(200, r#"{"tags":["a","b"]}"#),
        _ => Reply::error(404, "NAME_UNKNOWN"),
    })
    .await;
    let mut config = registries();
    config.add_mirror(&lacking.url("")).unwrap();
    config.add_mirror(&good.url("/hub")).unwrap();
    let repository = client_with(config)
        .repository(&reference("busybox"), AuthSource::Anonymous)
        .unwrap();
    assert_eq!(repository.tags().await.unwrap(), ["a", "b"]);
    assert_eq!(lacking.count("GET", "/tags/list"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_registries_have_no_mirrors() {
    let image = Image::new(2, &[10]);
    let content = Content::of(&[("latest", &image)]);
    let mirror = Server::start(move |seen| content.answer(seen)).await;
    let mut config = registries();
    config.add_mirror(&mirror.url("")).unwrap();
    let here = TestStore::new();
    let puller = here.puller(&client_with(config));
    let name = reference("127.0.0.1:1/library/busybox");
    let error = puller
        .pull(&name, PullOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(mirror.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_goes_through_a_proxy() {
    let proxy = Server::start(|seen| match seen.path.as_str() {
        "http://plain.example:5000/v2/x/tags/list" => Reply::new(200, r#"{"tags":["a"]}"#),
        _ => Reply::new(200, ""),
    })
    .await;
    let mut config = registries();
    let url = proxy.url("").replace("http://", "http://u:p@");
    config.proxies = coracle_registry::Proxies::new(Some(&url), Some(&url), None);
    config.add_insecure("plain.example:5000").unwrap();
    // HTTPS is tried first, in a tunnel that leads to a plain server.
    let client = client_with(config);
    let repository = client
        .repository(&reference("plain.example:5000/x"), AuthSource::Anonymous)
        .unwrap();
    assert_eq!(repository.tags().await.unwrap(), ["a"]);
    assert!(
        proxy
            .seen()
            .iter()
            .all(|s| s.header("proxy-authorization") == Some("Basic dTpw"))
    );
}
