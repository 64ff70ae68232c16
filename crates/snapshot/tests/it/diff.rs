//! Commit: what a container wrote becomes a layer, and the layer shows it again.

use std::os::unix::fs::MetadataExt;

use coracle_archive::{Decompressor, Limits, TarReader};
use coracle_oci::Digest;
use coracle_snapshot::{changes, diff_gzip, diff_tar, mount_detached};

use crate::common::{Image, Mounted, Place, Tar, mounted, root};

fn names(tar: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(tar, Limits::default());
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        assert!(
            entry
                .xattrs
                .iter()
                .all(|(name, _)| !name.starts_with(b"trusted."))
        );
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

#[test]
fn a_commit_round_trips() {
    if !root() {
        return;
    }
    let place = Place::new();
    let mut image = Image::new(vec![
        Tar::new()
            .dir("etc")
            .file("etc/gone", "x")
            .dir("dir")
            .file("dir/old", "x")
            .file("same", "x")
            .end(),
    ]);
    image.prepare(&place.snapshots);
    let fs = place.snapshots.create_container("c", &image.chain).unwrap();
    let m = mounted(&fs);
    std::fs::remove_file(m.at("etc/gone")).unwrap();
    std::fs::remove_dir_all(m.at("dir")).unwrap();
    std::fs::create_dir(m.at("dir")).unwrap();
    m.write("dir/new", "new");
    std::fs::hard_link(m.at("dir/new"), m.at("linked")).unwrap();
    std::os::unix::fs::chown(m.at("linked"), Some(1000), Some(1001)).unwrap();
    drop(m);
    let mut plain = Vec::new();
    diff_tar(&fs, &mut plain).unwrap();
    let expected = [
        "dir/",
        "dir/.wh..wh..opq",
        "dir/new",
        "etc/",
        "etc/.wh.gone",
        "linked",
    ];
    assert_eq!(names(&plain), expected);
    let mut packed = Vec::new();
    let diff = diff_gzip(&fs, &mut packed).unwrap();
    assert_eq!(diff.diff_id, Digest::sha256(&plain));
    assert_eq!(
        (diff.uncompressed, diff.size),
        (plain.len() as u64, packed.len() as u64)
    );
    assert_eq!(diff.digest, Digest::sha256(&packed));
    let mut again = Vec::new();
    diff_gzip(&fs, &mut again).unwrap();
    assert_eq!(packed, again, "not deterministic");
    let mut unpacked = Vec::new();
    std::io::copy(&mut Decompressor::new(&packed[..]).unwrap(), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    // On top of the image it looks like the container.
    image.tars.push(plain);
    let image = Image::new(image.tars);
    image.prepare(&place.snapshots);
    let fs = place.snapshots.create_container("d", &image.chain).unwrap();
    assert!(changes(&fs).unwrap().is_empty());
    let m = Mounted(mount_detached(&fs, true).unwrap());
    assert!(!m.at("etc/gone").exists() && !m.at("dir/old").exists());
    assert_eq!(
        (m.read("dir/new"), m.read("same")),
        ("new".into(), "x".into())
    );
    let meta = std::fs::metadata(m.at("linked")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1000, 1001));
}

#[test]
fn a_failing_sink_is_an_error() {
    if !root() {
        return;
    }
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let place = Place::new();
    let fs = place.snapshots.create_container("c", &[]).unwrap();
    assert!(diff_tar(&fs, Full).is_err());
    assert!(diff_gzip(&fs, Full).is_err());
}
