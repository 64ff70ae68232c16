//! Trees as archives, read back by ourselves and by GNU tar.

use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::process::Command;

use coracle_archive::{
    Entry, Kind, Limits, OverlayAttrs, TarReader, TarWriter, Time, WriteOptions, apply_layer,
    write_tree,
};
use proptest::prelude::*;

use crate::common::{Place, Raw, Tar, options, root};

fn dump(place: &Place, start: &str, opts: &WriteOptions) -> Vec<u8> {
    let root = std::fs::File::open(place.root()).unwrap();
    let mut out = TarWriter::new(Vec::new());
    write_tree(root.as_fd(), start.as_bytes(), &mut out, opts).unwrap();
    out.finish().unwrap()
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(tar, Limits::default());
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

/// What a tree looks like, for comparing two of them.
pub(crate) fn picture(root: &std::path::Path) -> Vec<String> {
    let dir = std::fs::File::open(root).unwrap();
    let mut walker = coracle_archive::Walker::new(dir.as_fd());
    let mut lines = Vec::new();
    let mut inodes = std::collections::HashMap::new();
    while let Some(step) = walker.next_step().unwrap() {
        let s = &step.stat;
        let path = root.join(std::str::from_utf8(&step.path).unwrap());
        let link = std::fs::read_link(&path).unwrap_or_default();
        let data = if step.file_type().is_file() {
            std::fs::read(&path).unwrap()
        } else {
            vec![]
        };
        let count = inodes.len();
        let inode = *inodes.entry(s.stx_ino).or_insert(count);
        lines.push(format!(
            "{:?} {:o} {} {} {} {}.{} {},{} #{inode} {link:?} {}",
            String::from_utf8_lossy(&step.path),
            s.stx_mode,
            s.stx_uid,
            s.stx_gid,
            if step.file_type().is_dir() {
                0
            } else {
                s.stx_nlink
            },
            s.stx_mtime.tv_sec,
            s.stx_mtime.tv_nsec,
            s.stx_rdev_major,
            s.stx_rdev_minor,
            data.len(),
        ));
    }
    lines
}

#[test]
fn a_layer_survives_the_round_trip() {
    if !root() {
        return;
    }
    let place = Place::new();
    let mut device = Raw::new("dev/null", b'3').mode(0o666);
    device.device = (1, 3);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .raw(Raw::new("a/", b'5').mode(0o1777).owner(9, 9))
        .raw(
            Raw::new("a/suid", b'0')
                .mode(0o4711)
                .owner(70_000, 3_000_000)
                .data("x".repeat(1000)),
        )
        .hardlink("b-link", "a/suid")
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.n", b"v\n"),
        ])
        .file("cap", "x")
        .raw(device)
        .raw(Raw::new("pipe", b'6'))
        .symlink("sym", &"s".repeat(99))
        .pax(&[("path", "long/".repeat(60).as_bytes())])
        .raw(Raw::new("x", b'5'))
        .pax(&[
            (
                "path",
                [&b"p/".repeat(80)[..], &[b'n'; 200]].concat().as_slice(),
            ),
            ("mtime", b"77.5"),
        ])
        .file("x", "deep")
        .file("whited/.wh.gone", "")
        .dir("opq")
        .file("opq/.wh..wh..opq", "")
        .file("opq/new", "x")
        .end();
    place.apply(&tar).unwrap();
    let opts = WriteOptions {
        nanoseconds: true,
        layer: Some(OverlayAttrs::Trusted),
        ..WriteOptions::default()
    };
    let out = dump(&place, "", &opts);
    assert_eq!(out, dump(&place, "", &opts), "not deterministic");
    let second = Place::new();
    apply_layer(&out[..], &second.root(), &options()).unwrap();
    let (mut before, mut after) = (picture(&place.root()), picture(&second.root()));
    // The root has no entry, and whiteouts no time.
    for picture in [&mut before, &mut after] {
        picture.remove(0);
        picture.retain(|line| !line.contains("gone"));
    }
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
    let names = names(&out);
    assert!(names.contains(&"whited/.wh.gone".to_owned()));
    assert!(names.contains(&"opq/.wh..wh..opq".to_owned()));
    let opaque = rustix::fs::getxattr(second.at("opq"), "trusted.overlay.opaque", &mut [0; 9][..]);
    assert_eq!(opaque, Ok(1));
}

