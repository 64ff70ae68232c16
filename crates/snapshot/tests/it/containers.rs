//! Containers' directories.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use coracle_archive::{Entry, Kind};
use coracle_oci::Digest;
use coracle_snapshot::Error;

use crate::common::{Image, Place, Tar, mounted, root};

fn image() -> Image {
    let etc = Entry {
        path: b"etc".to_vec(),
        mode: 0o750,
        gid: 42,
        kind: Kind::Directory,
        ..Entry::default()
    };
    Image::new(vec![
        Tar::new()
            .entry(etc, b"")
            .file("etc/hosts", "the image's")
            .link("etc/resolv.conf", "/run/resolv.conf", Kind::Symlink)
            .file("proc", "not even a directory")
            .file("file", "base")
            .end(),
        Tar::new().file("file", "top").end(),
    ])
}

#[test]
fn created_found_again_and_removed() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = image();
    image.prepare(&place.snapshots);
    let fs = place
        .snapshots
        .create_container("c1", &image.chain)
        .unwrap();
    assert_eq!(fs.lower.len(), 3);
    assert!(fs.lower.iter().all(|path| path.is_dir()));
    assert_eq!(std::fs::metadata(&fs.upper).unwrap().mode() & 0o7777, 0o755);
    let again = place.snapshots.create_container("c1", &image.chain);
    assert!(matches!(again, Err(Error::ContainerExists(id)) if id == "c1"));
    let place = place.reopen();
    assert_eq!(place.snapshots.container("c1").unwrap(), fs);
    assert_eq!(place.snapshots.containers().unwrap(), ["c1"]);
    place.snapshots.remove_container("c1").unwrap();
    place.snapshots.remove_container("c1").unwrap();
    assert!(matches!(
        place.snapshots.container("c1"),
        Err(Error::ContainerNotFound(_))
    ));
    assert!(matches!(
        place.snapshots.usage("c1"),
        Err(Error::ContainerNotFound(_))
    ));
}

#[test]
fn the_layers_must_be_a_stack_that_is_there() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = image();
    let missing = place.snapshots.create_container("c", &image.chain);
    assert!(matches!(missing, Err(Error::LayerNotFound(id)) if id == image.chain[0]));
    image.prepare(&place.snapshots);
    let mut wrong = image.chain.clone();
    wrong.reverse();
    assert!(matches!(
        place.snapshots.create_container("c", &wrong),
        Err(Error::WrongChain { .. })
    ));
    assert!(matches!(
        place.snapshots.create_container("c", &image.chain[1..]),
        Err(Error::WrongChain { .. })
    ));
    for id in ["", ".", "..", "../x", "a/b", "-x", "a\0b", &"x".repeat(256)] {
        let result = place.snapshots.create_container(id, &image.chain);
        assert!(matches!(result, Err(Error::InvalidId(_))), "{id}");
    }
    assert_eq!((place.count("containers"), place.count("ingest")), (0, 0));
    // A layer that got lost is told, and can come back.
    place.snapshots.create_container("c", &image.chain).unwrap();
    place.snapshots.wait_idle();
    let dir = place
        .root()
        .join("layers")
        .join(format!("sha256-{}", image.chain[0].hex()));
    std::fs::write(dir.join("unsynced"), "another-boot").unwrap();
    let place = place.reopen();
    assert!(matches!(
        place.snapshots.container("c"),
        Err(Error::LayerNotFound(_))
    ));
    image.prepare(&place.snapshots);
    place.snapshots.container("c").unwrap();
}

#[test]
fn mount_points_are_dockers() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = image();
    image.prepare(&place.snapshots);
    let fs = place
        .snapshots
        .create_container("c1", &image.chain)
        .unwrap();
    let other = place
        .snapshots
        .create_container("c2", &image.chain)
        .unwrap();
    assert_eq!(fs.lower, other.lower, "made once");
    let m = mounted(&fs);
    for dir in ["proc", "sys", "dev", "dev/pts", "dev/shm"] {
        assert!(m.at(dir).is_dir(), "{dir}");
    }
    for file in [
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "dev/console",
        ".dockerenv",
    ] {
        let meta = std::fs::symlink_metadata(m.at(file)).unwrap();
        assert!(meta.is_file() && meta.len() == 0, "{file}");
        assert_eq!(meta.permissions().mode() & 0o7777, 0o755);
    }
    assert_eq!(
        std::fs::read_link(m.at("etc/mtab")).unwrap().to_str(),
        Some("/proc/mounts")
    );
    let etc = std::fs::metadata(m.at("etc")).unwrap();
    assert_eq!(
        (etc.mode() & 0o7777, etc.gid(), etc.mtime()),
        (0o750, 42, 1_000_000_000)
    );
    assert_eq!(m.read("file"), "top");
}

#[test]
fn an_image_without_layers() {
    if !root() {
        return;
    }
    let place = Place::new();
    let fs = place.snapshots.create_container("scratch", &[]).unwrap();
    let m = mounted(&fs);
    m.write("file", "x");
    assert!(m.at("proc").is_dir());
    drop(m);
    assert_eq!(place.snapshots.container("scratch").unwrap(), fs);
    let place = place.reopen();
    assert_eq!(place.snapshots.container("scratch").unwrap(), fs);
}

#[test]
fn usage_counts_what_was_written() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = image();
    image.prepare(&place.snapshots);
    let fs = place.snapshots.create_container("c", &image.chain).unwrap();
    let usage = place.snapshots.usage("c").unwrap();
    assert_eq!((usage.bytes, usage.inodes), (0, 0));
    let m = mounted(&fs);
    std::fs::create_dir(m.at("d")).unwrap();
    m.write("d/a", &"x".repeat(10_000));
    std::fs::hard_link(m.at("d/a"), m.at("d/b")).unwrap();
    std::fs::remove_file(m.at("file")).unwrap();
    let all = std::fs::File::open(m.at(".")).unwrap();
    rustix::fs::syncfs(&all).unwrap();
    drop(all);
    drop(m);
    let usage = place.snapshots.usage("c").unwrap();
    // A directory, a file with two names, a whiteout.
    assert_eq!((usage.bytes, usage.inodes), (10_000, 3));
    assert!(usage.disk >= 10_000, "{usage:?}");
}

#[test]
fn containers_and_removals_at_once() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = image();
    image.prepare(&place.snapshots);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (place, image) = (&place, &image);
            scope.spawn(move || {
                for n in 0..20 {
                    let id = format!("c-{thread}-{n}");
                    place.snapshots.create_container(&id, &image.chain).unwrap();
                    let gone = place.snapshots.remove_layer(&image.chain[0]);
                    assert!(matches!(gone, Err(Error::LayerInUse { .. })));
                    place.snapshots.remove_container(&id).unwrap();
                }
            });
        }
        // Keeps the layers in use throughout.
        place
            .snapshots
            .create_container("keeper", &image.chain)
            .unwrap();
    });
    assert_eq!(place.snapshots.containers().unwrap(), ["keeper"]);
    place.snapshots.wait_idle();
    assert_eq!((place.count("trash"), place.count("ingest")), (0, 0));
}

#[test]
fn unknown_layers_arent_in_use() {
    let place = Place::new();
    place
        .snapshots
        .remove_layer(&Digest::sha256(b"nothing"))
        .unwrap();
}
