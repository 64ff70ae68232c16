//! The reader against the `tar` crate's writer, GNU tar's and other dialects.

use std::io::Read;
use std::process::Command;

use coracle_archive::{Kind, Limits, TarReader, Time};

use crate::common::{Raw, Tar, seal};

fn reader(tar: &[u8]) -> TarReader<&[u8]> {
    TarReader::new(tar, Limits::default())
}

#[test]
fn archives_of_the_tar_crate() {
    let mut builder = tar::Builder::new(Vec::new());
    let long = format!("{}/file", "directory/".repeat(40));
    for (name, data) in [("short", "1"), (&long, "22"), ("empty", "")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o640);
        header.set_uid(3_000_000_000);
        header.set_mtime(1 << 36);
        builder
            .append_data(&mut header, name, data.as_bytes())
            .unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    let mut reader = reader(&bytes);
    for (name, data) in [("short", "1"), (&long, "22"), ("empty", "")] {
        let entry = reader.next_entry().unwrap().unwrap();
        assert_eq!(entry.path, name.as_bytes());
        assert_eq!((entry.uid, entry.mtime.secs), (3_000_000_000, 1 << 36));
        let mut found = String::new();
        reader.read_to_string(&mut found).unwrap();
        assert_eq!(found, data);
    }
    assert_eq!(reader.next_entry().unwrap(), None);
    assert_eq!(reader.next_entry().unwrap(), None);
}

#[test]
fn every_format_of_gnu_tar() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir
        .path()
        .join("d".repeat(90))
        .join("e".repeat(90))
        .join("f".repeat(90));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("file"), "contents").unwrap();
    std::os::unix::fs::symlink("t".repeat(150), dir.path().join("link")).unwrap();
    for format in ["gnu", "oldgnu", "pax", "posix", "ustar", "v7"] {
        let mut command = Command::new("tar");
        command
            .arg("-c")
            .arg(format!("--format={format}"))
            .arg("-C")
            .arg(dir.path());
        if matches!(format, "ustar" | "v7") {
            // These can't hold the long names.
            std::fs::write(dir.path().join("plain"), "contents").unwrap();
            command.arg("plain");
        } else {
            command.arg(".");
        }
        let Ok(output) = command.output() else {
            println!("skipped: needs tar");
            return;
        };
        assert!(output.status.success(), "{format}");
        let mut reader = reader(&output.stdout);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            if entry.kind == Kind::File {
                let mut found = String::new();
                reader.read_to_string(&mut found).unwrap();
                assert_eq!(found, "contents", "{format}");
            }
            if entry.kind == Kind::Symlink {
                assert_eq!(entry.link.len(), 150, "{format}");
            }
            names.push(entry.path.len());
        }
        assert!(
            names.contains(&(2 + 3 * 91 + 4)) || names == [5],
            "{format}: {names:?}"
        );
    }
}

#[test]
fn ustar_prefixes_and_old_directories() {
    let mut block = Raw::new("name", b'0').block();
    block[345..351].copy_from_slice(b"prefix");
    seal(&mut block);
    let mut gnu = Raw {
        gnu: true,
        ..Raw::new("name", b'0')
    }
    .block();
    gnu[345..351].copy_from_slice(b"000000");
    seal(&mut gnu);
    let mut v7 = Raw::new("dir/", 0).block();
    v7[257..].fill(0);
    seal(&mut v7);
    let tar = Tar([block, gnu, v7].concat()).end();
    let mut reader = reader(&tar);
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"prefix/name");
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"name");
    let dir = reader.next_entry().unwrap().unwrap();
    assert_eq!((dir.kind, &dir.path[..]), (Kind::Directory, &b"dir/"[..]));
}

#[test]
fn extensions_override_and_globals_dont() {
    let tar = Tar::default()
        .raw(Raw::new("g", b'g').data("15 path=global\n"))
        .file("plain", "x")
        .pax(&[
            ("path", b"renamed"),
            ("uid", b"4000000000"),
            ("gid", b"7"),
            ("mtime", b"-1.25"),
            ("comment", b"nobody reads this"),
            ("SCHILY.xattr.user.b", b"2"),
            ("SCHILY.xattr.user.a", b"="),
        ])
        .file("x", "y")
        .raw(Raw::new("././@LongLink", b'K').data("long target\0"))
        .symlink("s", "short")
        .file("after", "")
        .end();
    let mut reader = reader(&tar);
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"plain");
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!(entry.path, b"renamed");
    assert_eq!((entry.uid, entry.gid), (4_000_000_000, 7));
    assert_eq!(
        entry.mtime,
        Time {
            secs: -2,
            nanos: 750_000_000
        }
    );
    assert_eq!(entry.xattrs.len(), 2);
    assert_eq!(entry.xattrs[0], (b"user.a".to_vec(), b"=".to_vec()));
    assert_eq!(reader.next_entry().unwrap().unwrap().link, b"long target");
    let after = reader.next_entry().unwrap().unwrap();
    assert!(after.xattrs.is_empty() && after.path == b"after");
    assert_eq!(reader.next_entry().unwrap(), None);
}

/// Contents of all sizes around the buffer's, skipped or read, in small and large pieces.
#[test]
fn contents_across_the_buffer() {
    let sizes = [
        0, 1, 511, 512, 513, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 700_000,
    ];
    let mut tar = Tar::default();
    for (i, size) in sizes.iter().enumerate() {
        let data: Vec<u8> = (0..*size).map(|n| (n % 251) as u8).collect();
        tar = tar.raw(Raw::new(format!("f{i}"), b'0').data(data));
    }
    let tar = tar.end();
    /// A source that gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);
    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let n = buf.len().min(self.0.len()).min(self.1);
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }
    for step in [7, 512, 1000, 100_000, usize::MAX] {
        for read_all in [true, false] {
            let mut reader = TarReader::new(Slow(&tar, step), Limits::default());
            for (i, size) in sizes.iter().enumerate() {
                let entry = reader.next_entry().unwrap().unwrap();
                assert_eq!(entry.path, format!("f{i}").as_bytes());
                assert_eq!(entry.size, *size as u64);
                let mut seen = 0usize;
                loop {
                    if !read_all && i % 2 == 1 {
                        break;
                    }
                    let chunk = reader.chunk().unwrap();
                    if chunk.is_empty() {
                        break;
                    }
                    assert!(
                        chunk
                            .iter()
                            .enumerate()
                            .all(|(n, b)| *b == ((seen + n) % 251) as u8)
                    );
                    seen += chunk.len();
                }
                assert!(seen == *size || !read_all);
            }
            assert_eq!(reader.next_entry().unwrap(), None);
        }
    }
}