#[test]
fn gnu_tar_reads_it() {
    let place = Place::new();
    std::fs::create_dir_all(place.at("d").join("e".repeat(200)).join("f".repeat(200))).unwrap();
    std::fs::write(place.at("d").join("e".repeat(200)).join("file"), "contents").unwrap();
    std::fs::write(place.at("empty"), "").unwrap();
    symlink("x".repeat(300), place.at("link")).unwrap();
    let tar = dump(
        &place,
        "",
        &WriteOptions {
            nanoseconds: true,
            ..WriteOptions::default()
        },
    );
    let out = Place::new();
    std::fs::write(out.dir.path().join("outside/t.tar"), &tar).unwrap();
    let status = Command::new("tar")
        .arg("-xf")
        .arg(out.dir.path().join("outside/t.tar"))
        .arg("-C")
        .arg(out.root())
        .status();
    let Ok(status) = status else {
        println!("skipped: needs tar");
        return;
    };
    assert!(status.success());
    let (mut before, mut after) = (picture(&place.root()), picture(&out.root()));
    before.remove(0);
    after.remove(0);
    assert_eq!(before, after);
}

#[test]
fn names_and_starts() {
    let place = Place::new();
    std::fs::create_dir_all(place.at("a/b")).unwrap();
    std::fs::write(place.at("a/b/c"), "x").unwrap();
    std::fs::write(place.at("a/b.txt"), "x").unwrap();
    symlink("a", place.at("link")).unwrap();
    let named = |start: &str, rename: &str| {
        let opts = WriteOptions {
            rename: rename.into(),
            ..WriteOptions::default()
        };
        names(&dump(&place, start, &opts))
    };
    assert_eq!(named("", ""), ["a/", "a/b/", "a/b/c", "a/b.txt", "link"]);
    assert_eq!(named("a", "x"), ["x/", "x/b/", "x/b/c", "x/b.txt"]);
    assert_eq!(named("a", "."), ["./", "./b/", "./b/c", "./b.txt"]);
    assert_eq!(
        named("", "/"),
        ["/", "/a/", "/a/b/", "/a/b/c", "/a/b.txt", "/link"]
    );
    assert_eq!(named("link", "l"), ["l"]);
    assert_eq!(named("link/", "l"), ["l/", "l/b/", "l/b/c", "l/b.txt"]);
    assert_eq!(named("a/b/c", ""), ["c"]);
    assert_eq!(named("link/b/c", "renamed"), ["renamed"]);
    let root = std::fs::File::open(place.root()).unwrap();
    let mut out = TarWriter::new(Vec::new());
    let missing = write_tree(root.as_fd(), b"nope", &mut out, &WriteOptions::default());
    assert!(matches!(
        missing,
        Err(coracle_archive::Error::NotFound { .. })
    ));
}

#[test]
fn sockets_are_left_out_and_holes_are_zeros() {
    let place = Place::new();
    let _socket = std::os::unix::net::UnixListener::bind(place.at("socket")).unwrap();
    let file = std::fs::File::create(place.at("sparse")).unwrap();
    file.set_len(3 << 20).unwrap();
    file.write_all_at(b"middle", 1 << 20).unwrap();
    file.write_all_at(b"end", (3 << 20) - 3).unwrap();
    let tar = dump(&place, "", &WriteOptions::default());
    assert_eq!(names(&tar), ["sparse"]);
    assert_eq!(tar.len(), (3 << 20) + 512 + 1024);
    let contents = &tar[512..512 + (3 << 20)];
    assert_eq!(contents, std::fs::read(place.at("sparse")).unwrap());
    assert!(contents.ends_with(b"end") && contents[1 << 20..].starts_with(b"middle"));
}

