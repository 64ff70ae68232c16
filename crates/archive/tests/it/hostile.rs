//! Archives that try to get out, or to break the reader. Each must end in a typed error (or do
//! nothing of what it tried), with everything outside the root as it was.

use std::os::unix::fs::MetadataExt;

use coracle_archive::{Decompressor, Error, Limit, Limits, TarReader, apply_layer};
use proptest::prelude::*;

use crate::common::{Place, Raw, Tar, options, root, seal};

fn refused(tar: &[u8]) -> Error {
    let place = Place::new();
    let error = place
        .apply(tar)
        .expect_err("a hostile archive was unpacked");
    place.check_outside();
    error
}

#[test]
fn names_that_lead_out() {
    for name in [
        "../evil",
        "a/../../evil",
        "..",
        "/../evil",
        "./../../outside/precious",
        "a/../..",
    ] {
        let error = refused(&Tar::default().file(name, "evil").end());
        assert!(matches!(error, Error::Breakout { .. }), "{name}: {error}");
        let error = refused(&Tar::default().dir(name).end());
        assert!(matches!(error, Error::Breakout { .. }), "{name}: {error}");
        let error = refused(
            &Tar::default()
                .pax(&[("path", name.as_bytes())])
                .file("ok", "x")
                .end(),
        );
        assert!(matches!(error, Error::Breakout { .. }), "{name}: {error}");
        let long = Raw::new("././@LongLink", b'L').data(name);
        let error = refused(&Tar::default().raw(long).file("ok", "x").end());
        assert!(matches!(error, Error::Breakout { .. }), "{name}: {error}");
    }
}

#[test]
fn absolute_names_stay_inside() {
    if !root() {
        return;
    }
    let place = Place::new();
    let target = place.outside().join("precious");
    let tar = Tar::default().file(target.to_str().unwrap(), "evil").end();
    place.apply(&tar).unwrap();
    assert_eq!(
        place.read(target.to_str().unwrap().trim_start_matches('/')),
        "evil"
    );
    place.check_outside();
}

#[test]
fn links_that_lead_out() {
    if !root() {
        return;
    }
    for target in [
        "/outside",
        "../outside",
        "../../../../../../../../",
        "/",
        "/proc/self/root",
        "/proc/self/cwd",
    ] {
        let place = Place::new();
        let outside = place.outside();
        let target = target.replace("/outside", outside.to_str().unwrap());
        let tar = Tar::default()
            .symlink("out", &target)
            .file("out/evil", "evil")
            .raw(Raw::new("out/dir", b'5').mode(0o777).owner(1, 1))
            .file("out/precious", "evil")
            .raw(Raw::new("out/.wh.precious", b'0'))
            .raw(Raw::new("out/.wh..wh..opq", b'0'))
            .end();
        // Either it is all inside, or it is an error.
        let _ = place.apply(&tar);
        place.check_outside();
        // The same through a link to a link, and with the link made a directory's parent.
        let place = Place::new();
        let tar = Tar::default()
            .dir("a")
            .symlink("a/one", &target)
            .symlink("two", "a/one/..")
            .file("two/outside/precious", "evil")
            .file("a/one/outside/evil", "evil")
            .end();
        let _ = place.apply(&tar);
        place.check_outside();
    }
}

#[test]
fn a_link_is_replaced_never_written_through() {
    if !root() {
        return;
    }
    let place = Place::new();
    let precious = place.outside().join("precious");
    let precious = precious.to_str().unwrap();
    let tar = Tar::default()
        .symlink("file", precious)
        .file("file", "evil")
        .symlink("dir", place.outside().to_str().unwrap())
        .raw(Raw::new("dir", b'5').mode(0o777).owner(5, 5))
        .symlink("mode", precious)
        .raw(Raw::new("mode", b'6').mode(0o777))
        .end();
    place.apply(&tar).unwrap();
    assert_eq!(place.read("file"), "evil");
    assert!(std::fs::symlink_metadata(place.at("dir")).unwrap().is_dir());
    place.check_outside();
}

