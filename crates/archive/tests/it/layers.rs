//! Layers as registries have them.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use coracle_archive::{Limits, OverlayAttrs, Owners, apply_layer};

use crate::common::{Place, Raw, Tar, options, root};
use crate::write::picture;

fn xattr(path: &std::path::Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let len = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

#[test]
fn everything_that_a_layer_can_hold() {
    if !root() {
        return;
    }
    let place = Place::new();
    let mut device = Raw::new("dev/null", b'3').mode(0o666);
    device.device = (1, 3);
    let mut disk = Raw::new("dev/disk", b'4').mode(0o660).owner(0, 6);
    disk.device = (8, 300);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .raw(Raw::new("./", b'5').mode(0o711).owner(1, 2))
        .raw(Raw::new("bin/", b'5').mode(0o555))
        .file("bin/sh", "#!")
        .raw(
            Raw::new("bin/su", b'0')
                .mode(0o6755)
                .owner(0, 42)
                .data("su"),
        )
        .raw(Raw::new("tmp/", b'5').mode(0o1777))
        .raw(
            Raw::new("secret", b'0')
                .mode(0o000)
                .owner(1000, 1000)
                .data("s"),
        )
        .hardlink("bin/bash", "bin/sh")
        .hardlink("/bin/ash", "./bin/../bin/sh")
        .symlink("lib", "usr/lib")
        .raw(Raw::new("link", b'2').link("/absolute/../x").owner(7, 8))
        .raw(device)
        .raw(disk)
        .raw(Raw::new("pipe", b'6').mode(0o622))
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("mtime", b"1234567890.123456789"),
        ])
        .raw(
            Raw::new("bin/ping", b'0')
                .mode(0o755)
                .owner(3, 4)
                .data("ping"),
        )
        .pax(&[
            ("SCHILY.xattr.user.note", b"a\0b"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/x"),
        ])
        .raw(Raw::new("noted", b'5'))
        .pax(&[("path", "deep/ünï/".repeat(30).as_bytes())])
        .raw(Raw::new("x", b'5'))
        .raw(Raw::new(b"not-utf8-\xff\xfe", b'0').data("x"))
        .end();
    let applied = place.apply(&tar).unwrap();
    assert_eq!(applied.entries, 17);
    assert_eq!(applied.skipped_xattrs, 1);
    let meta = |path: &str| std::fs::symlink_metadata(place.at(path)).unwrap();
    let top = meta("");
    assert_eq!(
        (top.mode() & 0o7777, top.uid(), top.gid(), top.mtime()),
        (0o711, 1, 2, 1_000_000_000)
    );
    assert_eq!(
        (meta("bin").mode() & 0o7777, meta("bin").mtime()),
        (0o555, 1_000_000_000)
    );
    assert_eq!(meta("tmp").mode() & 0o7777, 0o1777);
    assert_eq!(
        (meta("bin/su").mode() & 0o7777, meta("bin/su").gid()),
        (0o6755, 42)
    );
    assert_eq!(
        (meta("secret").mode() & 0o7777, meta("secret").uid()),
        (0, 1000)
    );
    assert_eq!(meta("bin/sh").nlink(), 3);
    assert_eq!(meta("bin/sh").mtime(), 1_000_000_000);
    assert_eq!(
        std::fs::read_link(place.at("lib")).unwrap().as_os_str(),
        "usr/lib"
    );
    assert_eq!(
        std::fs::read_link(place.at("link")).unwrap().as_os_str(),
        "/absolute/../x"
    );
    assert_eq!(
        (meta("link").uid(), meta("link").gid(), meta("link").mtime()),
        (7, 8, 1_000_000_000)
    );
    assert!(meta("dev/null").file_type().is_char_device());
    assert_eq!(
        (meta("dev/null").rdev(), meta("dev/null").mode() & 0o7777),
        (0x103, 0o666)
    );
    assert!(meta("dev/disk").file_type().is_block_device());
    assert_eq!(rustix::fs::minor(meta("dev/disk").rdev()), 300);
    assert!(meta("pipe").file_type().is_fifo());
    assert_eq!(meta("pipe").mode() & 0o7777, 0o622);
    let ping = meta("bin/ping");
    assert_eq!(
        (ping.uid(), ping.gid(), ping.mtime(), ping.mtime_nsec()),
        (3, 4, 1_234_567_890, 123_456_789)
    );
    assert_eq!(
        xattr(&place.at("bin/ping"), "security.capability").unwrap(),
        capability
    );
    assert_eq!(xattr(&place.at("noted"), "user.note").unwrap(), b"a\0b");
    assert_eq!(xattr(&place.at("noted"), "trusted.overlay.redirect"), None);
    assert!(place.at(&"deep/ünï/".repeat(30)).is_dir());
    assert!(
        place
            .root()
            .join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff\xfe"))
            .exists()
    );
    place.check_outside();
}

