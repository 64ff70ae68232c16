//! Registries that lie.

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::media;
use coracle_registry::AuthSource;
use coracle_registry::Error;
use coracle_registry::ManifestName;
use coracle_registry::PullOptions;
use serde_json::json;

use crate::TestStore;
use crate::client;
use crate::fake::Content;
use crate::fake::Plan;
use crate::fake::Reply;
use crate::fake::Seen;
use crate::fake::Server;
use crate::image::Image;
use crate::reference;

/// Pulls `x:v` from a server, and checks that nothing but checked content is left of a failure.
async fn pull(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Error, Vec<String>) {
    let server = Server::start(handler).await;
    let here = TestStore::new();
    let name = reference(&format!("{}/x:v", server.address));
    let error = here
        .puller(&client())
        .pull(&name, PullOptions::default())
        .await
        .unwrap_err();
    for name in here.list("blobs/sha256") {
        let bytes = std::fs::read(here.dir.path().join("store/blobs/sha256").join(&name)).unwrap();
        assert_eq!(Digest::sha256(&bytes).hex(), name);
    }
    (error, here.list("ingest"))
}

/// Answers with an image whose only layer is served by `layer`.
fn with_layer(
    size: usize,
    layer: impl Fn(&[u8]) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    let image = Image::new(1, &[size]);
    let content = Content::of(&[("v", &image)]);
    move |seen| {
        let (descriptor, bytes) = image.layer(0);
        if seen.path.contains(descriptor.digest.as_str()) {
            return layer(bytes);
        }
        content.answer(seen)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_with_the_wrong_content() {
    let (error, left) = pull(with_layer(100_000, |bytes| {
        let mut other = bytes.to_vec();
        other[50_000] ^= 1;
        Reply::new(200, other)
    }))
    .await;
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    assert_eq!(left, Vec::<String>::new());

    let (error, _) = pull(with_layer(100_000, |bytes| {
        Reply::new(200, &bytes[..99_999])
    }))
    .await;
    assert!(
        matches!(
            error,
            Error::SizeMismatch {
                received: 99_999,
                ..
            }
        ),
        "{error}"
    );

    let endless = |bytes: &[u8]| Reply::plan(200, Plan::Endless(bytes.to_vec()));
    // A piece that ends where the blob does is fine; one that doesn't is not.
    let image = Image::new(1, &[100_000]);
    let other = crate::image::noise(99, 70_000);
    let (error, left) = pull(with_layer(100_000, move |_| endless(&other))).await;
    assert!(
        matches!(
            error,
            Error::SizeMismatch { .. } | Error::DigestMismatch { .. }
        ),
        "{error}"
    );
    // What came before is kept as a partial download at most, and never as a blob.
    assert!(
        left.iter()
            .all(|name| name.contains(image.layer(0).0.digest.hex())),
        "{left:?}"
    );

    // Chunks without end after all the right bytes: the blob is complete.
    let server = Server::start(with_layer(100_000, endless)).await;
    let here = TestStore::new();
    let name = reference(&format!("{}/x:v", server.address));
    here.puller(&client())
        .pull(&name, PullOptions::default())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_are_not_what_was_announced() {
    let image = Image::new(2, &[10]);
    let (descriptor, bytes) = image.manifest.clone();
    let other = Image::new(3, &[10]).manifest.1;
    // By tag: the announced digest is what counts.
    let (error, _) = pull(move |seen| match seen.path.as_str() {
        "/v2/" => Reply::new(200, ""),
        _ => Reply::new(200, other.clone())
            .header("Content-Type", media::OCI_MANIFEST)
            .header("Docker-Content-Digest", descriptor.digest.as_str()),
    })
    .await;
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");

    for header in ["sha256:zz", "md5:00", "../../etc", "sha256:"] {
        let bytes = bytes.clone();
        let (error, _) = pull(move |seen| match seen.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => Reply::new(200, bytes.clone())
                .header("Content-Type", media::OCI_MANIFEST)
                .header("Docker-Content-Digest", header),
        })
        .await;
        assert!(matches!(error, Error::Protocol { .. }), "{header}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_are_no_manifests() {
    let huge = vec![b' '; (4 << 20) + 1];
    let deep = "[".repeat(1 << 20);
    let bodies: Vec<(Vec<u8>, &str)> = vec![
        (huge, media::OCI_MANIFEST),
        (deep.into_bytes(), media::OCI_MANIFEST),
        (b"".to_vec(), media::OCI_MANIFEST),
        (b"<html>".to_vec(), "text/html"),
        (b"{}".to_vec(), media::OCI_MANIFEST),
        (b"null".to_vec(), media::OCI_INDEX),
        (
            br#"{"schemaVersion":1}"#.to_vec(),
            media::DOCKER_SCHEMA1_SIGNED,
        ),
        (
            br#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#.to_vec(),
            media::OCI_INDEX,
        ),
        (
            br#"{"schemaVersion":2,"mediaType":"x"}"#.to_vec(),
            media::OCI_MANIFEST,
        ),
    ];
    for (body, media_type) in bodies {
        let digest = Digest::sha256(&body);
        let start = String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
        let (error, _) = pull(move |seen| match seen.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => Reply::new(200, body.clone())
                .header("Content-Type", media_type)
                .header("Docker-Content-Digest", digest.as_str()),
        })
        .await;
        assert!(
            matches!(error, Error::Manifest { .. } | Error::TooLarge { .. }),
            "{start}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_manifests_and_errors_are_cut() {
    let endless = |status| {
        move |seen: &Seen| match (seen.path.as_str(), seen.method.as_str()) {
            ("/v2/", _) => Reply::new(200, ""),
            (_, "HEAD") => Reply::new(405, ""),
            _ => Reply::plan(status, Plan::Endless(vec![b'x'; 65_536])),
        }
    };
    let (error, _) = pull(endless(200)).await;
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let (error, _) = pull(endless(400)).await;
    assert!(matches!(error, Error::Registry { .. }), "{error}");
    assert!(error.to_string().len() < 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_without_end() {
    // An index can't contain itself, but each can name another one.
    let mut manifests = Content::default();
    let image = Image::new(4, &[1]);
    let mut inner = image.manifest.clone();
    for _ in 0..50 {
        let index = json!({"schemaVersion": 2, "manifests": [inner.0]});
        let bytes = serde_json::to_vec(&index).unwrap();
        inner = (Descriptor::of(media::OCI_INDEX, &bytes), bytes);
        manifests.add_manifest("v", &inner);
    }
    let (error, _) = pull(move |seen| manifests.answer(seen)).await;
    assert!(error.to_string().contains("nested too deeply"), "{error}");

    // A wide one, too: nobody looks at thousands of images in search of a platform.
    let images: Vec<Image> = (0..100)
        .map(|n| Image::for_platform(n, &[], &coracle_oci::Platform::new("plan9", "arm")))
        .collect();
    let entries: Vec<(&Image, Option<coracle_oci::Platform>)> =
        images.iter().map(|image| (image, None)).collect();
    let wide = crate::image::index(&entries);
    let tagged: Vec<(&str, &Image)> = images.iter().map(|image| ("", image)).collect();
    let mut content = Content::of(&tagged);
    content.add_manifest("v", &wide);
    let server = Server::start(move |seen| content.answer(seen)).await;
    let here = TestStore::new();
    let name = reference(&format!("{}/x:v", server.address));
    let error = here
        .puller(&client())
        .pull(&name, PullOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoMatchingManifest { .. }), "{error}");
    assert!(server.seen().len() < 30, "{}", server.seen().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_that_lie() {
    let image = Image::new(5, &[10, 20]);
    // Fewer layers than the configuration has.
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest.1).unwrap();
    manifest["layers"].as_array_mut().unwrap().pop();
    let short = serde_json::to_vec(&manifest).unwrap();
    // A configuration that says it is gigantic.
    manifest["config"]["size"] = json!(1_u64 << 60);
    let large = serde_json::to_vec(&manifest).unwrap();
    // Something that is no image.
    manifest["config"]["mediaType"] = json!("application/vnd.example.chart+json");
    let chart = serde_json::to_vec(&manifest).unwrap();
    for bytes in [short, large, chart] {
        let mut content = Content::of(&[("", &image)]);
        content.add_manifest("v", &(Descriptor::of(media::OCI_MANIFEST, &bytes), bytes));
        let (error, left) = pull(move |seen| content.answer(seen)).await;
        assert!(
            matches!(error, Error::Manifest { .. } | Error::TooLarge { .. }),
            "{error}"
        );
        assert_eq!(left, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_wire() {
    let mut many = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0..100_000 {
        many.extend_from_slice(format!("x-{n}: y\r\n").as_bytes());
    }
    for raw in [
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"HTTP/1.1 999999 X\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n\x00: \xff\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n".to_vec(),
        vec![b'a'; 1 << 20],
        many,
        Vec::new(),
    ] {
        let start = String::from_utf8_lossy(&raw[..raw.len().min(60)]).into_owned();
        let (error, _) = pull(move |seen| match seen.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => Reply::plan(0, Plan::Raw(raw.clone())),
        })
        .await;
        assert!(
            matches!(error, Error::Protocol { .. } | Error::Disconnected { .. }),
            "{start}: {error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects() {
    let image = Image::new(6, &[100_000]);
    let bytes = image.layer(0).1.clone();
    let elsewhere = Server::start(move |_| Reply::new(200, bytes.clone())).await;
    let digest = image.layer(0).0.digest.clone();
    let content = Content::of(&[("v", &image)]);
    let target = elsewhere.url("/storage?signature=1");
    let server = Server::start(move |seen| {
        if seen.header("authorization").is_none() {
            return Reply::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=x");
        }
        if seen.path.contains(digest.as_str()) {
            return Reply::new(307, "").header("Location", target.clone());
        }
        content.answer(seen)
    })
    .await;
    let here = TestStore::new();
    let name = reference(&format!("{}/x:v", server.address));
    let credentials = coracle_registry::Credentials::basic("me", "secret");
    let options = PullOptions {
        auth: AuthSource::Given(credentials),
        ..PullOptions::default()
    };
    here.puller(&client()).pull(&name, options).await.unwrap();
    assert!(image.is_in(&here.store));
    assert!(
        server
            .seen()
            .iter()
            .any(|seen| seen.header("authorization").is_some())
    );
    assert_eq!(elsewhere.seen().len(), 1);
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);

    for location in [
        "/v2/x/manifests/v",
        "http://",
        "javascript:alert(1)",
        "http://a b/",
        "",
    ] {
        let (error, _) = pull(move |seen| match seen.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => Reply::new(302, "").header("Location", location),
        })
        .await;
        assert!(
            matches!(error, Error::Protocol { .. }),
            "{location}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_bounded() {
    let server = Server::start(|seen| {
        if seen.path == "/v2/" {
            return Reply::new(200, "");
        }
        if seen.path.starts_with("/v2/away/") {
            return Reply::new(200, r#"{"tags":["a"]}"#)
                .header("Link", "<http://192.0.2.1/v2/x/tags/list>; rel=\"next\"");
        }
        if seen.path.contains("last=b") {
            return Reply::new(200, r#"{"name":"x","tags":["c"]}"#);
        }
        if seen.path.starts_with("/v2/good/") {
            return Reply::new(200, r#"{"name":"x","tags":["a","b"]}"#)
                .header("Link", "</v2/good/tags/list?last=b>; rel=\"next\"");
        }
        if seen.path.starts_with("/v2/null/") {
            return Reply::new(200, r#"{"name":"x","tags":null}"#);
        }
        Reply::new(200, r#"{"tags":["a"]}"#).header("Link", "</v2/loop/tags/list>; rel=\"next\"")
    })
    .await;
    let client = client();
    let tags = async |name: &str| {
        let reference = reference(&format!("{}/{name}", server.address));
        client
            .repository(&reference, AuthSource::Anonymous)
            .unwrap()
            .tags()
            .await
    };
    assert_eq!(tags("good").await.unwrap(), ["a", "b", "c"]);
    assert_eq!(tags("null").await.unwrap(), Vec::<String>::new());
    assert!(matches!(
        tags("away").await.unwrap_err(),
        Error::Protocol { .. }
    ));
    assert!(matches!(
        tags("loop").await.unwrap_err(),
        Error::Protocol { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_things_in_dockers_words() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/v2/" => Reply::new(200, ""),
        path if path.contains("/none/") => Reply::error(404, "NAME_UNKNOWN"),
        _ => Reply::error(404, "MANIFEST_UNKNOWN"),
    })
    .await;
    let client = client();
    let resolve = async |name: &str| {
        let reference = reference(&format!("{}/{name}", server.address));
        let repository = client
            .repository(&reference, AuthSource::Anonymous)
            .unwrap();
        let name = ManifestName::of(&reference);
        let error = repository.fetch_manifest(name, None).await.unwrap_err();
        error
            .to_string()
            .replace(&server.address.to_string(), "HOST")
    };
    assert_eq!(
        resolve("app:v9").await,
        "manifest for HOST/app:v9 not found: manifest unknown: manifest unknown"
    );
    assert_eq!(
        resolve("none").await,
        "repository HOST/none not found: name unknown: name unknown"
    );
}
