//! Images made here: imports, commits, and what all of them take.

use std::io::Write;

use coracle_oci::ContainerConfig;
use coracle_oci::Digest;
use coracle_oci::History;
use coracle_oci::Platform;
use coracle_oci::media;
use coracle_store::ErrorKind;
use coracle_store::Import;
use coracle_store::NewImage;
use coracle_store::Removed;
use coracle_store::StoreError;

use crate::common::Fixture;
use crate::common::layer;
use crate::common::reference;

#[test]
fn imports() {
    let plain = layer("root");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for (tar, media_type) in [
        (plain.clone(), media::OCI_LAYER),
        (gzip.finish().unwrap(), media::OCI_LAYER_GZIP),
        (
            zstd::encode_all(&plain[..], 1).unwrap(),
            media::OCI_LAYER_ZSTD,
        ),
    ] {
        let f = Fixture::new();
        let import = Import {
            config: ContainerConfig {
                cmd: Some(vec!["sh".into()]),
                ..ContainerConfig::default()
            },
            message: "Imported from -".into(),
            platform: Some(Platform::parse("linux/arm64").unwrap()),
        };
        let id = f
            .store
            .import(&tar[..], import, Some(&reference("root:1")))
            .unwrap()
            .id;
        let image = f.store.image("root:1").unwrap();
        assert_eq!(image.id, id);
        assert_eq!(image.manifest.layers[0].media_type, media_type);
        assert_eq!(image.manifest.layers[0].digest, Digest::sha256(&tar));
        assert_eq!(image.config.rootfs.diff_ids, [Digest::sha256(&plain)]);
        assert_eq!(image.config.comment.as_deref(), Some("Imported from -"));
        assert_eq!(image.platform.to_string(), "linux/arm64");
        assert!(image.created.is_some() && !image.config.history[0].empty_layer);
        assert!(f.gc().digests.is_empty());
    }
}

#[test]
fn what_is_no_tar_is_not_imported() {
    let good = layer("x");
    let packed = zstd::encode_all(&good[..], 1).unwrap();
    for (tar, word) in [
        (&b""[..], "empty"),
        (b"hello", "ends early"),
        (&good[..700], "ends early"),
        (&packed[..packed.len() - 4], "incomplete"),
        (b"BZh91AY&SY", "bzip2"),
    ] {
        let f = Fixture::new();
        let error = f.store.import(tar, Import::default(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert!(f.files("ingest").is_empty() && f.files("blobs/sha256").is_empty());
    }
}

#[test]
fn commits_make_children() {
    let f = Fixture::new();
    let base = f.pulled("base", &["a"]);
    let parent = f.store.image("base").unwrap();
    let lease = f.store.lease();
    let layer = f.store.put_layer(&lease, &layer("new")[..]).unwrap();
    let new = NewImage {
        container: None,
        parent: Some(&parent),
        layer: Some(layer.clone()),
        config: ContainerConfig {
            user: "me".into(),
            ..ContainerConfig::default()
        },
        history: History {
            comment: Some("hello".into()),
            author: Some("me".into()),
            created_by: Some("sh".into()),
            ..History::default()
        },
        platform: None,
    };
    let child = f
        .store
        .commit_image(new, Some(&reference("child")))
        .unwrap()
        .id;
    drop(lease);
    let image = f.store.image("child").unwrap();
    assert_eq!(image.parent, Some(base.clone()));
    assert_eq!(image.config.rootfs.diff_ids.len(), 2);
    assert_eq!(image.config.history.len(), 2);
    assert_eq!(image.config.author.as_deref(), Some("me"));
    assert_eq!(image.config.config.user, "me");
    assert_eq!(f.store.children(&base), std::slice::from_ref(&child));
    // A change of the configuration alone.
    let new = NewImage {
        parent: Some(&image),
        ..NewImage::default()
    };
    let grandchild = f.store.commit_image(new, None).unwrap().id;
    let image = f.store.image_by_id(&grandchild).unwrap();
    assert!(image.config.history[2].empty_layer && image.is_dangling());
    assert_eq!(image.layers().len(), 2);

    let unused = |_: &Digest| Vec::new();
    let conflict = |text: &str| {
        let error = f.store.remove(text, true, false, &unused).unwrap_err();
        assert!(matches!(error, StoreError::InUse(_)));
        error.to_string()
    };
    let expected = format!(
        "conflict: unable to delete {} (cannot be forced) - image has dependent child images",
        base.short()
    );
    assert_eq!(conflict(base.as_str()), expected);
    // By name, names go and the image stays as a parent.
    let removed = f.store.remove("base", false, false, &unused).unwrap();
    assert!(
        removed
            .iter()
            .all(|r| matches!(r, Removed::Untagged { .. }))
    );
    // Pruning leaves what has children, and what goes takes its nameless parents along.
    f.store.untag(&reference("child")).unwrap();
    let removed = f.store.prune(false, &|_| true, &unused).unwrap();
    let images: Vec<_> = removed
        .iter()
        .filter(|r| matches!(r, Removed::Image(_)))
        .collect();
    assert_eq!(
        images,
        [
            &Removed::Image(grandchild),
            &Removed::Image(child),
            &Removed::Image(base)
        ]
    );
    f.gc();
    assert!(f.files("blobs/sha256").is_empty());
}

#[test]
fn usage() {
    let f = Fixture::new();
    let one = f.image("one", &["shared", "one"]);
    f.image("two", &["shared", "two"]);
    let size = layer("shared").len() as u64;
    let usage = f.store.usage(&|_| None).unwrap();
    assert_eq!(usage.layers, 3 * size);
    assert!(usage.blobs > usage.layers);
    let of = usage.images.iter().find(|image| image.id == one).unwrap();
    assert_eq!((of.size, of.shared, of.unique), (2 * size, size, size));
    // Sizes of unpacked layers, where somebody knows them.
    let usage = f.store.usage(&|_| Some(10)).unwrap();
    assert_eq!(usage.layers, 30);
}