#[test]
fn modes_and_times_dont_depend_on_umask_or_order() {
    let place = Place::new();
    let tar = Tar::default()
        .raw(
            Raw::new("d/e/f", b'0')
                .mode(0o666)
                .owner(
                    rustix::process::geteuid().as_raw(),
                    rustix::process::getegid().as_raw(),
                )
                .data("x"),
        )
        .raw(Raw::new("d/", b'5').mode(0o775).owner(
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ))
        .end();
    let opts = coracle_archive::ApplyOptions {
        owners: Owners::Fixed {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        },
        ..options()
    };
    apply_layer(&tar[..], &place.root(), &opts).unwrap();
    let meta = |path: &str| std::fs::metadata(place.at(path)).unwrap();
    assert_eq!(meta("d/e/f").mode() & 0o7777, 0o666);
    assert_eq!(
        (meta("d").mode() & 0o7777, meta("d").mtime()),
        (0o775, 1_000_000_000)
    );
    assert_eq!(meta("d/e").mode() & 0o7777, 0o755);
}

#[test]
fn whiteouts() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = Tar::default()
        .dir("etc")
        .file("etc/.wh.gone", "")
        .file(".wh.top", "")
        .dir("var")
        .file("var/.wh..wh..opq", "")
        .file("var/new", "new")
        // Whiteouts never hide what the layer itself has, whichever comes first.
        .file("etc/.wh.both", "")
        .file("etc/both", "kept")
        .file("etc/first", "kept")
        .file("etc/.wh.first", "")
        // A directory that replaces one below must not merge with it.
        .file("etc/.wh.dir", "")
        .dir("etc/dir")
        .dir("etc/dir2")
        .file("etc/.wh.dir2", "")
        .file("etc/.wh.implied", "")
        .file("etc/implied/file", "x")
        // aufs's own files are none of ours.
        .dir(".wh..wh.plnk")
        .file(".wh..wh.plnk/12.34", "x")
        .file(".wh..wh.aufs", "")
        .file("etc/.wh..wh.orph", "")
        .end();
    place.apply(&tar).unwrap();
    for gone in ["etc/gone", "top"] {
        let meta = std::fs::symlink_metadata(place.at(gone)).unwrap();
        assert!(meta.file_type().is_char_device(), "{gone}");
        assert_eq!(meta.rdev(), 0, "{gone}");
    }
    assert_eq!(place.read("etc/both"), "kept");
    assert_eq!(place.read("etc/first"), "kept");
    let opaque = |path: &str| xattr(&place.at(path), "trusted.overlay.opaque");
    assert_eq!(opaque("var").unwrap(), b"y");
    assert_eq!(opaque("etc/dir").unwrap(), b"y");
    assert_eq!(opaque("etc/dir2").unwrap(), b"y");
    assert_eq!(opaque("etc/implied").unwrap(), b"y");
    assert_eq!(opaque("etc"), None);
    let mut names: Vec<_> = std::fs::read_dir(place.root())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["etc", "top", "var"]);
    assert_eq!(std::fs::read_dir(place.at("etc")).unwrap().count(), 6);
}

#[test]
fn rootless_markers_are_user_attributes() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = Tar::default().dir("d").file("d/.wh..wh..opq", "").end();
    let opts = coracle_archive::ApplyOptions {
        attrs: OverlayAttrs::User,
        ..options()
    };
    apply_layer(&tar[..], &place.root(), &opts).unwrap();
    assert_eq!(xattr(&place.at("d"), "user.overlay.opaque").unwrap(), b"y");
    assert_eq!(xattr(&place.at("d"), "trusted.overlay.opaque"), None);
}

