//! Archives of other ages and makers, and hostile ones.

use std::io::Write;

use coracle_oci::Digest;
use coracle_oci::ImageConfig;
use coracle_oci::RootFs;
use coracle_store::ArchiveError;
use coracle_store::ErrorKind;
use coracle_store::Loaded;
use coracle_store::StoreError;
use proptest::prelude::*;

use crate::common::Fixture;
use crate::common::layer;
use crate::common::reference;

/// An archive under construction.
struct Maker(tar::Builder<Vec<u8>>);

impl Maker {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(mut self, name: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        self.raw_name(header, name, content);
        self
    }

    fn link(mut self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.raw_name(header, name, b"");
        self
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, name, target)
    }

    /// The crate refuses bad names, so they go in by hand.
    fn raw_name(&mut self, mut header: tar::Header, name: &str, content: &[u8]) {
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let rootfs = RootFs::new(layers.iter().map(|l| Digest::sha256(l)).collect());
    let config = ImageConfig {
        rootfs,
        os: "linux".into(),
        ..ImageConfig::default()
    };
    serde_json::to_vec(&config).unwrap()
}

/// As Docker before 25 did, with one layer shared by symbolic link.
fn old_docker() -> Vec<u8> {
    let layers = [layer("a"), layer("b"), layer("a")];
    let config = config(&layers);
    let name = format!("{}.json", Digest::sha256(&config).hex());
    let manifest = format!(
        r#"[{{"Config":"{name}","RepoTags":["busybox:1","quay.io/a/b:c"],
            "Layers":["1/layer.tar","2/layer.tar","3/layer.tar"]}}]"#
    );
    Maker::new()
        .file("1/VERSION", b"1.0")
        .file("1/json", b"{}")
        .file("1/layer.tar", &layers[0])
        .file("./2/layer.tar", &layers[1])
        .symlink("3/layer.tar", "../1/layer.tar")
        .file(&name, &config)
        .file("manifest.json", manifest.as_bytes())
        .file("repositories", b"{}")
        .done()
}

fn load(f: &Fixture, archive: &[u8]) -> Result<Loaded, StoreError> {
    f.store.load(archive, &mut |_| {})
}

#[test]
fn old_archives() {
    let f = Fixture::new();
    let loaded = load(&f, &old_docker()).unwrap();
    assert_eq!(
        loaded.images[0].references,
        [reference("busybox:1"), reference("quay.io/a/b:c")]
    );
    let image = f.store.image("busybox:1").unwrap();
    assert_eq!(image.layers().len(), 3);
    assert!(f.store.is_complete(&image.descriptor).unwrap());
    assert_eq!(f.files("blobs/sha256").len(), 4);
    assert!(f.files("ingest").is_empty());
}

