//! Round trips with a real registry, in the clear and guarded.

use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use coracle_oci::media;
use coracle_registry::AuthSource;
use coracle_registry::Credentials;
use coracle_registry::Error;
use coracle_registry::ManifestName;
use coracle_registry::PullOptions;
use coracle_registry::PushOptions;
use coracle_registry::push;
use serde_json::json;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;

use crate::TestStore;
use crate::client;
use crate::image::Image;
use crate::image::index;
use crate::image::noise;
use crate::image::put;
use crate::real::Guard;
use crate::real::Registry;
use crate::reference;

/// `me` with the password `secret`, as `htpasswd -nbBC 4` prints it.
const HTPASSWD: &str = "me:$2y$04$DUf6iE5b6hIcvCp85VjWJ.DMM.BWwv2iFmCbJ73w6CKDo1CV11T3S\n";

#[tokio::test(flavor = "multi_thread")]
async fn round_trip() {
    let Some(registry) = Registry::start(&Guard::default()) else {
        return;
    };
    let platform = |text: &str| coracle_oci::Platform::parse(text).unwrap();
    let image = Image::new(1, &[6_000_000, 0, 1, 300_000]);
    let arm = Image::for_platform(2, &[1000], &platform("linux/arm64"));
    let list = index(&[
        (&image, Some(coracle_oci::Platform::host())),
        (&arm, Some(platform("linux/arm64"))),
    ]);
    let from = TestStore::new();
    image.put(&from.store);
    arm.put(&from.store);
    let lease = from.store.lease();
    put(&from.store, &lease, &list.0, &list.1);
    let client = client();
    let name = reference(&format!("{}/deep/path/app:v1", registry.address));

    let pushed = push(&client, &from.store, &list.0, &name, PushOptions::default())
        .await
        .unwrap();
    assert_eq!(pushed.descriptor.digest, list.0.digest);

    let to = TestStore::new();
    let pulled = to
        .puller(&client)
        .pull(&name, PullOptions::default())
        .await
        .unwrap();
    assert_eq!(pulled.root.digest, list.0.digest);
    assert_eq!(pulled.root.media_type, media::OCI_INDEX);
    assert!(image.is_in(&to.store) && !arm.is_in(&to.store));

    let by_digest = reference(&format!(
        "{}/deep/path/app@{}",
        registry.address, arm.manifest.0.digest
    ));
    let pulled = to
        .puller(&client)
        .pull(&by_digest, PullOptions::default())
        .await
        .unwrap();
    assert_eq!(pulled.root.digest, arm.manifest.0.digest);

    let repository = client.repository(&name, AuthSource::Anonymous).unwrap();
    assert_eq!(repository.tags().await.unwrap(), ["v1"]);
    assert_eq!(
        client
            .catalog(&registry.address, AuthSource::Anonymous)
            .await
            .unwrap(),
        ["deep/path/app"]
    );

    // A layer that another repository has is mounted, not sent.
    let said: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let sink = said.clone();
    let options = PushOptions {
        progress: coracle_registry::Progress::new(move |e| {
            sink.lock().unwrap().push(e.status.to_string());
        }),
        known_in: Some(Arc::new(|_| vec!["deep/path/app".into()])),
        ..PushOptions::default()
    };
    let copy = reference(&format!("{}/copy:v2", registry.address));
    push(&client, &to.store, &image.manifest.0, &copy, options)
        .await
        .unwrap();
    let mounted = said
        .lock()
        .unwrap()
        .iter()
        .filter(|s| s.starts_with("Mounted from"))
        .count();
    assert_eq!(mounted, 4);

    repository.delete_manifest(&list.0.digest).await.unwrap();
    let error = repository
        .resolve(ManifestName::Tag("v1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ManifestNotFound { .. }), "{error}");
    let nothing = reference(&format!("{}/nothing:v1", registry.address));
    let error = to
        .puller(&client)
        .pull(&nothing, PullOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "manifest for {}/nothing:v1 not found: manifest unknown: manifest unknown",
            registry.address
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn guarded_by_a_password_over_tls() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let leaf = params.self_signed(&key).unwrap();
    let tls = (leaf.pem(), key.serialize_pem());
    let guard = Guard {
        htpasswd: Some(HTPASSWD),
        tls: Some((&tls.0, &tls.1)),
    };
    let Some(registry) = Registry::start(&guard) else {
        return;
    };
    let image = Image::new(3, &[2_000_000]);
    let here = TestStore::new();
    image.put(&here.store);
    let name = reference(&format!("{}/app:v1", registry.address));
    let client = client();

    let error = push(
        &client,
        &here.store,
        &image.manifest.0,
        &name,
        PushOptions::default(),
    )
    .await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "unauthorized: no basic auth credentials"
    );
    let good = Credentials::basic("me", "secret");
    let wrong = Credentials::basic("me", "wrong");
    assert!(
        client
            .login(&registry.address, &good)
            .await
            .unwrap()
            .identity_token
            .is_none()
    );
    let error = client.login(&registry.address, &wrong).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");

    let options = PushOptions {
        auth: AuthSource::Given(good.clone()),
        ..PushOptions::default()
    };
    push(&client, &here.store, &image.manifest.0, &name, options)
        .await
        .unwrap();
    let there = TestStore::new();
    let options = PullOptions {
        auth: AuthSource::Given(good),
        ..PullOptions::default()
    };
    there.puller(&client).pull(&name, options).await.unwrap();
    assert!(image.is_in(&there.store));
    let options = PullOptions {
        auth: AuthSource::Given(wrong),
        ..PullOptions::default()
    };
    let error = there
        .puller(&client)
        .pull(&name, options)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}

/// What skopeo puts in, we get out, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_agrees() {
    let Some(registry) = Registry::start(&Guard::default()) else {
        return;
    };
    if Command::new("skopeo").arg("--version").output().is_err() {
        println!("skipped: skopeo is not installed (package skopeo)");
        return;
    }
    // Skopeo looks into layers, so these have to be what they say.
    let layers = [100_000, 50].map(|size| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&noise(4, size)).unwrap();
        let bytes = gzip.finish().unwrap();
        (
            coracle_oci::Descriptor::of(media::OCI_LAYER_GZIP, &bytes),
            bytes,
        )
    });
    let image = Image::of(layers.to_vec(), 4, &coracle_oci::Platform::host());
    let layout = tempfile::tempdir().unwrap();
    let blobs = layout.path().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    for (descriptor, bytes) in image.blobs.iter().chain([&image.manifest]) {
        std::fs::write(blobs.join(descriptor.digest.hex()), bytes).unwrap();
    }
    std::fs::write(
        layout.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let list = json!({"schemaVersion": 2, "manifests": [image.manifest.0]});
    std::fs::write(layout.path().join("index.json"), list.to_string()).unwrap();
    let skopeo = |arguments: &[&str]| {
        let output = Command::new("skopeo").args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let place = format!("docker://{}/x:v", registry.address);
    let source = format!("oci:{}", layout.path().display());
    skopeo(&["copy", "--dest-tls-verify=false", &source, &place]);

    let here = TestStore::new();
    let client = client();
    let name = reference(&format!("{}/x:v", registry.address));
    let pulled = here
        .puller(&client)
        .pull(&name, PullOptions::default())
        .await
        .unwrap();
    assert!(image.is_in(&here.store));

    let copy = reference(&format!("{}/y:v", registry.address));
    push(
        &client,
        &here.store,
        &pulled.root,
        &copy,
        PushOptions::default(),
    )
    .await
    .unwrap();
    let out = tempfile::tempdir().unwrap();
    let place = format!("docker://{}/y:v", registry.address);
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        &place,
        &format!("oci:{}", out.path().display()),
    ]);
    let layer = image.layer(0).0.digest.hex();
    assert!(out.path().join("blobs/sha256").join(layer).exists());
}

