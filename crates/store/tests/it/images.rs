//! Names and what they stand for.

use coracle_oci::Platform;
use coracle_store::ErrorKind;
use coracle_store::Origin;
use coracle_store::Store;
use coracle_store::StoreError;

use crate::common::Fixture;
use crate::common::put_image;
use crate::common::put_index;
use crate::common::reference;

#[test]
fn names_and_ids() {
    let f = Fixture::new();
    let id = f.image("busybox", &["a", "b"]);
    for text in [
        "busybox",
        "busybox:latest",
        "docker.io/library/busybox",
        id.as_str(),
        id.hex(),
        id.short(),
        &format!("sha256:{}", &id.hex()[..5]),
    ] {
        assert_eq!(f.store.image(text).unwrap().id, id, "{text}");
    }
    let image = f.store.image("busybox").unwrap();
    assert_eq!(image.references, [reference("busybox")]);
    assert!(image.repo_digests.is_empty());
    assert_eq!(image.platform, Platform::parse("linux/amd64").unwrap());
    let layers = image.layers();
    assert_eq!(layers.len(), 2);
    assert_eq!(layers[0].chain_id, layers[0].diff_id);
    assert_eq!(image.chain_id().as_ref(), Some(&layers[1].chain_id));
    assert_eq!(
        image.size,
        layers.iter().map(|l| l.descriptor.size).sum::<u64>()
    );
    assert_eq!(image.created.unwrap().to_string(), "2024-05-01T10:00:00Z");
}

#[test]
fn what_is_not_there() {
    let f = Fixture::new();
    f.image("busybox", &["a"]);
    let message = |text: &str| {
        let error = f.store.image(text).unwrap_err();
        (error.kind(), error.to_string())
    };
    let none = "0".repeat(64);
    for (text, expected) in [
        ("alpine", "No such image: alpine:latest".to_owned()),
        ("busybox:1", "No such image: busybox:1".to_owned()),
        (
            "quay.io/a/b",
            "No such image: quay.io/a/b:latest".to_owned(),
        ),
        (&none, format!("No such image: sha256:{none}")),
    ] {
        assert_eq!(message(text), (ErrorKind::NotFound, expected));
    }
    assert_eq!(message("A B").0, ErrorKind::Invalid);
    assert_eq!(message("").0, ErrorKind::Invalid);
}

#[test]
fn prefixes_can_be_ambiguous() {
    let f = Fixture::new();
    // Seventeen ids: two must start with the same digit.
    let ids: Vec<_> = (0..17)
        .map(|n| f.image(&format!("image:{n}"), &[&n.to_string()]))
        .collect();
    let shared = ids
        .iter()
        .map(|id| &id.hex()[..1])
        .find(|p| ids.iter().filter(|id| id.hex().starts_with(p)).count() > 1)
        .unwrap();
    let error = f.store.image(&format!("sha256:{shared}")).unwrap_err();
    assert!(matches!(error, StoreError::Ambiguous(_)));
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // A name wins over an id.
    let named = f.image(ids[0].short(), &["named"]);
    assert_eq!(f.store.image(ids[0].short()).unwrap().id, named);
}

#[test]
fn a_new_pull_leaves_the_old_image_without_tag() {
    let f = Fixture::new();
    let old = f.pulled("busybox", &["old"]);
    let lease = f.store.lease();
    let target = put_image(&f.store, &lease, &["new"], "linux/amd64");
    let set = f
        .store
        .set_image(Some(&reference("busybox")), &target, None, Origin::Registry)
        .unwrap();
    assert_eq!(set.old.as_ref(), Some(&old));
    let dangling = f.store.image_by_id(&old).unwrap();
    assert!(dangling.is_dangling());
    assert_eq!(dangling.repo_digests.len(), 1);
    assert_eq!(f.store.images().len(), 2);
    let image = f.store.image("busybox").unwrap();
    assert_eq!(image.id, set.id);
    assert_eq!(
        image.repo_digests,
        [reference("busybox").with_digest(target.digest.clone())]
    );
    // By digest, and a tag beside a digest doesn't count.
    let text = format!("busybox:whatever@{}", target.digest);
    assert_eq!(f.store.image(&text).unwrap().id, set.id);
    assert_eq!(
        f.store.target(&reference("busybox")).unwrap().digest,
        target.digest
    );
    // The same again changes nothing.
    let again = f
        .store
        .set_image(Some(&reference("busybox")), &target, None, Origin::Registry)
        .unwrap();
    assert_eq!(again.old, None);
    // With a digest in the reference only that is noted.
    let by_digest = reference(&format!("other:tag@{}", target.digest));
    f.store
        .set_image(Some(&by_digest), &target, None, Origin::Registry)
        .unwrap();
    assert!(f.store.image("other:tag").is_err());
    let image = f.store.image(&format!("other@{}", target.digest)).unwrap();
    assert_eq!(image.references, [reference("busybox")]);
}

