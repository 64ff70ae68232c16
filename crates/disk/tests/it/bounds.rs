//! What is refused, and leaves nothing.

use std::fs::File;
use std::io::{self, Read};

use coracle_archive::{Entry, Kind, Limits};
use coracle_disk::{ErofsOptions, Error, write_erofs};

use crate::common::{Tar, entry, image, image_with, must_equal};

fn refused(tars: &[Vec<u8>], options: &ErofsOptions) -> Error {
    let dir = tempfile::tempdir().unwrap();
    image_with(tars, &dir.path().join("image"), options).unwrap_err()
}

#[test]
fn what_unpacking_refuses() {
    for tar in [
        Tar::new().file("../x", b""),
        Tar::new().link("x", "/etc/passwd", Kind::HardLink),
        Tar::new().dir("d").link("x", "d", Kind::HardLink),
        Tar::new().link("x", "x", Kind::HardLink),
        Tar::new().file("f", b"").file("f/x", b""),
        Tar::new()
            .link("a", "b", Kind::Symlink)
            .link("b", "a", Kind::Symlink)
            .file("a/x", b""),
        Tar::new().file("a/.wh...", b""),
        Tar::new().file("d/x", b"").link("d", "d/x", Kind::HardLink),
    ] {
        must_equal(&[tar.end()]);
    }
    let mut cut = Tar::new().file("x", &[1; 5000]).end();
    cut.truncate(3000);
    must_equal(&[cut]);
    let below = Tar::new().dir("d").file("f", b"").end();
    for tar in [
        Tar::new().link("x", "d", Kind::HardLink),
        Tar::new().link("x", "nothing", Kind::HardLink),
        Tar::new().file(".wh.f", b"").link("x", "f", Kind::HardLink),
    ] {
        must_equal(&[below.clone(), tar.end()]);
    }
}

#[test]
fn bounds_hold() {
    let tar = Tar::new().file("a", &[1; 50_000]).file("b", b"").end();
    let limits = Limits {
        max_entries: 1,
        ..Limits::default()
    };
    let options = ErofsOptions {
        limits,
        ..ErofsOptions::default()
    };
    let error = refused(std::slice::from_ref(&tar), &options);
    assert!(matches!(
        error,
        Error::Archive(coracle_archive::Error::LimitExceeded { .. })
    ));
    let options = ErofsOptions {
        max_bytes: 20_000,
        ..ErofsOptions::default()
    };
    let error = refused(std::slice::from_ref(&tar), &options);
    assert!(matches!(error, Error::TooLarge { max: 20_000 }));
    let options = ErofsOptions {
        max_memory: 300,
        ..ErofsOptions::default()
    };
    let error = refused(&[tar], &options);
    assert!(matches!(error, Error::TooMuchMetadata { max: 300 }));
}

#[test]
fn what_the_format_or_linux_cannot_hold() {
    let options = ErofsOptions::default();
    let device = Entry {
        device: (4096, 0),
        ..entry("d", Kind::CharDevice, 0o600)
    };
    let error = refused(&[Tar::new().entry(device, b"").end()], &options);
    assert!(matches!(error, Error::Device { major: 4096, .. }));
    let error = refused(&[Tar::new().file(&"n".repeat(256), b"").end()], &options);
    assert!(matches!(
        error,
        Error::Archive(coracle_archive::Error::InvalidName { .. })
    ));
    let long = Entry {
        xattrs: vec![(b"user.x".to_vec(), vec![0; 65_536])],
        ..entry("f", Kind::File, 0o600)
    };
    let error = refused(&[Tar::new().entry(long, b"").end()], &options);
    assert!(matches!(error, Error::Attribute { .. }));
}

#[test]
fn directories_without_end() {
    // Every link's path is short, and leads deeper.
    let mut tar = Tar::new();
    let deep = "d/".repeat(100);
    for n in 0..30 {
        let below = if n == 0 {
            String::new()
        } else {
            format!("l{}/", n - 1)
        };
        tar = tar.file(&format!("{below}{deep}x"), b"").link(
            &format!("l{n}"),
            &format!("{below}{deep}"),
            Kind::Symlink,
        );
    }
    let error = refused(&[tar.end()], &ErofsOptions::default());
    assert!(matches!(error, Error::TooDeep { .. }), "{error}");
}

#[test]
fn a_stream_that_fails_ends_it() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("cancelled"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("image")).unwrap();
    let tar = Tar::new().file("x", b"x").end();
    // The error comes behind the archive's end, as a wrong digest's would.
    let mut open =
        |_: usize| Ok(Box::new(io::Cursor::new(tar.clone()).chain(Fails)) as Box<dyn Read>);
    let error = write_erofs(&file, 1, &mut open, &ErofsOptions::default()).unwrap_err();
    assert!(matches!(
        error,
        Error::Archive(coracle_archive::Error::Read(_))
    ));
    assert_eq!(file.metadata().unwrap().len(), 0);
    let mut open = |_: usize| Err(io::ErrorKind::NotFound.into());
    let error = write_erofs(&file, 1, &mut open, &ErofsOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Open { layer: 0, .. }));
}

#[test]
fn what_is_hidden_takes_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let size = |tars: &[Vec<u8>]| image(tars, &dir.path().join("image")).unwrap().bytes;
    let below = Tar::new().file("d/big", &vec![1; 1 << 20]).end();
    let above = Tar::new().file("d/.wh.big", b"").end();
    assert!(size(&[below.clone(), above]) < 100 << 10);
    let above = Tar::new().file("d/.wh..wh..opq", b"").end();
    assert!(size(&[below.clone(), above]) < 100 << 10);
    let above = Tar::new().file("d", b"").end();
    assert!(size(&[below.clone(), above]) < 100 << 10);
    assert!(size(&[below]) > 1 << 20);
}