#[test]
fn compressed_archives_and_progress() {
    let plain = old_docker();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for archive in [
        plain.clone(),
        gzip.finish().unwrap(),
        zstd::encode_all(&plain[..], 1).unwrap(),
    ] {
        let f = Fixture::new();
        let mut last = (String::new(), 0, 0);
        f.store
            .load(&archive[..], &mut |p| {
                last = (p.name.to_owned(), p.done, p.size)
            })
            .unwrap();
        assert!(f.store.image("busybox:1").is_ok());
        assert_eq!(last.1, last.2);
    }
    let f = Fixture::new();
    let xz = b"\xfd7zXZ\0 and more";
    let error = load(&f, xz).unwrap_err();
    assert!(error.to_string().contains("xz"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn compressed_layers_in_a_docker_archive() {
    let plain = layer("a");
    let packed = zstd::encode_all(&plain[..], 1).unwrap();
    let config = config(&[plain]);
    let archive = Maker::new()
        .file("c.json", &config)
        .file("l", &packed)
        .file(
            "manifest.json",
            br#"[{"Config":"c.json","RepoTags":null,"Layers":["l"]}]"#,
        )
        .done();
    let f = Fixture::new();
    let loaded = load(&f, &archive).unwrap();
    let image = f.store.image_by_id(&loaded.images[0].id).unwrap();
    assert_eq!(
        image.manifest.layers[0].media_type,
        coracle_oci::media::OCI_LAYER_ZSTD
    );
    assert!(image.is_dangling());
}

#[test]
fn an_image_that_is_there_already_keeps_its_layers() {
    let f = Fixture::new();
    load(&f, &old_docker()).unwrap();
    let before = f.store.image("busybox:1").unwrap();
    f.store
        .remove("busybox:1", false, false, &|_| Vec::new())
        .unwrap();
    load(&f, &old_docker()).unwrap();
    assert_eq!(
        f.store.image("busybox:1").unwrap().descriptor,
        before.descriptor
    );
    assert!(f.gc().digests.is_empty());
}

/// What is wrong, and a word of the message.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    use tar::EntryType;
    let a = layer("a");
    let good = config(std::slice::from_ref(&a));
    let wrong = config(&[layer("b")]);
    let manifest = br#"[{"Config":"c.json","RepoTags":["a:b"],"Layers":["l"]}]"#;
    let base = || Maker::new().file("c.json", &good).file("l", &a);
    let with = |manifest: &str| base().file("manifest.json", manifest.as_bytes()).done();
    let layout = |index: &str, blobs: &[&[u8]]| {
        let mut maker = Maker::new()
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", index.as_bytes());
        for blob in blobs {
            maker = maker.file(
                &format!("blobs/sha256/{}", Digest::sha256(blob).hex()),
                blob,
            );
        }
        maker.done()
    };
    let entry = |blob: &[u8], size: usize| {
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{}","size":{size}}}]}}"#,
            coracle_oci::media::OCI_MANIFEST,
            Digest::sha256(blob)
        )
    };
    let orphan = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":1}},"layers":[]}}"#,
        coracle_oci::media::OCI_CONFIG,
        Digest::sha256(b"x")
    );
    let mut cut = old_docker();
    cut.truncate(2000);
    let mut many = tar::Builder::new(Vec::new());
    for number in 0..100_001 {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(EntryType::Link);
        header.set_link_name("x").unwrap();
        many.append_data(&mut header, number.to_string(), &b""[..])
            .unwrap();
    }
    let large = vec![b' '; (8 << 20) + 1];
    vec![
        ("nothing", Vec::new(), "empty"),
        ("no tar", b"hello world".repeat(100), "malformed"),
        ("an empty tar", vec![0; 1024], "neither"),
        ("some other tar", layer("x"), "neither"),
        (
            "Docker 1.9",
            Maker::new().file("repositories", b"{}").done(),
            "1.9",
        ),
        ("cut off", cut, "ends early"),
        ("a bad manifest", with("?"), "manifest.json"),
        ("no config", with(r#"[{"Layers":[]}]"#), "Config"),
        (
            "a missing config",
            with(r#"[{"Config":"x.json","Layers":[]}]"#),
            "x.json",
        ),
        (
            "a missing layer",
            with(r#"[{"Config":"c.json","Layers":["x"]}]"#),
            "\"x\"",
        ),
        (
            "too few layers",
            with(r#"[{"Config":"c.json","Layers":[]}]"#),
            "0 layers and 1",
        ),
        (
            "a bad tag",
            with(r#"[{"Config":"c.json","RepoTags":["A B"],"Layers":["l"]}]"#),
            "reference",
        ),
        (
            "a path upwards",
            with(r#"[{"Config":"../../c.json","Layers":["l"]}]"#),
            "no name within",
        ),
        ("no image", with("[]"), "no image"),
        (
            "another layer",
            Maker::new()
                .file("c.json", &wrong)
                .file("l", &a)
                .file("manifest.json", manifest)
                .done(),
            "invalid diffID for layer 0",
        ),
        (
            "a name upwards",
            base().file("../../etc/x", b"x").done(),
            "no name within",
        ),
        (
            "a link upwards",
            base().symlink("a/b", "../../../etc/passwd").done(),
            "no name within",
        ),
        (
            "a link to itself",
            Maker::new()
                .file("c.json", &good)
                .symlink("l", "l")
                .file("manifest.json", manifest)
                .done(),
            "not in it",
        ),
        (
            "a device",
            base().link(EntryType::Char, "dev", "").done(),
            "neither a plain file",
        ),
        (
            "twice, and not the same",
            base().file("l", b"other").done(),
            "twice",
        ),
        (
            "too much metadata",
            Maker::new().file("index.json", &large).done(),
            "more than",
        ),
        (
            "too many files",
            many.into_inner().unwrap(),
            "more than 100000 files",
        ),
        (
            "a blob that lies",
            Maker::new()
                .file(&format!("blobs/sha256/{}", "0".repeat(64)), b"x")
                .done(),
            "expected sha256:000",
        ),
        ("a bad index", layout("{}", &[]), "index.json"),
        (
            "an empty index",
            layout(r#"{"schemaVersion":2,"manifests":[]}"#, &[]),
            "no image",
        ),
        (
            "a missing manifest",
            layout(&entry(b"x", 1), &[]),
            "not in it",
        ),
        (
            "another size",
            layout(&entry(b"xy", 1), &[b"xy"]),
            "announced",
        ),
        ("no manifest", layout(&entry(b"x", 1), &[b"x"]), "not valid"),
        (
            "a configuration that isn't there",
            layout(
                &entry(orphan.as_bytes(), orphan.len()),
                &[orphan.as_bytes()],
            ),
            "not in it",
        ),
        (
            "a configuration that isn't one",
            layout(
                &entry(orphan.as_bytes(), orphan.len()),
                &[orphan.as_bytes(), b"x"],
            ),
            "configuration",
        ),
    ]
}

#[test]
fn hostile_archives_leave_nothing() {
    for (what, archive, word) in hostile() {
        let f = Fixture::new();
        let error = load(&f, &archive).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}");
        assert!(error.to_string().contains(word), "{what}: {error}");
        assert!(f.files("ingest").is_empty(), "{what}");
        assert!(f.files("blobs/sha256").is_empty(), "{what}");
        assert!(f.store.images().is_empty(), "{what}");
    }
}

#[test]
fn a_broken_stream_is_not_the_archives_fault() {
    struct Broken<'a>(&'a [u8]);
    impl std::io::Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            self.0.read(buffer)
        }
    }
    let f = Fixture::new();
    let archive = old_docker();
    let error = f
        .store
        .load(Broken(&archive[..3000]), &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, StoreError::Stream { .. }), "{error}");
    assert!(f.files("ingest").is_empty());
}

#[test]
fn deep_links_and_hard_links() {
    let a = layer("a");
    let config = config(&[a.clone(), a.clone()]);
    let mut maker = Maker::new().file("c.json", &config).file("l0", &a).link(
        tar::EntryType::Link,
        "dir/hard",
        "l0",
    );
    for number in 1..30 {
        maker = maker.symlink(&format!("l{number}"), &format!("l{}", number - 1));
    }
    let manifest = |second: &str| {
        format!(r#"[{{"Config":"./c.json","RepoTags":["a:b"],"Layers":["dir/hard","{second}"]}}]"#)
    };
    let base = maker.done();
    let archive = |second: &str| {
        // Archives are joined by cutting off the end of the first: two blocks of zeros.
        let mut all = base[..base.len() - 1024].to_vec();
        all.extend(
            Maker::new()
                .file("manifest.json", manifest(second).as_bytes())
                .done(),
        );
        all
    };
    let f = Fixture::new();
    load(&f, &archive("l5")).unwrap();
    let error = load(&Fixture::new(), &archive("l29")).unwrap_err();
    assert!(matches!(
        error,
        StoreError::Archive(ArchiveError::Missing(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_archives(at in 0usize..8000, value in any::<u8>()) {
        let mut archive = old_docker();
        let at = at % archive.len();
        archive[at] = value;
        let f = Fixture::new();
        match load(&f, &archive) {
            Ok(loaded) => {
                for image in loaded.images {
                    let image = f.store.image_by_id(&image.id).unwrap();
                    prop_assert!(f.store.is_complete(&image.descriptor).unwrap());
                }
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Invalid);
                prop_assert!(f.files("blobs/sha256").is_empty());
            }
        }
        prop_assert!(f.files("ingest").is_empty());
    }
}