#[test]
fn tags() {
    let f = Fixture::new();
    let id = f.pulled("busybox", &["a"]);
    let other = f.image("other", &["b"]);
    f.store.tag("busybox", &reference("quay.io/x/y:1")).unwrap();
    let moved = f.store.tag(id.short(), &reference("other")).unwrap();
    assert_eq!(moved.old, Some(other.clone()));
    let image = f.store.image("other").unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.references.len(), 3);
    assert!(image.last_tag_time.is_some());
    assert!(f.store.image_by_id(&other).unwrap().is_dangling());
    assert_eq!(
        f.store.tags(&reference("quay.io/x/y")),
        [reference("quay.io/x/y:1")]
    );

    let by_digest = reference("busybox").with_digest(id.clone());
    for (name, text) in [
        (
            by_digest,
            "refusing to create a tag with a digest reference",
        ),
        (
            reference("sha256"),
            "refusing to create an ambiguous tag using digest algorithm as name",
        ),
    ] {
        let error = f.store.tag("busybox", &name).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Invalid, text)
        );
    }
    assert_eq!(
        f.store.tag("none", &reference("x")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    f.store.untag(&reference("quay.io/x/y:1")).unwrap();
    assert!(f.store.image("quay.io/x/y:1").is_err());
}

#[test]
fn the_index_survives() {
    let f = Fixture::new();
    let old = f.pulled("busybox", &["old"]);
    let new = f.pulled("busybox", &["new"]);
    f.store.tag("busybox", &reference("x:y")).unwrap();
    let before = format!("{:?}", f.store.images());
    let f = f.reopen();
    assert_eq!(format!("{:?}", f.store.images()), before);
    assert_eq!(f.store.image("x:y").unwrap().id, new);
    assert!(f.store.image_by_id(&old).unwrap().is_dangling());
    assert!(f.gc().digests.is_empty());
}

#[test]
fn platforms_of_an_index() {
    let f = Fixture::new();
    let lease = f.store.lease();
    let amd64 = put_image(&f.store, &lease, &["amd64"], "linux/amd64");
    let arm64 = put_image(&f.store, &lease, &["arm64"], "linux/arm64/v8");
    // A platform that isn't there, and an attestation that is.
    let mut absent = amd64.clone();
    absent.digest = coracle_oci::Digest::sha256(b"absent");
    absent.platform = Some(Platform::parse("linux/s390x").unwrap());
    let config = f
        .store
        .put_bytes(&lease, coracle_oci::media::OCI_EMPTY, b"{}")
        .unwrap();
    let attestation = coracle_oci::Manifest::oci(config, Vec::new());
    let attestation = serde_json::to_vec(&attestation).unwrap();
    let attestation = f
        .store
        .put_bytes(&lease, coracle_oci::media::OCI_MANIFEST, &attestation)
        .unwrap();
    let index = put_index(
        &f.store,
        &lease,
        vec![absent, attestation, arm64.clone(), amd64.clone()],
    );

    let platform = |text: &str| Platform::parse(text).unwrap();
    let select = |text: &str| f.store.select(&index, Some(&platform(text)));
    assert_eq!(select("linux/amd64").unwrap().digest, amd64.digest);
    assert_eq!(select("linux/arm64").unwrap().digest, arm64.digest);
    assert!(matches!(
        select("linux/s390x"),
        Err(StoreError::NoPlatform { .. })
    ));
    assert_eq!(f.store.platforms(&index).unwrap().len(), 2);
    assert!(f.store.is_complete(&index).unwrap());

    let arm = f
        .store
        .set_image(
            Some(&reference("multi")),
            &index,
            Some(&platform("arm64")),
            Origin::Registry,
        )
        .unwrap();
    let image = f.store.image("multi").unwrap();
    assert_eq!(image.descriptor.digest, arm64.digest);
    assert_eq!(image.repo_digests[0].digest(), Some(&index.digest));
    // A container may ask for the other one, and for none that isn't there.
    let other = f.store.image_for("multi", &platform("amd64")).unwrap();
    assert_eq!(other.descriptor.digest, amd64.digest);
    assert_eq!(
        f.store.image_for("multi", &platform("arm64")).unwrap().id,
        arm.id
    );
    assert_eq!(
        f.store
            .image_for("multi", &platform("s390x"))
            .unwrap_err()
            .to_string(),
        "image with reference multi was found but its platform (linux/arm64) does not match the \
         specified platform (linux/s390x)"
    );
    // Asking for the other platform moves the name, as in Docker.
    let amd = f
        .store
        .set_image(
            Some(&reference("multi")),
            &index,
            Some(&platform("amd64")),
            Origin::Registry,
        )
        .unwrap();
    assert_eq!(amd.old, Some(arm.id));
    drop(lease);
    // The index keeps what it points to.
    assert!(f.gc().digests.is_empty());
}

#[test]
fn images_must_be_complete() {
    let f = Fixture::new();
    let lease = f.store.lease();
    let target = put_image(&f.store, &lease, &["a"], "linux/amd64");
    let image = f.store.image_of(&target).unwrap();
    let layer = image.manifest.layers[0].digest.clone();
    std::fs::remove_file(f.store.blob(&layer).unwrap().unwrap().path).unwrap();
    let set = || {
        f.store
            .set_image(Some(&reference("x")), &target, None, Origin::Local)
    };
    assert!(matches!(set(), Err(StoreError::Incomplete { .. })));
    assert!(!f.store.is_complete(&target).unwrap());
    f.store
        .put_bytes(
            &lease,
            coracle_oci::media::OCI_LAYER,
            &crate::common::layer("a"),
        )
        .unwrap();
    set().unwrap();
}

#[test]
fn an_unreadable_index_is_set_aside_and_nothing_is_collected() {
    for damage in [
        "",
        "{",
        "[]",
        r#"{"version":99,"images":[]}"#,
        r#"{"version":1,"images":[{}]}"#,
    ] {
        let f = Fixture::new();
        f.image("busybox", &["a"]);
        let blobs = f.files("blobs/sha256");
        std::fs::write(f.store.root().join("images.json"), damage).unwrap();
        let f = f.reopen();
        assert!(f.store.images().is_empty());
        let error = f.store.gc(&Vec::new).unwrap_err();
        assert!(matches!(error, StoreError::SetAside(_)));
        assert_eq!(f.files("blobs/sha256"), blobs);
        // New images work, and the file set aside stays.
        f.image("other", &["b"]);
        let f = f.reopen();
        assert_eq!(f.store.images().len(), 1);
        let StoreError::SetAside(path) = f.store.gc(&Vec::new).unwrap_err() else {
            panic!()
        };
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damage);
        std::fs::remove_file(path).unwrap();
        assert!(!f.gc().digests.is_empty());
    }
}

#[test]
fn names_change_from_many_threads() {
    let f = Fixture::new();
    let ids: Vec<_> = (0..4)
        .map(|n| f.image(&format!("i:{n}"), &[&n.to_string()]))
        .collect();
    std::thread::scope(|scope| {
        for id in &ids {
            let store: &Store = &f.store;
            scope.spawn(move || {
                for _ in 0..20 {
                    store.tag(id.as_str(), &reference("shared")).unwrap();
                    assert!(ids_of(store, "shared") == 1);
                }
            });
        }
    });
    let f = f.reopen();
    assert_eq!(ids_of(&f.store, "shared"), 1);
}

/// How many images have this name.
fn ids_of(store: &Store, name: &str) -> usize {
    let name = reference(name);
    store
        .images()
        .iter()
        .filter(|image| image.references.contains(&name))
        .count()
}
