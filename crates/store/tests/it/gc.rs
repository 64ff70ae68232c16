//! Collection, and what is safe from it.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use coracle_oci::Descriptor;
use coracle_store::Origin;
use coracle_store::StoreError;

use crate::common::Fixture;
use crate::common::put_image;
use crate::common::reference;

#[test]
fn only_what_nothing_reaches_goes() {
    let f = Fixture::new();
    f.image("busybox", &["a", "b"]);
    let orphan = {
        let lease = f.store.lease();
        let orphan = f.store.put_bytes(&lease, "text/plain", b"orphan").unwrap();
        assert!(f.gc().digests.is_empty(), "the lease keeps it");
        orphan
    };
    let collected = f.gc();
    assert_eq!(collected.digests, [orphan.digest]);
    assert_eq!(collected.bytes, 6);
    assert!(f.store.image("busybox").is_ok());
    assert!(f.files("ingest").is_empty());
}

#[test]
fn a_leased_manifest_keeps_its_layers() {
    let f = Fixture::new();
    let target = put_image(&f.store, &f.store.lease(), &["a"], "linux/amd64");
    let lease = f.store.lease();
    assert!(f.store.hold(&lease, &target.digest).unwrap().is_some());
    let clone = lease.clone();
    drop(lease);
    assert!(f.gc().digests.is_empty());
    drop(clone);
    assert_eq!(f.gc().digests.len(), 3);
    let lease = f.store.lease();
    assert!(f.store.hold(&lease, &target.digest).unwrap().is_none());
    assert!(lease.digests().is_empty());
}

#[test]
fn roots_of_the_caller() {
    let f = Fixture::new();
    let target = put_image(&f.store, &f.store.lease(), &["a"], "linux/amd64");
    let roots = || vec![target.digest.clone()];
    assert!(f.store.gc(&roots).unwrap().digests.is_empty());
    let id = f.store.image_of(&target).unwrap().id;
    // Without a record an id keeps just the configuration.
    assert_eq!(f.store.gc(&|| vec![id.clone()]).unwrap().digests.len(), 2);
}

#[test]
fn old_downloads_go_fresh_ones_stay() {
    let f = Fixture::new();
    let lease = f.store.lease();
    for (text, age) in [("old content", 25), ("fresh content", 1)] {
        let expected = Descriptor::of("text/plain", text.as_bytes());
        f.store
            .resume(&lease, &expected)
            .unwrap()
            .write(b"x")
            .unwrap();
        let name = format!("sha256-{}", expected.digest.hex());
        let file = std::fs::File::options()
            .write(true)
            .open(f.store.root().join("ingest").join(name))
            .unwrap();
        let at = std::time::SystemTime::now() - std::time::Duration::from_secs(age * 3600);
        file.set_modified(at).unwrap();
    }
    assert_eq!(f.gc().bytes, 1);
    assert_eq!(f.files("ingest").len(), 1);
}

#[test]
fn damage_stops_it() {
    let f = Fixture::new();
    f.image("busybox", &["a"]);
    let image = f.store.image("busybox").unwrap();
    let path = f
        .store
        .blob(&image.descriptor.digest)
        .unwrap()
        .unwrap()
        .path;
    std::fs::write(path, "?").unwrap();
    let blobs = f.files("blobs/sha256");
    assert!(matches!(f.store.gc(&Vec::new), Err(StoreError::Damaged(_))));
    assert_eq!(f.files("blobs/sha256"), blobs);
}

#[test]
fn pulls_and_collections_at_once() {
    let f = Fixture::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                f.store.gc(&Vec::new).unwrap();
                rounds += 1;
            }
            rounds
        });
        let pullers: Vec<_> = (0..3)
            .map(|puller| {
                let store = &f.store;
                scope.spawn(move || {
                    for round in 0..15 {
                        let shared = format!("shared {}", round % 3);
                        let own = format!("{puller} {round}");
                        let lease = store.lease();
                        let target = put_image(store, &lease, &[&shared, &own], "linux/amd64");
                        let name = reference(&format!("image:{puller}"));
                        store
                            .set_image(Some(&name), &target, None, Origin::Local)
                            .unwrap();
                        drop(lease);
                        let image = store.image(&format!("image:{puller}")).unwrap();
                        for layer in &image.manifest.layers {
                            store.open_blob(&layer.digest).unwrap();
                        }
                        if round % 4 == 3 {
                            store
                                .remove(image.id.as_str(), true, false, &|_| Vec::new())
                                .unwrap();
                        }
                    }
                })
            })
            .collect();
        for puller in pullers {
            puller.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 0);
    });
    for image in f.store.images() {
        assert!(f.store.is_complete(&image.descriptor).unwrap());
    }
    f.gc();
    let ids: Vec<String> = f.store.images().iter().map(|i| i.id.to_string()).collect();
    for id in ids {
        f.store.remove(&id, true, false, &|_| Vec::new()).unwrap();
    }
    f.gc();
    assert!(f.files("blobs/sha256").is_empty());
    assert!(f.files("ingest").is_empty());
}