#[test]
fn hard_links_that_lead_out() {
    let place = Place::new();
    let precious = place.outside().join("precious");
    for target in [
        "../outside/precious",
        "/../../outside/precious",
        "a/../../outside/precious",
    ] {
        let error = refused(
            &Tar::default()
                .hardlink("evil", target)
                .file("evil", "x")
                .end(),
        );
        assert!(matches!(error, Error::Breakout { .. }), "{target}: {error}");
    }
    for target in [precious.to_str().unwrap(), "/etc/passwd", "missing", "evil"] {
        let error = refused(&Tar::default().hardlink("evil", target).end());
        assert!(
            matches!(error, Error::LinkTargetMissing { .. }),
            "{target}: {error}"
        );
    }
    for target in ["", "/", "."] {
        let error = refused(&Tar::default().hardlink("evil", target).end());
        assert!(
            matches!(error, Error::LinkToDirectory { .. }),
            "{target}: {error}"
        );
    }
}

#[test]
fn hard_links_to_links_dont_follow_them() {
    if !root() {
        return;
    }
    let place = Place::new();
    let precious = place.outside().join("precious");
    let tar = Tar::default()
        .symlink("link", precious.to_str().unwrap())
        .raw(Raw::new("evil", b'1').link("link").mode(0o777).owner(9, 9))
        .file("evil2", "x")
        .symlink("out", place.outside().to_str().unwrap())
        .end();
    place.apply(&tar).unwrap();
    assert!(
        std::fs::symlink_metadata(place.at("evil"))
            .unwrap()
            .is_symlink()
    );
    place.check_outside();
    let tar = Tar::default().hardlink("evil3", "out/precious").end();
    assert!(matches!(
        place.apply(&tar),
        Err(Error::LinkTargetMissing { .. })
    ));
    place.check_outside();
}

#[test]
fn hard_links_into_what_they_replace() {
    if !root() {
        return;
    }
    let error = refused(
        &Tar::default()
            .dir("a")
            .file("a/b", "x")
            .hardlink("a", "a/b")
            .end(),
    );
    assert!(matches!(error, Error::LinkTargetMissing { .. }), "{error}");
    let error = refused(&Tar::default().dir("a").hardlink("b", "a").end());
    assert!(matches!(error, Error::LinkToDirectory { .. }), "{error}");
}

#[test]
fn whiteouts_that_lead_out() {
    for name in [".wh...", ".wh..", ".wh.", "a/.wh...", "a/.wh.."] {
        let error = refused(&Tar::default().file(name, "").end());
        assert!(
            matches!(error, Error::InvalidName { .. }),
            "{name}: {error}"
        );
    }
    let error = refused(&Tar::default().file("../.wh.outside", "").end());
    assert!(matches!(error, Error::Breakout { .. }), "{error}");
}

#[test]
fn the_root_stays_a_directory() {
    for kind in [b'0', b'2', b'3', b'6'] {
        for name in [".", "/", "", "a/.."] {
            // A regular file whose name ends in a slash is a directory, as v7 had it.
            if kind == b'0' && name == "/" {
                continue;
            }
            let error = refused(&Tar::default().raw(Raw::new(name, kind).link("/etc")).end());
            assert!(
                matches!(error, Error::InvalidName { .. }),
                "{name} {kind}: {error}"
            );
        }
    }
}

#[test]
fn files_as_parents() {
    if !root() {
        return;
    }
    let error = refused(&Tar::default().file("a", "x").file("a/b", "y").end());
    assert!(matches!(error, Error::NotADirectory { .. }), "{error}");
    let error = refused(&Tar::default().symlink("a", "a").file("a/b", "y").end());
    assert!(matches!(error, Error::TooManyLinks { .. }), "{error}");
    let error = refused(
        &Tar::default()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/c", "y")
            .end(),
    );
    assert!(matches!(error, Error::TooManyLinks { .. }), "{error}");
    let error = refused(&Tar::default().raw(Raw::new("n", b'2')).end());
    assert!(matches!(error, Error::InvalidName { .. }), "{error}");
}