/// Passes connections on to a registry, and breaks so many of them, each after a number of bytes.
async fn flaky(target: String, breaks: usize, bytes: u64) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let breaks = Arc::new(AtomicUsize::new(breaks));
    tokio::spawn(async move {
        while let Ok((mut ours, _)) = listener.accept().await {
            let (target, breaks) = (target.clone(), breaks.clone());
            tokio::spawn(async move {
                let mut theirs = tokio::net::TcpStream::connect(target).await?;
                let (from_us, to_us) = ours.split();
                let (from_them, to_them) = theirs.split();
                tokio::select! {
                    done = pass_on(from_us, to_them, &breaks, bytes) => done,
                    done = pass_on(from_them, to_us, &breaks, bytes) => done,
                }
            });
        }
    });
    address
}

/// Passes `bytes` on, and then the rest, or nothing while there are `breaks` left.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    breaks: &AtomicUsize,
    bytes: u64,
) -> std::io::Result<()> {
    let passed = tokio::io::copy(&mut (&mut from).take(bytes), &mut to).await?;
    let one_less = |left: usize| left.checked_sub(1);
    let breaks = || breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
    if passed == bytes && breaks().is_err() {
        tokio::io::copy(&mut from, &mut to).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_to_a_real_registry() {
    let Some(registry) = Registry::start(&Guard::default()) else {
        return;
    };
    let image = Image::new(5, &[4_000_000, 3_000_000]);
    let here = TestStore::new();
    image.put(&here.store);
    let client = client();
    // One less than there are tries: all of them may hit the same blob before any of it is kept.
    let line = flaky(registry.address.clone(), 3, 1_500_000).await;
    let name = reference(&format!("{line}/app:v1"));
    push(
        &client,
        &here.store,
        &image.manifest.0,
        &name,
        PushOptions::default(),
    )
    .await
    .unwrap();

    let line = flaky(registry.address.clone(), usize::MAX, 1_500_000).await;
    let name = reference(&format!("{line}/app:v1"));
    let there = TestStore::new();
    there
        .puller(&client)
        .pull(&name, PullOptions::default())
        .await
        .unwrap();
    assert!(image.is_in(&there.store));
}
