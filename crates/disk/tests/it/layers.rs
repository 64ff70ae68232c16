//! What layers can say, one subject after the other.

use coracle_archive::{Entry, Kind, Time};

use crate::common::{Tar, check, entry, image, must_equal};
use crate::mounts::{Mounted, root};

fn xattr(name: &str, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (name.into(), value.into())
}

#[test]
fn nothing_is_an_empty_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    assert_eq!(image(&[], &path).unwrap().inodes, 1);
    check(&path).unwrap();
    must_equal(&[Tar::new().end()]);
}

#[test]
fn files_of_all_sizes() {
    let mut tar = Tar::new();
    for size in [
        0usize,
        1,
        31,
        3071,
        3072,
        3073,
        4095,
        4096,
        4097,
        8191,
        8192,
        8193,
        70_000,
        1 << 20,
        (1 << 20) + 5,
        3_000_001,
    ] {
        let data: Vec<u8> = (0..size).map(|n| (n * 7 + n / 251) as u8).collect();
        tar = tar.file(&format!("f{size}"), &data);
    }
    must_equal(&[tar.end()]);
}

#[test]
fn every_kind_and_attribute() {
    let acl: Vec<u8> = [
        &2u32.to_le_bytes()[..],
        &[1, 0, 6, 0, 255, 255, 255, 255],
        &[2, 0, 4, 0, 232, 3, 0, 0],
        &[4, 0, 4, 0, 255, 255, 255, 255],
        &[16, 0, 4, 0, 255, 255, 255, 255],
        &[32, 0, 4, 0, 255, 255, 255, 255],
    ]
    .concat();
    let device = |path: &str, kind, device| Entry {
        device,
        ..entry(path, kind, 0o640)
    };
    let tar = Tar::new()
        .dir("dev")
        .entry(device("dev/null", Kind::CharDevice, (1, 3)), b"")
        .entry(device("dev/big", Kind::CharDevice, (4095, 1_048_575)), b"")
        .entry(device("dev/disk", Kind::BlockDevice, (8, 300)), b"")
        .entry(entry("dev/pipe", Kind::Fifo, 0o600), b"")
        .link("short", "dev", Kind::Symlink)
        .link("long", &"a/".repeat(2000), Kind::Symlink)
        .entry(
            Entry {
                uid: u32::MAX - 1,
                gid: 100_000,
                ..entry("suid", Kind::File, 0o6755)
            },
            b"x",
        )
        .entry(entry("sticky", Kind::Directory, 0o1777), b"")
        .entry(
            Entry {
                mtime: Time {
                    secs: -5,
                    nanos: 999_999_999,
                },
                ..entry("old", Kind::File, 0o400)
            },
            b"",
        )
        .entry(
            Entry {
                xattrs: vec![
                    xattr("user.one", b"1"),
                    xattr("user.empty", b""),
                    xattr("trusted.two", &[7; 1000]),
                    xattr(
                        "security.capability",
                        b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                    ),
                    xattr("trusted.overlay.redirect", b"/etc"),
                    xattr("nonsense.x", b"y"),
                    xattr("system.posix_acl_access", &acl),
                ],
                ..entry("attributes", Kind::File, 0o644)
            },
            b"data",
        )
        .entry(
            Entry {
                xattrs: vec![xattr("trusted.link", b"l"), xattr("user.no", b"n")],
                ..entry("linked", Kind::Symlink, 0o777)
            }
            .to("suid"),
            b"",
        );
    must_equal(&[tar.end()]);
}

trait To {
    fn to(self, target: &str) -> Self;
}

impl To for Entry {
    fn to(self, target: &str) -> Entry {
        Entry {
            link: target.into(),
            ..self
        }
    }
}

