//! Preparing, sharing, removing and recovering layers.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use coracle_archive::{Kind, Limits};
use coracle_oci::Digest;
use coracle_snapshot::{Error, Options, Snapshots};

use crate::common::{Image, Place, Tar, gzip, root};

fn base() -> Vec<u8> {
    Tar::new()
        .dir("etc")
        .file("etc/os", "base")
        .file("usr/bin/tool", "tool")
        .end()
}

#[test]
fn plain_gzip_and_zstd() {
    if !root() {
        return;
    }
    let tar = base();
    let diff = Digest::sha256(&tar);
    for (name, packed) in [
        ("plain", tar.clone()),
        ("gzip", gzip(&tar)),
        ("zstd", zstd::encode_all(&tar[..], 1).unwrap()),
    ] {
        let place = Place::new();
        let layer = place
            .snapshots
            .prepare_layer(&diff, None, &diff, &packed[..])
            .unwrap();
        assert_eq!((layer.size, layer.entries), (8, 3), "{name}");
        assert_eq!(place.snapshots.layer(&diff), Some(layer));
        let file = place
            .root()
            .join("layers")
            .join(format!("sha256-{}", diff.hex()))
            .join("fs/etc/os");
        assert_eq!(std::fs::read_to_string(file).unwrap(), "base");
        assert_eq!((place.count("ingest"), place.count("l")), (0, 1));
    }
}

#[test]
fn wrong_digests_leave_nothing() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = base();
    let diff = Digest::sha256(&tar);
    let other = Digest::sha256(b"other");
    let s = &place.snapshots;
    let result = s.prepare_layer(&other, None, &other, &tar[..]);
    assert!(
        matches!(result, Err(Error::WrongDiff { expected, found }) if expected == other && found == diff)
    );
    let result = s.prepare_layer(&other, None, &diff, &tar[..]);
    assert!(matches!(result, Err(Error::WrongChain { .. })));
    let result = s.prepare_layer(&diff, Some(&other), &diff, &tar[..]);
    assert!(matches!(result, Err(Error::WrongChain { .. })));
    // Bytes after the archive's end count.
    let longer = [&tar[..], b"more"].concat();
    let result = s.prepare_layer(&diff, None, &diff, &longer[..]);
    assert!(matches!(result, Err(Error::WrongDiff { .. })));
    let result = s.prepare_layer(&diff, None, &diff, &gzip(&tar)[..40]);
    assert!(matches!(result, Err(Error::Archive(_))));
    let result = s.prepare_layer(&diff, None, &diff, &b"BZh91AY&SY"[..]);
    assert!(matches!(result, Err(Error::Archive(_))));
    assert!(s.layers().is_empty());
    s.wait_idle();
    for dir in ["layers", "ingest", "trash", "l"] {
        assert_eq!(place.count(dir), 0, "{dir}");
    }
}

#[test]
fn hostile_layers_leave_nothing() {
    if !root() {
        return;
    }
    let place = Place::new();
    for tar in [
        Tar::new().file("ok", "x").file("../out", "evil").end(),
        Tar::new().link("x", "/etc/passwd", Kind::HardLink).end(),
        Tar::new().file("a", "x").file("a/b", "y").end(),
        vec![7; 5000],
    ] {
        let diff = Digest::sha256(&tar);
        let result = place.snapshots.prepare_layer(&diff, None, &diff, &tar[..]);
        assert!(matches!(result, Err(Error::Archive(_))), "{result:?}");
    }
    place.snapshots.wait_idle();
    assert_eq!(
        (
            place.count("layers"),
            place.count("ingest"),
            place.count("trash")
        ),
        (0, 0, 0)
    );
}

#[test]
fn bombs_are_bounded_after_the_archive_too() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        limits: Limits {
            max_bytes: 1 << 20,
            ..Limits::default()
        },
        ..Options::default()
    };
    let snapshots = Snapshots::open(dir.path(), options).unwrap();
    let mut tar = base();
    tar.resize(8 << 20, 0);
    let diff = Digest::sha256(&tar);
    let result = snapshots.prepare_layer(&diff, None, &diff, &gzip(&tar)[..]);
    assert!(matches!(result, Err(Error::Archive(_))), "{result:?}");
    snapshots.wait_idle();
}

