//! Archives out and in again, and what other tools make of them.

use std::process::Command;

use coracle_oci::Platform;
use coracle_oci::media;
use coracle_store::ErrorKind;
use coracle_store::Origin;
use coracle_store::Store;

use crate::common::Fixture;
use crate::common::put_image;
use crate::common::put_index;
use crate::common::reference;

fn save(store: &Store, names: &[&str]) -> Vec<u8> {
    let mut archive = Vec::new();
    store.save(names, &mut archive).unwrap();
    archive
}

fn load(store: &Store, archive: &[u8]) -> coracle_store::Loaded {
    store.load(archive, &mut |_| {}).unwrap()
}

/// The names in an archive.
fn names(archive: &[u8]) -> Vec<String> {
    tar::Archive::new(archive)
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn file(archive: &[u8], name: &str) -> String {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path().unwrap().to_str() == Some(name))
        .unwrap();
    std::io::read_to_string(&mut entry).unwrap()
}

#[test]
fn there_and_back() {
    let f = Fixture::new();
    let id = f.pulled("quay.io/a/b:1", &["a", "b"]);
    f.store.tag("quay.io/a/b:1", &reference("busybox")).unwrap();
    f.image("other", &["a", "c"]);
    let archive = save(&f.store, &["quay.io/a/b:1", "busybox", "other"]);
    assert_eq!(
        archive,
        save(&f.store, &["quay.io/a/b:1", "busybox", "other"])
    );
    // Two manifests, two configurations, three layers.
    let blobs = names(&archive)
        .iter()
        .filter(|n| n.starts_with("blobs/sha256/"))
        .count()
        - 1;
    assert_eq!(blobs, 7);
    assert_eq!(
        file(&archive, "oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#
    );

    let g = Fixture::new();
    let loaded = load(&g.store, &archive);
    assert_eq!(loaded.images.len(), 2);
    assert_eq!(loaded.images[0].id, id);
    assert_eq!(
        loaded.images[0].references,
        [reference("busybox"), reference("quay.io/a/b:1")]
    );
    let (before, after) = (
        f.store.image("busybox").unwrap(),
        g.store.image("busybox").unwrap(),
    );
    assert_eq!(after.descriptor.digest, before.descriptor.digest);
    assert!(g.gc().digests.is_empty());
    // Once more changes nothing.
    let again = load(&g.store, &archive);
    assert_eq!(again, loaded);
    assert!(g.gc().digests.is_empty());
    assert!(g.files("ingest").is_empty());
    assert_eq!(
        save(&g.store, &["quay.io/a/b:1", "busybox", "other"]),
        archive
    );
}

#[test]
fn ids_have_no_names_and_repositories_all_of_theirs() {
    let f = Fixture::new();
    let id = f.image("busybox:1", &["a"]);
    f.image("busybox:2", &["b"]);
    f.image("busybox/x:2", &["b"]);
    let archive = save(&f.store, &[id.short()]);
    assert!(!names(&archive).contains(&"repositories".to_owned()));
    let g = Fixture::new();
    let loaded = load(&g.store, &archive);
    assert_eq!(loaded.images[0].id, id);
    assert!(loaded.images[0].references.is_empty());
    assert!(g.store.image_by_id(&id).unwrap().is_dangling());

    let loaded = load(&g.store, &save(&f.store, &["busybox"]));
    let names: Vec<_> = loaded
        .images
        .iter()
        .flat_map(|i| i.references.clone())
        .collect();
    assert_eq!(names, [reference("busybox:1"), reference("busybox:2")]);

    let error = f.store.save(&["none"], Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = f.store.save::<&str>(&[], Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn a_loaded_name_leaves_the_old_image() {
    let f = Fixture::new();
    f.image("busybox", &["new"]);
    let archive = save(&f.store, &["busybox"]);
    let g = Fixture::new();
    let old = g.image("busybox", &["old"]);
    let loaded = load(&g.store, &archive);
    assert_eq!(loaded.images[0].replaced, std::slice::from_ref(&old));
    assert!(g.store.image_by_id(&old).unwrap().is_dangling());
}

#[test]
fn several_platforms() {
    let f = Fixture::new();
    let lease = f.store.lease();
    let amd64 = put_image(&f.store, &lease, &["amd64"], "linux/amd64");
    let arm64 = put_image(&f.store, &lease, &["arm64"], "linux/arm64");
    let mut absent = amd64.clone();
    absent.digest = coracle_oci::Digest::sha256(b"absent");
    absent.platform = Some(Platform::parse("linux/s390x").unwrap());
    let name = reference("multi");
    for (manifests, platforms) in [
        (vec![amd64.clone(), arm64.clone()], 2),
        (vec![absent.clone(), amd64.clone(), arm64.clone()], 2),
        (vec![absent, arm64.clone()], 1),
    ] {
        let index = put_index(&f.store, &lease, manifests.clone());
        f.store
            .set_image(Some(&name), &index, None, Origin::Registry)
            .unwrap();
        let archive = save(&f.store, &["multi"]);
        let g = Fixture::new();
        let loaded = load(&g.store, &archive);
        assert_eq!(loaded.images.len(), 1);
        let target = g.store.target(&name).unwrap();
        assert_eq!(g.store.platforms(&target).unwrap().len(), platforms);
        if manifests.len() == 2 && platforms == 2 {
            assert_eq!(target.digest, index.digest);
        }
        assert_eq!(media::is_index(&target.media_type), platforms == 2);
        assert!(g.gc().digests.is_empty());
    }
}

/// Runs a tool; `None` if it isn't installed.
fn tool(name: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(name).args(args).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {name} is not installed");
            return None;
        }
        other => other.unwrap(),
    };
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name} {args:?}: {stderr}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn skopeo_reads_what_is_saved() {
    let f = Fixture::new();
    let id = f.image("busybox", &["a", "b"]);
    let path = f.dir.path().join("image.tar");
    std::fs::write(&path, save(&f.store, &["busybox"])).unwrap();
    let path = path.to_str().unwrap();
    for (number, source) in [
        format!("docker-archive:{path}"),
        format!("docker-archive:{path}:busybox:latest"),
        format!("oci-archive:{path}"),
        format!("oci-archive:{path}:latest"),
    ]
    .iter()
    .enumerate()
    {
        let copy = f.dir.path().join(format!("copy{number}"));
        let target = format!("oci:{}:x", copy.to_str().unwrap());
        if tool("skopeo", &["copy", source, &target]).is_none() {
            return;
        }
        let config = tool("skopeo", &["inspect", "--config", "--raw", &target]).unwrap();
        let config = coracle_oci::ImageConfig::parse(config.as_bytes()).unwrap();
        let image = f.store.image_by_id(&id).unwrap();
        assert_eq!(config.rootfs, image.config.rootfs, "{source}");
    }
}

#[test]
fn skopeos_archives_are_loaded() {
    let f = Fixture::new();
    let id = f.image("busybox", &["a", "b", "a"]);
    let path = f.dir.path().join("image.tar");
    std::fs::write(&path, save(&f.store, &["busybox"])).unwrap();
    let source = format!("oci-archive:{}", path.to_str().unwrap());
    for (kind, name) in [
        ("docker-archive", ":quay.io/x/y:z"),
        ("oci-archive", ":quay.io/x/y:z"),
        ("oci-archive", ""),
    ] {
        let made = f.dir.path().join("made.tar");
        let _ = std::fs::remove_file(&made);
        let target = format!("{kind}:{}{name}", made.to_str().unwrap());
        if tool("skopeo", &["copy", &source, &target]).is_none() {
            return;
        }
        let g = Fixture::new();
        let loaded = load(&g.store, &std::fs::read(&made).unwrap());
        assert_eq!(loaded.images.len(), 1, "{target}");
        let image = g.store.image_by_id(&loaded.images[0].id).unwrap();
        let diff_ids = &f.store.image_by_id(&id).unwrap().config.rootfs.diff_ids;
        assert_eq!(&image.config.rootfs.diff_ids, diff_ids);
        assert_eq!(
            image.references.len(),
            usize::from(!name.is_empty()),
            "{target}"
        );
        assert!(g.gc().digests.is_empty());
    }
}

#[test]
fn podman_loads_what_is_saved() {
    let f = Fixture::new();
    f.image("localhost/coracle-test:1", &["a", "b"]);
    let path = f.dir.path().join("image.tar");
    std::fs::write(&path, save(&f.store, &["localhost/coracle-test:1"])).unwrap();
    let dir = |name: &str| f.dir.path().join(name).to_str().unwrap().to_owned();
    // Directories of its own for everything, and vfs, which mounts nothing.
    let dirs = [
        ("--root", dir("root")),
        ("--runroot", dir("run")),
        ("--tmpdir", dir("tmp")),
        ("--network-config-dir", dir("networks")),
    ];
    let mut args = vec!["--storage-driver", "vfs"];
    args.extend(
        dirs.iter()
            .flat_map(|(option, dir)| [*option, dir.as_str()]),
    );
    args.extend(["load", "-i", path.to_str().unwrap()]);
    if let Some(text) = tool("podman", &args) {
        assert!(text.contains("localhost/coracle-test:1"), "{text}");
    }
}