#[test]
fn sizes_that_lie() {
    let sized = |size: &[u8]| Raw {
        size: Some(size.to_vec()),
        ..Raw::new("f", b'0').data("data")
    };
    let negative = [0xff; 12];
    let huge = [
        0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    let more = [0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
    for (size, what) in [
        (&negative[..], "negative"),
        (&more, "2^63"),
        (b"99999999999\0", "decimal"),
    ] {
        let error = refused(&Tar::default().raw(sized(size)).end());
        assert!(matches!(error, Error::Malformed { .. }), "{what}: {error}");
    }
    for size in [&huge[..], b"00000010000\0"] {
        let error = refused(&Tar::default().raw(sized(size)).end());
        assert!(matches!(error, Error::Truncated { .. }), "{error}");
    }
    for size in [
        "-1",
        "9999999999999999999999",
        "18446744073709551615",
        "1e3",
        "",
        " 1",
        "+1",
    ] {
        let tar = Tar::default()
            .pax(&[("size", size.as_bytes())])
            .file("f", "data")
            .end();
        let place = Place::new();
        match place.apply(&tar) {
            Err(Error::Malformed { .. }) => {}
            // An empty value takes back what nobody said.
            Ok(_) if size.is_empty() => {}
            Err(Error::Io { .. }) if size.is_empty() && !root() => {}
            other => panic!("{size}: {other:?}"),
        }
    }
}

/// A file's contents that look like an archive must never be read as one, whatever the sizes say.
#[test]
fn desynchronised_sizes_follow_the_extension() {
    if !root() {
        return;
    }
    let inner = Tar::default().file("smuggled", "evil").end();
    let len = inner.len().to_string();
    // The header says 0, PAX tells the truth: everything is the file's contents.
    let outer = Raw {
        size: Some(b"00000000000\0".to_vec()),
        ..Raw::new("f", b'0')
    };
    let tar = Tar::default()
        .pax(&[("size", len.as_bytes())])
        .raw(outer)
        .bytes(&inner)
        .end();
    let place = Place::new();
    assert_eq!(place.apply(&tar).unwrap().entries, 1);
    assert!(!place.at("smuggled").exists());
    assert_eq!(
        std::fs::metadata(place.at("f")).unwrap().len(),
        inner.len() as u64
    );
    // An extension header between the records and the file must not take the file's size.
    let long = Raw::new("././@LongLink", b'L').data("g\0");
    let tar = Tar::default()
        .pax(&[("size", b"0")])
        .raw(long)
        .file("f", "")
        .end();
    let place = Place::new();
    assert_eq!(place.apply(&tar).unwrap().entries, 1);
    assert!(place.at("g").exists());
    // Links and directories have no contents, as in every engine.
    let linked = Raw {
        size: Some(b"00000002000\0".to_vec()),
        ..Raw::new("l", b'2').link("x")
    };
    let tar = Tar::default().raw(linked).file("real", "").end();
    let place = Place::new();
    assert_eq!(place.apply(&tar).unwrap().entries, 2);
}

#[test]
fn truncation_at_every_byte() {
    let tar = Tar::default()
        .dir("d")
        .pax(&[("path", b"d/long")])
        .file("x", &"data".repeat(200))
        .raw(Raw::new("././@LongLink", b'L').data("d/other\0"))
        .file("y", "z")
        .0;
    // Before anything, after the directory, and after the first file: whole archives, if without
    // an end.
    let whole = [0, 512, 512 + 1024 + 512 + 1024];
    for len in 0..tar.len() {
        let mut reader = TarReader::new(&tar[..len], Limits::default());
        let result = loop {
            match reader.next_entry() {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        if whole.contains(&len) {
            assert!(matches!(result, Ok(None)), "{len}");
        } else {
            assert!(
                matches!(result, Err(Error::Truncated { .. })),
                "{len}: {result:?}"
            );
        }
    }
    let error = refused(&tar[..tar.len() - 1]);
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn extension_headers_without_end() {
    let over = 1 << 20;
    for kind in [b'x', b'g', b'L', b'K'] {
        let raw = Raw {
            size: Some(format!("{:011o}\0", over + 1).into_bytes()),
            ..Raw::new("h", kind)
        };
        let error = refused(&Tar::default().raw(raw).end());
        assert!(
            matches!(
                error,
                Error::LimitExceeded {
                    limit: Limit::Extension,
                    ..
                }
            ),
            "{error}"
        );
        let raw = Raw {
            size: Some(b"77777777777\0".to_vec()),
            ..Raw::new("h", kind)
        };
        let error = refused(&Tar::default().raw(raw).end());
        assert!(
            matches!(
                error,
                Error::LimitExceeded {
                    limit: Limit::Extension,
                    ..
                }
            ),
            "{error}"
        );
    }
    // A stream of nothing but extension headers ends at the bound on headers.
    let mut tar = Tar::default();
    for _ in 0..50 {
        tar = tar.raw(Raw::new("h", b'g'));
    }
    let opts = coracle_archive::ApplyOptions {
        limits: Limits {
            max_entries: 40,
            ..Limits::default()
        },
        ..options()
    };
    let place = Place::new();
    let error = apply_layer(&tar.end()[..], &place.root(), &opts).unwrap_err();
    assert!(matches!(
        error,
        Error::LimitExceeded {
            limit: Limit::Entries,
            max: 40
        }
    ));
}

#[test]
fn extension_headers_without_an_entry() {
    let error = refused(&Tar::default().pax(&[("path", b"x")]).end());
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
    let error = refused(&Tar::default().raw(Raw::new("h", b'L').data("x")).end());
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn long_and_odd_names() {
    let long = "x/".repeat(2100);
    let error = refused(
        &Tar::default()
            .pax(&[("path", long.as_bytes())])
            .file("f", "")
            .end(),
    );
    assert!(
        matches!(
            error,
            Error::LimitExceeded {
                limit: Limit::Path,
                ..
            }
        ),
        "{error}"
    );
    let error = refused(
        &Tar::default()
            .pax(&[("linkpath", long.as_bytes())])
            .symlink("f", "x")
            .end(),
    );
    assert!(
        matches!(
            error,
            Error::LimitExceeded {
                limit: Limit::Path,
                ..
            }
        ),
        "{error}"
    );
    let error = refused(&Tar::default().pax(&[("path", b"a\0b")]).file("f", "").end());
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    let error = refused(
        &Tar::default()
            .file(&"n".repeat(100), "")
            .pax(&[("path", "n".repeat(256).as_bytes())])
            .file("f", "")
            .end(),
    );
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn unknown_kinds_are_refused_by_name() {
    for kind in [b'V', b'M', b'D', b'N', b'Z', 0xff] {
        let error = refused(&Tar::default().raw(Raw::new("label", kind)).end());
        assert!(matches!(error, Error::UnsupportedEntry { type_flag, .. } if type_flag == kind));
    }
}

#[test]
fn broken_headers() {
    let good = Raw::new("f", b'0').block();
    let mut tampered = good;
    tampered[0] = b'g';
    assert!(matches!(refused(&tampered), Error::Malformed { .. }));
    for (at, value) in [
        (100, &b"9"[..]),
        (108, b"x"),
        (124, b"-"),
        (136, b"?"),
        (116, b"00 0"),
    ] {
        let mut bad = good;
        bad[at..at + value.len()].copy_from_slice(value);
        seal(&mut bad);
        assert!(matches!(refused(&bad), Error::Malformed { .. }), "{at}");
    }
    // Owner ids that chown would take for "don't change".
    let mut bad = good;
    bad[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    seal(&mut bad);
    assert!(matches!(refused(&bad), Error::Malformed { .. }));
    let mut tar = vec![0; 512];
    tar.extend(good);
    assert!(matches!(refused(&tar), Error::Malformed { .. }));
}

#[test]
fn bombs_are_bounded() {
    let limits = Limits {
        max_bytes: 1 << 20,
        ..Limits::default()
    };
    let opts = coracle_archive::ApplyOptions {
        limits,
        ..options()
    };
    let raw = Raw {
        size: Some(b"00100000000\0".to_vec()),
        ..Raw::new("zeros", b'0')
    };
    let mut tar = Tar::default().raw(raw).0;
    tar.resize(tar.len() + (16 << 20), 0);
    let packed = zstd::encode_all(&tar[..], 1).unwrap();
    assert!(packed.len() < 64 << 10);
    let place = Place::new();
    let error = apply_layer(
        Decompressor::new(&packed[..]).unwrap(),
        &place.root(),
        &opts,
    )
    .unwrap_err();
    assert!(
        matches!(
            error,
            Error::LimitExceeded {
                limit: Limit::Bytes,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn many_segments_are_bounded() {
    let mut map = String::from("2000000\n");
    map.push_str(&"0\n0\n".repeat(1000));
    let tar = Tar::default()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"10"),
        ])
        .file("f", &map)
        .end();
    let error = refused(&tar);
    assert!(
        matches!(
            error,
            Error::LimitExceeded {
                limit: Limit::Segments,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn overlays_own_attributes_are_dropped() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = Tar::default()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.metacopy", b""),
        ])
        .dir("d")
        .end();
    assert_eq!(place.apply(&tar).unwrap().skipped_xattrs, 3);
    let mut list = [0; 1024];
    let len = rustix::fs::listxattr(place.at("d"), &mut list[..]).unwrap();
    assert!(!String::from_utf8_lossy(&list[..len]).contains("overlay"));
}

/// Bits of archives, put together at random.
fn piece() -> impl Strategy<Value = Raw> {
    let name = prop_oneof![
        "[ab./]{1,12}",
        Just("../outside/precious".to_owned()),
        Just("a/.wh..wh..opq".to_owned()),
        Just("a/.wh.b".to_owned()),
        Just(".wh...".to_owned()),
        Just("a".to_owned()),
        Just("a/b".to_owned()),
    ];
    let link = prop_oneof![
        "[ab./]{0,12}",
        Just("../outside".to_owned()),
        Just("/../../../../../../../tmp".to_owned()),
        Just("/".to_owned()),
    ];
    let kind = prop::sample::select(&b"0123456xgLKS7Z"[..]);
    let data = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..600),
        Just(b"20 path=../outside/x\n".to_vec()),
        Just(b"18 path=/etc/evil\n".to_vec()),
    ];
    (name, link, kind, data, any::<bool>(), 0u32..0o10000).prop_map(
        |(name, link, kind, data, gnu, mode)| Raw {
            gnu,
            ..Raw::new(name, kind).link(link).data(data).mode(mode)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_gets_out(pieces in prop::collection::vec(piece(), 1..12)) {
        let place = Place::new();
        let tar = pieces.into_iter().fold(Tar::default(), Tar::raw).end();
        let _ = place.apply(&tar);
        place.check_outside();
        prop_assert_eq!(std::fs::symlink_metadata(place.root()).unwrap().mode() & 0o170_000, 0o040_000);
    }

    #[test]
    fn noise_never_panics(mut noise in prop::collection::vec(any::<u8>(), 0..3000), sealed in any::<bool>()) {
        if let Some(block) = noise.first_chunk_mut::<512>().filter(|_| sealed) {
            seal(block);
        }
        let place = Place::new();
        let _ = place.apply(&noise);
        place.check_outside();
    }
}