/// Fails, or counts, what is read from it.
struct Source<'a> {
    data: &'a [u8],
    reads: &'a AtomicUsize,
    fail_after: usize,
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.reads.fetch_add(1, Ordering::SeqCst) >= self.fail_after {
            return Err(io::Error::other("cancelled"));
        }
        let len = buf.len().min(self.data.len()).min(1000);
        buf[..len].copy_from_slice(&self.data[..len]);
        self.data = &self.data[len..];
        Ok(len)
    }
}

#[test]
fn a_failing_source_cancels() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = Tar::new().file("big", &"x".repeat(2 << 20)).end();
    let diff = Digest::sha256(&tar);
    for fail_after in [0, 1, 50] {
        let reads = AtomicUsize::new(0);
        let source = Source {
            data: &tar,
            reads: &reads,
            fail_after,
        };
        let result = place.snapshots.prepare_layer(&diff, None, &diff, source);
        assert!(result.unwrap_err().to_string().contains("cancelled"));
    }
    place.snapshots.wait_idle();
    assert_eq!(
        (
            place.count("layers"),
            place.count("ingest"),
            place.count("trash")
        ),
        (0, 0, 0)
    );
}

#[test]
fn the_same_layer_at_once_is_unpacked_once() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = Tar::new().file("big", &"x".repeat(1 << 20)).end();
    let diff = Digest::sha256(&tar);
    let read = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let reads = AtomicUsize::new(0);
                let source = Source {
                    data: &tar,
                    reads: &reads,
                    fail_after: usize::MAX,
                };
                place
                    .snapshots
                    .prepare_layer(&diff, None, &diff, source)
                    .unwrap();
                if reads.load(Ordering::SeqCst) > 0 {
                    read.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(read.load(Ordering::SeqCst), 1);
    assert_eq!(place.count("layers"), 1);
}

#[test]
fn another_one_takes_over_when_the_first_fails() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = Tar::new().file("big", &"x".repeat(1 << 20)).end();
    let diff = Digest::sha256(&tar);
    let failures = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (tar, diff, failures, place) = (&tar, &diff, &failures, &place);
            scope.spawn(move || {
                let reads = AtomicUsize::new(0);
                let fail_after = if n % 2 == 0 { 300 } else { usize::MAX };
                let source = Source {
                    data: tar,
                    reads: &reads,
                    fail_after,
                };
                if place
                    .snapshots
                    .prepare_layer(diff, None, diff, source)
                    .is_err()
                {
                    failures.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert!(failures.load(Ordering::SeqCst) <= 4);
    assert!(place.snapshots.layer(&diff).is_some());
}

#[test]
fn layers_in_any_order_take_what_they_need_from_below() {
    if !root() {
        return;
    }
    let image = Image::new(vec![
        Tar::new()
            .entry(
                coracle_archive::Entry {
                    path: b"opt".to_vec(),
                    mode: 0o1750,
                    kind: Kind::Directory,
                    uid: 7,
                    ..Default::default()
                },
                b"",
            )
            .file("opt/tool", "tool")
            .end(),
        Tar::new().file("unrelated", "x").end(),
        Tar::new()
            .link("bin/linked", "opt/tool", Kind::HardLink)
            .file("opt/new", "n")
            .end(),
    ]);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let mut place = Place::new();
        for n in order {
            image.prepare_one(&place.snapshots, n);
            if n == 2 {
                // What is pending survives a restart.
                place = place.reopen();
            }
        }
        let fs = place.snapshots.create_container("c", &image.chain).unwrap();
        let top = &fs.lower[1];
        assert_eq!(
            std::fs::read_to_string(top.join("bin/linked")).unwrap(),
            "tool",
            "{order:?}"
        );
        let (a, b) = (top.join("bin/linked"), top.join("opt/tool"));
        assert_eq!(
            std::fs::metadata(a).unwrap().ino(),
            std::fs::metadata(b).unwrap().ino()
        );
        let opt = std::fs::metadata(top.join("opt")).unwrap();
        assert_eq!((opt.mode() & 0o7777, opt.uid()), (0o1750, 7), "{order:?}");
    }
}

#[test]
fn links_to_nothing_below_are_an_error_at_last() {
    if !root() {
        return;
    }
    let image = Image::new(vec![
        base(),
        Tar::new().link("l", "nowhere", Kind::HardLink).end(),
    ]);
    let place = Place::new();
    image.prepare_one(&place.snapshots, 0);
    let result = place.snapshots.prepare_layer(
        &image.chain[1],
        image.parent(1),
        &image.diffs[1],
        &image.tars[1][..],
    );
    assert!(matches!(
        result,
        Err(Error::Archive(
            coracle_archive::Error::LinkTargetMissing { .. }
        ))
    ));
    assert_eq!(place.snapshots.layer(&image.chain[1]), None);
    // The other way round, nobody knows before the container.
    let place = Place::new();
    image.prepare_one(&place.snapshots, 1);
    image.prepare_one(&place.snapshots, 0);
    let result = place.snapshots.create_container("c", &image.chain);
    assert!(matches!(
        result,
        Err(Error::Archive(
            coracle_archive::Error::LinkTargetMissing { .. }
        ))
    ));
    assert_eq!(place.count("containers"), 0);
}

#[test]
fn removal_is_refused_while_a_container_needs_it() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = Image::new(vec![base(), Tar::new().file("x", "y").end()]);
    image.prepare(&place.snapshots);
    place
        .snapshots
        .create_container("c1", &image.chain)
        .unwrap();
    for id in &image.chain {
        let result = place.snapshots.remove_layer(id);
        assert!(matches!(result, Err(Error::LayerInUse { container, .. }) if container == "c1"));
    }
    place.snapshots.remove_container("c1").unwrap();
    for id in &image.chain {
        place.snapshots.remove_layer(id).unwrap();
        place.snapshots.remove_layer(id).unwrap();
        assert_eq!(place.snapshots.layer(id), None);
    }
    place.snapshots.wait_idle();
    for dir in ["layers", "ingest", "trash", "l", "containers"] {
        assert_eq!(place.count(dir), 0, "{dir}");
    }
    // And they can come back.
    image.prepare(&place.snapshots);
    place
        .snapshots
        .create_container("c1", &image.chain)
        .unwrap();
}