/// A list of access rules, of tags, permissions and ids.
fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(bits.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

#[test]
fn access_rules_change_modes() {
    let (short, long) = (
        list(&[(1, 6, !0), (4, 4, !0), (32, 4, !0)]),
        list(&[
            (1, 7, !0),
            (2, 5, 1000),
            (4, 5, !0),
            (8, 7, 5),
            (16, 5, !0),
            (32, 0, !0),
        ]),
    );
    let with = |path: &str, kind, mode, name: &str, value: &[u8]| Entry {
        xattrs: vec![xattr(name, value)],
        ..entry(path, kind, mode)
    };
    let access = "system.posix_acl_access";
    let default = "system.posix_acl_default";
    let tar = Tar::new()
        .entry(with("a", Kind::File, 0o600, access, &short), b"")
        .entry(with("b", Kind::File, 0o4600, access, &long), b"")
        .entry(with("c", Kind::Directory, 0o750, access, &long), b"")
        .entry(with("d", Kind::Directory, 0o755, default, &long), b"")
        .entry(with("e", Kind::Fifo, 0o600, access, &long), b"")
        .file("d/inside", b"x");
    must_equal(&[tar.end()]);
}

#[test]
fn malformed_attributes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("system.posix_acl_access", &b"nonsense"[..]),
        ("security.capability", b"short"),
    ] {
        let file = Entry {
            xattrs: vec![xattr(name, value)],
            ..entry("file", Kind::File, 0o644)
        };
        let error = image(
            &[Tar::new().entry(file, b"").end()],
            &dir.path().join("image"),
        );
        assert!(matches!(error, Err(coracle_disk::Error::Attribute { .. })));
    }
}

#[test]
fn attributes_are_shared_and_long() {
    let mut tar = Tar::new();
    for n in 0..300 {
        let mut xattrs = vec![
            xattr("security.label", b"system_u:object_r:usr_t:s0"),
            xattr("user.own", format!("{n}").as_bytes()),
        ];
        if n % 3 == 0 {
            xattrs.push(xattr("user.third", &[3; 700]));
        }
        let file = Entry {
            xattrs,
            ..entry(&format!("f{n:03}"), Kind::File, 0o644)
        };
        tar = tar.entry(file, &vec![n as u8; n * 17]);
    }
    let long = (0..3)
        .map(|n| xattr(&format!("trusted.{n}"), &[n; 1200]))
        .collect();
    let link = Entry {
        xattrs: long,
        ..entry("link", Kind::Symlink, 0o777)
    };
    must_equal(&[tar.entry(link.to(&"x".repeat(1000)), b"").end()]);
}

#[test]
fn attributes_longer_than_a_block() {
    if !root() {
        return;
    }
    // ext4 takes no more than a block of them.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let long = vec![0x5a; 65_535];
    let mut all = vec![xattr("trusted.long", &long)];
    all.extend((0..5u8).map(|n| xattr(&format!("user.{n}"), &vec![n; 3000])));
    let file = Entry {
        xattrs: all,
        ..entry("file", Kind::File, 0o644)
    };
    image(&[Tar::new().entry(file, &[b'x'; 2500]).end()], &path).unwrap();
    check(&path).unwrap();
    let mounted = Mounted::image(&path, "erofs", false);
    let mut value = vec![0; 65_536];
    let len = rustix::fs::lgetxattr(mounted.at("file"), "trusted.long", &mut value[..]).unwrap();
    assert_eq!(value[..len], long);
    let len = rustix::fs::lgetxattr(mounted.at("file"), "user.4", &mut value[..]).unwrap();
    assert_eq!(value[..len], [4; 3000]);
    assert_eq!(std::fs::read(mounted.at("file")).unwrap(), [b'x'; 2500]);
}

#[test]
fn names_and_depths() {
    let mut tar = Tar::new();
    let mut deep = String::new();
    for _ in 0..100 {
        deep.push_str("d/");
        tar = tar.dir(&deep);
    }
    for name in ["!", "-", "..-", ".-", "...", ".a", "0", "~", " "] {
        tar = tar.file(&format!("names/{name}"), name.as_bytes());
    }
    let raw = Entry {
        path: b"names/\xff\xfe\x01\n".to_vec(),
        ..entry("", Kind::File, 0o644)
    };
    tar = tar
        .entry(raw, b"raw")
        .file(&format!("names/{}", "n".repeat(255)), b"long")
        .file(&format!("names/{}m", "n".repeat(254)), b"long");
    must_equal(&[tar.end()]);
}

#[test]
fn a_directory_with_many_names() {
    let mut tar = Tar::new().dir("many");
    for n in 0..5000u32 {
        let name = format!(
            "many/{:x}-{}",
            n.wrapping_mul(2_654_435_761),
            "x".repeat(n as usize % 90)
        );
        tar = tar.file(&name, b"");
    }
    must_equal(&[tar.end()]);
}

