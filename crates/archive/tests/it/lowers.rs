//! Layers that count on the ones below.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use coracle_archive::{ApplyOptions, Error, Lowers, OverlayAttrs, apply_layer, settle};

use crate::common::{Place, Raw, Tar, options, root};

/// Three layers, topmost first, made by unpacking.
fn lowers(place: &Place, layers: &[Vec<u8>]) -> Vec<PathBuf> {
    let base = place.root().join("lowers");
    layers
        .iter()
        .enumerate()
        .map(|(i, tar)| {
            let dir = base.join(i.to_string());
            std::fs::create_dir_all(&dir).unwrap();
            apply_layer(&tar[..], &dir, &options()).unwrap();
            dir
        })
        .collect()
}

fn top() -> Vec<u8> {
    Tar::default()
        .dir("gone")
        .file("gone/.wh.a", "")
        .dir("opq")
        .file("opq/.wh..wh..opq", "")
        .end()
}

fn bottom() -> Vec<u8> {
    let file = Raw::new("usr/bin/tool", b'0')
        .mode(0o4755)
        .owner(5, 6)
        .data("tool");
    Tar::default()
        .raw(Raw::new("usr", b'5').mode(0o750).owner(1, 2))
        .raw(Raw::new("usr/bin", b'5').mode(0o711))
        .pax(&[("SCHILY.xattr.user.note", b"n"), ("mtime", b"5.000000007")])
        .raw(file)
        .symlink("usr/link", "bin/tool")
        .file("gone/a", "x")
        .file("opq/a", "x")
        .end()
}

#[test]
fn hard_links_to_lower_layers_copy_up() {
    if !root() {
        return;
    }
    let tar = Tar::default()
        .hardlink("opt/tool", "usr/bin/tool")
        .hardlink("again", "opt/tool")
        .hardlink("sym", "usr/link")
        .end();
    for at_once in [true, false] {
        let place = Place::new();
        let lowers = lowers(&place, &[top(), bottom()]);
        let layer = place.at("layer");
        std::fs::create_dir(&layer).unwrap();
        if at_once {
            let opts = ApplyOptions {
                lowers: Lowers::Dirs(lowers),
                ..options()
            };
            assert!(
                apply_layer(&tar[..], &layer, &opts)
                    .unwrap()
                    .pending
                    .is_empty()
            );
        } else {
            let opts = ApplyOptions {
                lowers: Lowers::Later,
                ..options()
            };
            let applied = apply_layer(&tar[..], &layer, &opts).unwrap();
            assert!(!layer.join("opt/tool").exists());
            settle(&layer, &lowers, &applied.pending, OverlayAttrs::Trusted).unwrap();
        }
        let meta = std::fs::metadata(layer.join("usr/bin/tool")).unwrap();
        assert_eq!(
            (meta.mode() & 0o7777, meta.uid(), meta.gid()),
            (0o4755, 5, 6)
        );
        assert_eq!((meta.nlink(), meta.mtime(), meta.mtime_nsec()), (3, 5, 7));
        assert_eq!(std::fs::read(layer.join("again")).unwrap(), b"tool");
        assert_eq!(
            std::fs::metadata(layer.join("usr/bin")).unwrap().mode() & 0o7777,
            0o711
        );
        let usr = std::fs::metadata(layer.join("usr")).unwrap();
        assert_eq!(
            (usr.mode() & 0o7777, usr.uid(), usr.mtime()),
            (0o750, 1, 1_000_000_000)
        );
        assert!(
            std::fs::symlink_metadata(layer.join("sym"))
                .unwrap()
                .is_symlink()
        );
    }
}

#[test]
fn what_lower_layers_deleted_is_missing() {
    if !root() {
        return;
    }
    for target in ["gone/a", "opq/a", "never", "usr/bin/tool/x"] {
        let place = Place::new();
        let lowers = lowers(&place, &[top(), bottom()]);
        let layer = place.at("layer");
        std::fs::create_dir(&layer).unwrap();
        let tar = Tar::default().hardlink("link", target).end();
        let opts = ApplyOptions {
            lowers: Lowers::Dirs(lowers),
            ..options()
        };
        let error = apply_layer(&tar[..], &layer, &opts).unwrap_err();
        assert!(
            matches!(error, Error::LinkTargetMissing { .. }),
            "{target}: {error}"
        );
    }
}

#[test]
fn later_entries_win_over_pending_links() {
    if !root() {
        return;
    }
    let place = Place::new();
    let lowers = lowers(&place, &[bottom()]);
    let layer = place.at("layer");
    std::fs::create_dir(&layer).unwrap();
    let tar = Tar::default()
        .hardlink("a", "usr/bin/tool")
        .file("a", "mine")
        .file("b", "mine")
        .hardlink("b", "usr/bin/tool")
        .hardlink("c/d", "usr/bin/tool")
        .file("c", "a file now")
        .end();
    let opts = ApplyOptions {
        lowers: Lowers::Dirs(lowers),
        ..options()
    };
    apply_layer(&tar[..], &layer, &opts).unwrap();
    assert_eq!(std::fs::read(layer.join("a")).unwrap(), b"mine");
    assert_eq!(std::fs::read(layer.join("b")).unwrap(), b"tool");
    assert_eq!(std::fs::read(layer.join("c")).unwrap(), b"a file now");
}

#[test]
fn directories_without_an_entry_look_as_below() {
    if !root() {
        return;
    }
    let place = Place::new();
    let lowers = lowers(&place, &[bottom()]);
    let layer = place.at("layer");
    std::fs::create_dir(&layer).unwrap();
    let tar = Tar::default()
        .file("usr/bin/new", "x")
        .file("fresh/new", "y")
        .end();
    let opts = ApplyOptions {
        lowers: Lowers::Dirs(lowers),
        ..options()
    };
    apply_layer(&tar[..], &layer, &opts).unwrap();
    let mode = |path: &str| {
        std::fs::metadata(layer.join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(
        (mode("usr"), mode("usr/bin"), mode("fresh")),
        (0o750, 0o711, 0o755)
    );
}