#[test]
fn hard_links_outside_the_start_are_files() {
    let place = Place::new();
    std::fs::create_dir_all(place.at("a")).unwrap();
    std::fs::write(place.at("outer"), "x").unwrap();
    std::fs::hard_link(place.at("outer"), place.at("a/one")).unwrap();
    std::fs::hard_link(place.at("outer"), place.at("a/two")).unwrap();
    let tar = dump(&place, "a", &WriteOptions::default());
    let mut reader = TarReader::new(&tar[..], Limits::default());
    let one = reader.next_entry().unwrap().unwrap();
    assert_eq!((one.kind, one.size), (Kind::File, 1));
    let two = reader.next_entry().unwrap().unwrap();
    assert_eq!((two.kind, &two.link[..]), (Kind::HardLink, &b"one"[..]));
    assert_eq!(std::fs::metadata(place.at("outer")).unwrap().nlink(), 3);
}

#[test]
fn short_and_long_contents_are_made_to_fit() {
    let mut out = TarWriter::new(Vec::new());
    let entry = |path: &str| Entry {
        path: path.into(),
        size: 10,
        mode: 0o644,
        ..Entry::default()
    };
    out.entry(&entry("short")).unwrap();
    out.data(b"abc").unwrap();
    out.entry(&entry("long")).unwrap();
    out.data(b"0123456789abcdef").unwrap();
    let tar = out.finish().unwrap();
    let mut reader = TarReader::new(&tar[..], Limits::default());
    reader.next_entry().unwrap();
    assert_eq!(reader.chunk().unwrap(), b"abc\0\0\0\0\0\0\0");
    reader.next_entry().unwrap();
    assert_eq!(reader.chunk().unwrap(), b"0123456789");
    assert_eq!(reader.next_entry().unwrap(), None);
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let name = prop::collection::vec(prop::collection::vec(b'a'..=b'f', 1..130), 1..5);
    let kind = prop::sample::select(vec![
        Kind::File,
        Kind::HardLink,
        Kind::Symlink,
        Kind::CharDevice,
        Kind::Directory,
        Kind::Fifo,
    ]);
    let xattrs = prop::collection::btree_map(
        "[a-z.]{1,9}",
        prop::collection::vec(any::<u8>(), 0..50),
        0..3,
    );
    (
        name,
        kind,
        0u32..0o10000,
        0..u32::MAX,
        0..u32::MAX,
        -(1i64 << 40)..1 << 40,
        0u32..1_000_000_000,
        0u64..100,
        xattrs,
    )
        .prop_map(
            |(name, kind, mode, uid, gid, secs, nanos, size, xattrs)| Entry {
                path: name.join(&b'/'),
                link: if matches!(kind, Kind::HardLink | Kind::Symlink) {
                    name.concat()
                } else {
                    vec![]
                },
                kind,
                mode,
                uid,
                gid,
                size: if kind == Kind::File { size } else { 0 },
                mtime: Time { secs, nanos },
                device: if kind == Kind::CharDevice {
                    (uid & 0xfff, gid & 0xfffff)
                } else {
                    (0, 0)
                },
                xattrs: xattrs
                    .into_iter()
                    .map(|(k, v)| (k.into_bytes(), v))
                    .collect(),
                sparse: None,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_survive_the_round_trip(entries in prop::collection::vec(any_entry(), 1..6)) {
        let mut out = TarWriter::new(Vec::new());
        for entry in &entries {
            out.entry(entry).unwrap();
        }
        let tar = out.finish().unwrap();
        let mut reader = TarReader::new(&tar[..], Limits::default());
        for entry in &entries {
            let mut found = reader.next_entry().unwrap().unwrap();
            if found.kind == Kind::Directory {
                found.path.pop();
            }
            prop_assert_eq!(&found, entry);
        }
        prop_assert_eq!(reader.next_entry().unwrap(), None);
    }
}

#[test]
fn other_mounts_are_shown_empty() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    if !root() || !mounts.contains(" /dev/pts ") || !mounts.contains(" /dev/shm ") {
        println!("skipped: needs /dev/pts and /dev/shm");
        return;
    }
    let dev = std::fs::File::open("/dev").unwrap();
    let listed = |one_mount| {
        let opts = WriteOptions {
            one_mount,
            ..WriteOptions::default()
        };
        let mut out = TarWriter::new(Vec::new());
        write_tree(dev.as_fd(), b"", &mut out, &opts).unwrap();
        names(&out.finish().unwrap())
    };
    let names = listed(true);
    assert!(names.contains(&"pts/".to_owned()) && names.contains(&"shm/".to_owned()));
    assert!(!names.contains(&"pts/ptmx".to_owned()), "{names:?}");
}