/// An inode without attributes can be the last 64 bytes of a block.
#[test]
fn an_inode_at_the_very_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    for files in 1..=64 {
        for name in ["a", "longer than the slot of an inode"] {
            let tar = (0..files).fold(Tar::new(), |tar, n| tar.file(&format!("{name}{n:02}"), b""));
            image(&[tar.end()], &path).unwrap();
            check(&path).unwrap_or_else(|text| panic!("{files} of {name}: {text}"));
        }
    }
}

#[test]
fn hard_links() {
    let one = Tar::new()
        .file("a", b"one")
        .link("b", "a", Kind::HardLink)
        .link("d/c", "/b", Kind::HardLink)
        .link("s", "a", Kind::Symlink)
        .link("s2", "s", Kind::HardLink)
        .file("x", b"kept")
        .link("y", "x", Kind::HardLink)
        .file("x", b"new")
        .file("hidden", &[1; 5000])
        .link("shown", "hidden", Kind::HardLink);
    must_equal(&[one.end()]);
    // What a layer hides is reached by another name, of the same layer and of one above.
    let one = Tar::new()
        .file("hidden", &[1; 5000])
        .link("shown", "hidden", Kind::HardLink)
        .file("below", &[2; 9000])
        .dir("old")
        .file("old/inside", &[3; 100]);
    let two =
        Tar::new()
            .link("above", "below", Kind::HardLink)
            .link("out", "old/inside", Kind::HardLink);
    let three = Tar::new()
        .file(".wh.hidden", b"")
        .file("below", b"replaced")
        .file(".wh.old", b"");
    must_equal(&[one.end(), two.end(), three.end()]);
}

#[test]
fn layers_hide() {
    let one = Tar::new()
        .entry(entry("./", Kind::Directory, 0o750), b"")
        .dir("a")
        .entry(entry("a/dir", Kind::Directory, 0o700), b"")
        .file("a/dir/one", &[1; 6000])
        .file("a/dir/gone", &[2; 6000])
        .dir("opaque")
        .file("opaque/old", b"old")
        .file("becomes", b"a file")
        .dir("was")
        .file("was/inside", b"x")
        .dir("back")
        .file("back/old", b"x");
    let two = Tar::new()
        .file("a/dir/two", &[3; 6000])
        .file("a/dir/.wh.gone", b"")
        .dir("opaque")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"new")
        .file("becomes/a/directory", b"y")
        .file("was", b"a file now")
        .file(".wh.back", b"")
        .dir("back")
        .file("back/new", b"z")
        .file(".wh..wh.plnk/1", b"aufs")
        .file(".wh.never", b"");
    let three = Tar::new()
        .file("a/dir/one", b"replaced")
        .file("a/dir/gone", b"there again")
        .file("opaque/old", b"there again");
    must_equal(&[one.end(), two.end(), three.end()]);
}

#[test]
fn links_in_paths_stay_inside() {
    let tar = Tar::new()
        .dir("usr/lib")
        .link("lib", "/usr/lib", Kind::Symlink)
        .link("up", "../../../usr", Kind::Symlink)
        .file("lib/one", b"1")
        .file("up/lib/two", b"2")
        .link("new", "not/there", Kind::Symlink)
        .file("new/three", b"3");
    must_equal(&[tar.end()]);
    let above = Tar::new().file("lib/four", b"4").file("usr/lib/one", b"5");
    let tar = Tar::new()
        .dir("usr/lib")
        .link("lib", "/usr/lib", Kind::Symlink)
        .file("lib/one", b"1");
    must_equal(&[tar.end(), above.end()]);
}

#[test]
fn entries_replace_each_other() {
    let tar = Tar::new()
        .file("a", b"1")
        .file("a", b"22")
        .dir("d")
        .file("d/x", b"x")
        .file("d", b"file")
        .dir("d")
        .file("d/y", b"y")
        .entry(
            Entry {
                xattrs: vec![xattr("user.a", b"1"), xattr("user.b", b"1")],
                ..entry("m", Kind::Directory, 0o755)
            },
            b"",
        )
        .file("m/x", b"x")
        .entry(
            Entry {
                xattrs: vec![xattr("user.b", b"2")],
                ..entry("m", Kind::Directory, 0o700)
            },
            b"",
        );
    must_equal(&[tar.end()]);
}
