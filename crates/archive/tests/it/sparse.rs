//! Sparse files in GNU's four formats, made by GNU tar and by hand.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;

use coracle_archive::{ApplyOptions, Error, Limits, Owners, Segment, TarReader, apply_layer};

use crate::common::{Place, Raw, Tar, options, seal};

fn mine() -> ApplyOptions {
    let owners = Owners::Fixed {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    ApplyOptions {
        owners,
        ..options()
    }
}

#[test]
fn gnu_tars_sparse_files() {
    let dir = tempfile::tempdir().unwrap();
    let size = 6u64 << 30;
    let file = std::fs::File::create(dir.path().join("sparse")).unwrap();
    // More segments than fit into a header, and than into a second block.
    for i in 0..40u64 {
        file.write_all_at(format!("segment {i}").as_bytes(), i << 27)
            .unwrap();
    }
    file.set_len(size).unwrap();
    let holes = std::fs::File::create(dir.path().join("hole")).unwrap();
    holes.set_len(1 << 20).unwrap();
    for args in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let output = Command::new("tar")
            .args(args)
            .arg("-cSC")
            .arg(dir.path())
            .args(["sparse", "hole"])
            .output();
        let Ok(output) = output else {
            println!("skipped: needs tar");
            return;
        };
        assert!(output.status.success(), "{args:?}");
        let place = Place::new();
        let applied = apply_layer(&output.stdout[..], &place.root(), &mine()).unwrap();
        assert!(applied.bytes < 1 << 20, "{args:?}: {}", applied.bytes);
        let found = std::fs::File::open(place.at("sparse")).unwrap();
        let meta = found.metadata().unwrap();
        assert_eq!(meta.len(), size, "{args:?}");
        assert!(meta.blocks() < 4096, "{args:?}");
        for i in 0..40u64 {
            let expected = format!("segment {i}\0\0");
            let mut data = vec![1; expected.len()];
            found.read_exact_at(&mut data, i << 27).unwrap();
            assert_eq!(data, expected.as_bytes(), "{args:?}");
        }
        assert_eq!(
            std::fs::metadata(place.at("hole")).unwrap().len(),
            1 << 20,
            "{args:?}"
        );
    }
}

fn pax_sparse(map: &str, real_size: &str, data: &str) -> Vec<u8> {
    let mut contents = map.as_bytes().to_vec();
    contents.resize(contents.len().next_multiple_of(512), 0);
    contents.extend(data.as_bytes());
    Tar::default()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"real"),
            ("GNU.sparse.realsize", real_size.as_bytes()),
        ])
        .raw(Raw::new("GNUSparseFile.0/real", b'0').data(contents))
        .file("after", "x")
        .end()
}

#[test]
fn pax_maps_in_the_contents() {
    let tar = pax_sparse("2\n0\n3\n10\n4\n", "20", "abcdefg");
    let mut reader = TarReader::new(&tar[..], Limits::default());
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!((&entry.path[..], entry.size), (&b"real"[..], 20));
    let segments = [
        Segment { offset: 0, len: 3 },
        Segment { offset: 10, len: 4 },
    ];
    assert_eq!(entry.sparse.as_deref(), Some(&segments[..]));
    assert_eq!(reader.chunk().unwrap(), b"abcdefg");
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"after");
    let place = Place::new();
    apply_layer(&tar[..], &place.root(), &mine()).unwrap();
    assert_eq!(place.read("real"), "abc\0\0\0\0\0\0\0defg\0\0\0\0\0\0");
}

#[test]
fn maps_that_lie() {
    for (map, real_size, data) in [
        ("2\n0\n3\n2\n4\n", "20", "abcdefg"),
        ("2\n10\n3\n0\n4\n", "20", "abcdefg"),
        ("1\n0\n3\n", "2", "abc"),
        ("1\n0\n3\n", "20", "abcd"),
        ("1\n0\n30\n", "200", "abcd"),
        ("1\n0\n", "20", "abc"),
        ("x\n0\n3\n", "20", "abc"),
        ("1\n-1\n3\n", "20", "abc"),
        ("1\n9223372036854775807\n3\n", "9223372036854775807", "abc"),
        ("1\n0\n3", "20", "abc"),
        ("1 0 3\n", "20", "abc"),
        ("1\n0\n3\n", "-1", "abc"),
        ("1\n0\n3\n", "", "abc"),
    ] {
        let place = Place::new();
        let result = apply_layer(
            &pax_sparse(map, real_size, data)[..],
            &place.root(),
            &mine(),
        );
        assert!(
            matches!(result, Err(Error::Malformed { .. })),
            "{map:?} {real_size}: {result:?}"
        );
        place.check_outside();
    }
}

#[test]
fn old_maps_that_lie() {
    let sparse = |gnu: bool, map: &[(u64, u64)], real: u64, more: bool| {
        let mut block = Raw {
            gnu,
            ..Raw::new("s", b'S').data("abcd")
        }
        .block();
        for (i, (offset, len)) in map.iter().enumerate() {
            let at = 386 + 24 * i;
            block[at..at + 12].copy_from_slice(format!("{offset:011o}\0").as_bytes());
            block[at + 12..at + 24].copy_from_slice(format!("{len:011o}\0").as_bytes());
        }
        block[482] = more.into();
        block[483..495].copy_from_slice(format!("{real:011o}\0").as_bytes());
        seal(&mut block);
        Tar(block.to_vec()).bytes(b"abcd").end()
    };
    let run = |tar: &[u8]| {
        let place = Place::new();
        apply_layer(tar, &place.root(), &mine())
    };
    assert!(run(&sparse(true, &[(5, 4)], 20, false)).is_ok());
    assert!(matches!(
        run(&sparse(false, &[(5, 4)], 20, false)),
        Err(Error::Malformed { .. })
    ));
    assert!(matches!(
        run(&sparse(true, &[(5, 3)], 20, false)),
        Err(Error::Malformed { .. })
    ));
    assert!(matches!(
        run(&sparse(true, &[(5, 4)], 8, false)),
        Err(Error::Malformed { .. })
    ));
    assert!(matches!(
        run(&sparse(true, &[(5, 2), (6, 2)], 20, false)),
        Err(Error::Malformed { .. })
    ));
    // "More follows", but what follows is no map.
    assert!(run(&sparse(true, &[(5, 4)], 20, true)).is_err());
}