#[test]
fn leftovers_are_cleared_and_layers_stay() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = Image::new(vec![base()]);
    image.prepare(&place.snapshots);
    let layer = place.snapshots.layer(&image.chain[0]);
    std::fs::create_dir_all(place.root().join("ingest/7/fs/deep/er")).unwrap();
    std::fs::create_dir_all(place.root().join("trash/3/x")).unwrap();
    std::fs::write(place.root().join("ingest/8"), "").unwrap();
    std::fs::remove_dir_all(place.root().join("l")).unwrap();
    let place = place.reopen();
    place.snapshots.wait_idle();
    assert_eq!(
        (
            place.count("ingest"),
            place.count("trash"),
            place.count("l")
        ),
        (0, 0, 1)
    );
    assert_eq!(place.snapshots.layer(&image.chain[0]), layer);
}

#[test]
fn layers_of_another_boot_that_werent_synced_are_dropped() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = Image::new(vec![base(), Tar::new().file("x", "y").end()]);
    image.prepare(&place.snapshots);
    place.snapshots.wait_idle();
    let dir = |n: usize| {
        place
            .root()
            .join("layers")
            .join(format!("sha256-{}", image.chain[n].hex()))
    };
    let (first, second) = (dir(0), dir(1));
    assert!(
        !first.join("unsynced").exists(),
        "synchronised in the background"
    );
    std::fs::write(second.join("unsynced"), "another-boot").unwrap();
    let place = place.reopen();
    assert!(place.snapshots.layer(&image.chain[0]).is_some());
    assert!(place.snapshots.layer(&image.chain[1]).is_none());
    image.prepare(&place.snapshots);
    place.snapshots.create_container("c", &image.chain).unwrap();
    // This boot's are kept, and get another chance.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(first.join("unsynced"), boot.trim()).unwrap();
    let place = place.reopen();
    assert!(place.snapshots.layer(&image.chain[0]).is_some());
    place.snapshots.wait_idle();
    assert!(!first.join("unsynced").exists());
}

#[test]
fn damaged_records_are_left_alone_until_the_layer_is_needed() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = Image::new(vec![base()]);
    image.prepare(&place.snapshots);
    let dir = place
        .root()
        .join("layers")
        .join(format!("sha256-{}", image.chain[0].hex()));
    std::fs::write(dir.join("layer.json"), "{").unwrap();
    let place = place.reopen();
    assert_eq!(place.snapshots.layer(&image.chain[0]), None);
    assert!(dir.exists());
    image.prepare(&place.snapshots);
    place.snapshots.create_container("c", &image.chain).unwrap();
}

#[test]
fn one_process_at_a_time() {
    let place = Place::new();
    let second = Snapshots::open(&place.root(), Options::default());
    assert!(matches!(second, Err(Error::Locked { .. })));
}
