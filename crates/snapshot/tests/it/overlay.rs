//! Detached overlays.

use std::os::fd::AsFd;

use coracle_snapshot::{Error, Options, Snapshots, mount_detached};

use crate::common::{Image, Mounted, Place, Tar, attached, mounted, root};

#[test]
fn writable_and_readonly() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = Image::new(vec![
        Tar::new()
            .file("a", "1")
            .file("gone", "1")
            .dir("opq")
            .file("opq/old", "1")
            .end(),
        Tar::new()
            .file("a", "2")
            .file(".wh.gone", "")
            .file("opq/.wh..wh..opq", "")
            .file("opq/new", "2")
            .end(),
    ]);
    image.prepare(&place.snapshots);
    let fs = place.snapshots.create_container("c", &image.chain).unwrap();
    let m = mounted(&fs);
    assert_eq!(m.read("a"), "2");
    assert!(!m.at("gone").exists());
    assert!(!m.at("opq/old").exists() && m.at("opq/new").exists());
    m.write("a", "3");
    m.write("b", "3");
    assert!(
        !attached(place.root().to_str().unwrap()),
        "a mount is attached"
    );
    drop(m);
    let m = Mounted(mount_detached(&fs, true).unwrap());
    assert_eq!((m.read("a"), m.read("b")), ("3".into(), "3".into()));
    let error = std::fs::write(m.at("a"), "4").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    // Both at once, as for a running container.
    let running = mounted(&fs);
    assert_eq!(running.read("a"), "3");
}

#[test]
fn copying_in_and_out() {
    if !root() {
        return;
    }
    let place = Place::new();
    let image = Image::new(vec![Tar::new().dir("etc").file("etc/passwd", "root").end()]);
    image.prepare(&place.snapshots);
    let fs = place.snapshots.create_container("c", &image.chain).unwrap();
    let m = mounted(&fs);
    let tar = Tar::new().file("new", "copied").end();
    let opts = coracle_archive::copy::ExtractOptions {
        limits: Default::default(),
        owners: Default::default(),
        no_overwrite_dir_non_dir: true,
        devices: true,
    };
    coracle_archive::copy::extract_into(m.0.as_fd(), "/etc".as_ref(), &tar[..], &opts).unwrap();
    drop(m);
    assert_eq!(
        std::fs::read_to_string(fs.upper.join("etc/new")).unwrap(),
        "copied"
    );
    let m = Mounted(mount_detached(&fs, true).unwrap());
    let mut out = Vec::new();
    coracle_archive::copy::read(m.0.as_fd(), "/etc".as_ref())
        .unwrap()
        .write_to(&mut out)
        .unwrap();
    let text = String::from_utf8_lossy(&out);
    assert!(text.contains("copied") && text.contains("etc/passwd") && text.contains("etc/hosts"));
}

#[test]
fn more_layers_than_a_page_of_options_holds() {
    if !root() {
        return;
    }
    let place = Place::new();
    // Overlayfs itself stops at 500.
    let tars = (0..200).map(|n| {
        Tar::new()
            .file(&format!("f{n}"), "x")
            .file("last", &n.to_string())
            .end()
    });
    let image = Image::new(tars.collect());
    image.prepare(&place.snapshots);
    let fs = place.snapshots.create_container("c", &image.chain).unwrap();
    let m = mounted(&fs);
    assert_eq!(m.read("last"), "199");
    for n in [0, 1, 100, 198] {
        assert!(m.at(&format!("f{n}")).exists(), "{n}");
    }
}

#[test]
fn long_and_odd_roots() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let long = dir
        .path()
        .join("a,b:c\\d e")
        .join("x".repeat(200))
        .join("y".repeat(200));
    let snapshots = Snapshots::open(&long, Options::default()).unwrap();
    let image = Image::new(vec![
        Tar::new().file("a", "1").end(),
        Tar::new().file("b", "2").end(),
    ]);
    image.prepare(&snapshots);
    let fs = snapshots.create_container("c", &image.chain).unwrap();
    let m = mounted(&fs);
    assert_eq!((m.read("a"), m.read("b")), ("1".into(), "2".into()));
    m.write("c", "3");
    drop(m);
    assert!(fs.upper.join("c").exists());
    let m = Mounted(mount_detached(&fs, true).unwrap());
    assert_eq!(m.read("c"), "3");
    drop(m);
    snapshots.wait_idle();
}

#[test]
fn the_kernels_reasons_are_told() {
    if !root() {
        return;
    }
    let place = Place::new();
    let mut fs = place.snapshots.create_container("c", &[]).unwrap();
    fs.work = "/proc/self".into();
    let error = mount_detached(&fs, false).unwrap_err();
    assert!(matches!(&error, Error::Mount { .. }), "{error}");
    assert!(
        error.to_string().len() > "can't mount the overlay: ".len() + 10,
        "{error}"
    );
    fs.work = "/nonexistent".into();
    assert!(mount_detached(&fs, false).is_err());
}