#[test]
fn without_devices_they_and_their_links_are_left_out() {
    if !root() {
        return;
    }
    let place = Place::new();
    let mut device = Raw::new("null", b'3');
    device.device = (1, 3);
    let tar = Tar::default()
        .raw(device)
        .hardlink("zero", "null")
        .hardlink("one", "zero")
        .raw(Raw::new("pipe", b'6'))
        .file(".wh.gone", "")
        .end();
    let opts = coracle_archive::ApplyOptions {
        devices: false,
        ..options()
    };
    let applied = apply_layer(&tar[..], &place.root(), &opts).unwrap();
    assert_eq!(applied.skipped_devices, 3);
    assert!(!place.at("null").exists());
    assert!(
        std::fs::metadata(place.at("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert!(
        std::fs::symlink_metadata(place.at("gone"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
}

#[test]
fn the_last_entry_of_a_name_wins() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = Tar::default()
        .file("a", "1")
        .file("a", "22")
        .dir("b")
        .file("b/in/side", "x")
        .file("b", "now a file")
        .file("c", "file")
        .dir("c")
        .file("c/inside", "y")
        .symlink("d", "a")
        .file("d", "no link any more")
        .dir("e")
        .symlink("e", "a")
        .raw(Raw::new("f", b'5').mode(0o700))
        .file("f/kept", "z")
        .raw(Raw::new("f", b'5').mode(0o750))
        .symlink("g", "f")
        .hardlink("g", "a")
        .hardlink("a", "a")
        .file("h", "")
        .raw(Raw::new("h", b'6'))
        .end();
    place.apply(&tar).unwrap();
    assert_eq!(place.read("a"), "22");
    assert_eq!(place.read("b"), "now a file");
    assert_eq!(place.read("c/inside"), "y");
    assert_eq!(place.read("d"), "no link any more");
    assert!(
        std::fs::symlink_metadata(place.at("e"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(place.read("f/kept"), "z");
    assert_eq!(
        std::fs::metadata(place.at("f")).unwrap().mode() & 0o7777,
        0o750
    );
    assert_eq!(
        std::fs::metadata(place.at("g")).unwrap().ino(),
        std::fs::metadata(place.at("a")).unwrap().ino()
    );
    assert!(
        std::fs::metadata(place.at("h"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

#[test]
fn links_in_parents_lead_inside_the_root() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = Tar::default()
        .dir("usr")
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .file("lib/libc.so", "libc")
        .symlink("abs", "/usr/lib/sub")
        .raw(Raw::new("abs/made", b'5').mode(0o700))
        .file("abs/made/x", "x")
        .symlink("up", "../../../../usr")
        .file("up/y", "y")
        // What the link led to before must not be remembered.
        .dir("other")
        .raw(Raw::new("lib", b'2').link("other"))
        .file("lib/z", "z")
        .end();
    place.apply(&tar).unwrap();
    assert_eq!(place.read("usr/lib/libc.so"), "libc");
    assert_eq!(place.read("usr/lib/sub/made/x"), "x");
    let made = std::fs::metadata(place.at("usr/lib/sub/made")).unwrap();
    assert_eq!((made.mode() & 0o7777, made.mtime()), (0o700, 1_000_000_000));
    assert_eq!(place.read("usr/y"), "y");
    assert_eq!(place.read("other/z"), "z");
    place.check_outside();
}

#[test]
fn default_acls_dont_reach_into_the_layer() {
    if !root() {
        return;
    }
    // user::rwx group::rwx other::rwx, as a default ACL; files created below would get it all.
    let acl = [
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 7, 0, 255, 255, 255, 255, 32, 0, 7, 0,
        255, 255, 255, 255,
    ];
    let place = Place::new();
    let tar = Tar::default()
        .pax(&[("SCHILY.xattr.system.posix_acl_default", &acl)])
        .dir("d")
        .raw(Raw::new("d/file", b'0').mode(0o640).data("x"))
        .raw(Raw::new("s", b'5').mode(0o2755).owner(0, 99))
        .raw(Raw::new("s/file", b'0').owner(0, 0).data("x"))
        .dir("s/dir")
        .end();
    place.apply(&tar).unwrap();
    assert_eq!(
        xattr(&place.at("d"), "system.posix_acl_default").unwrap(),
        acl
    );
    assert_eq!(
        std::fs::metadata(place.at("d/file")).unwrap().mode() & 0o7777,
        0o640
    );
    assert_eq!(
        std::fs::metadata(place.at("s")).unwrap().mode() & 0o7777,
        0o2755
    );
    assert_eq!(std::fs::metadata(place.at("s/file")).unwrap().gid(), 0);
    assert_eq!(
        std::fs::metadata(place.at("s/dir")).unwrap().mode() & 0o7777,
        0o755
    );
    assert_eq!(std::fs::metadata(place.at("s/dir")).unwrap().gid(), 0);
}

#[test]
fn owners_are_mapped() {
    if !root() {
        return;
    }
    let map = coracle_archive::IdMap {
        uids: vec![coracle_archive::IdRange {
            inside: 0,
            outside: 100_000,
            len: 65_536,
        }],
        gids: vec![coracle_archive::IdRange {
            inside: 0,
            outside: 200_000,
            len: 65_536,
        }],
    };
    let opts = coracle_archive::ApplyOptions {
        owners: Owners::Mapped(map),
        ..options()
    };
    let place = Place::new();
    let tar = Tar::default()
        .raw(Raw::new("in/file", b'0').owner(7, 8).data("x"))
        .end();
    apply_layer(&tar[..], &place.root(), &opts).unwrap();
    let meta = std::fs::metadata(place.at("in/file")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (100_007, 200_008));
    let meta = std::fs::metadata(place.at("in")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (100_000, 200_000));
    let tar = Tar::default()
        .raw(Raw::new("file", b'0').owner(70_000, 0))
        .end();
    let error = apply_layer(&tar[..], &place.root(), &opts).unwrap_err();
    assert!(matches!(
        error,
        coracle_archive::Error::UnmappedId { id: 70_000, .. }
    ));
}

#[test]
fn sync_and_limits_are_honoured() {
    if !root() {
        return;
    }
    let place = Place::new();
    let tar = Tar::default().file("a", "1").file("b", "2").end();
    let opts = coracle_archive::ApplyOptions {
        sync: true,
        ..options()
    };
    assert_eq!(
        apply_layer(&tar[..], &place.root(), &opts).unwrap().bytes,
        2
    );
    let opts = coracle_archive::ApplyOptions {
        limits: Limits {
            max_entries: 1,
            ..Limits::default()
        },
        ..options()
    };
    let error = apply_layer(&tar[..], &place.root(), &opts).unwrap_err();
    assert_eq!(error.to_string(), "the archive has more than 1 entries");
}

/// A tree of this machine, packed by GNU tar, looks as if GNU tar had unpacked it.
#[test]
fn real_trees_look_as_gnu_tar_unpacks_them() {
    let source = std::path::Path::new("/usr/include/linux/netfilter");
    if !root() || !source.is_dir() {
        println!("skipped: needs /usr/include/linux/netfilter");
        return;
    }
    let (ours, theirs) = (Place::new(), Place::new());
    let packed = std::process::Command::new("tar")
        .args(["--format=pax", "-cC"])
        .arg(source)
        .arg(".")
        .output();
    let Ok(packed) = packed else {
        println!("skipped: needs tar");
        return;
    };
    let tar = theirs.dir.path().join("outside/t.tar");
    std::fs::write(&tar, &packed.stdout).unwrap();
    let status = std::process::Command::new("tar")
        .args(["--numeric-owner", "-xpf"])
        .arg(&tar)
        .arg("-C")
        .arg(theirs.root())
        .status()
        .unwrap();
    assert!(status.success());
    let applied = ours.apply(&packed.stdout).unwrap();
    assert!(applied.pending.is_empty());
    let (ours, theirs) = (picture(&ours.root()), picture(&theirs.root()));
    assert_eq!(ours.len() as u64, applied.entries);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}
