//! Layers in memory, and images of them.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use coracle_archive::{Entry, Kind, TarWriter, Time};
use coracle_disk::{ErofsOptions, Error, ImageInfo, write_erofs};

use crate::mounts::{Mounted, root, run};
use crate::scan::{How, same, scan};

pub(crate) const TIME: Time = Time {
    secs: 1_000_000_000,
    nanos: 123_456_789,
};

/// A layer that is being written.
pub(crate) struct Tar(TarWriter<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar(TarWriter::new(Vec::new()))
    }

    pub(crate) fn entry(mut self, entry: Entry, data: &[u8]) -> Tar {
        self.0
            .entry(&Entry {
                size: data.len() as u64,
                ..entry
            })
            .unwrap();
        self.0.data(data).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, data: &[u8]) -> Tar {
        self.entry(entry(path, Kind::File, 0o644), data)
    }

    pub(crate) fn dir(self, path: &str) -> Tar {
        self.entry(entry(path, Kind::Directory, 0o755), b"")
    }

    pub(crate) fn link(self, path: &str, target: &str, kind: Kind) -> Tar {
        let link = target.into();
        self.entry(
            Entry {
                link,
                ..entry(path, kind, 0o644)
            },
            b"",
        )
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }
}

pub(crate) fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode,
        mtime: TIME,
        ..Entry::default()
    }
}

pub(crate) fn image(tars: &[Vec<u8>], to: &Path) -> Result<ImageInfo, Error> {
    image_with(tars, to, &ErofsOptions::default())
}

pub(crate) fn image_with(
    tars: &[Vec<u8>],
    to: &Path,
    options: &ErofsOptions,
) -> Result<ImageInfo, Error> {
    let file = File::create(to).unwrap();
    let mut open = |layer: usize| Ok(Box::new(&tars[layer][..]) as Box<dyn Read>);
    let written = write_erofs(&file, tars.len(), &mut open, options);
    let len = file.metadata().unwrap().len();
    match &written {
        Ok(info) => assert_eq!(len, info.bytes),
        Err(_) => assert_eq!(len, 0),
    }
    written
}

/// Whether the file system's own tool finds nothing wrong.
pub(crate) fn check(image: &Path) -> Result<(), String> {
    let (good, text) = run("fsck.erofs", &["--extract", image.to_str().unwrap()]);
    if good { Ok(()) } else { Err(text) }
}

/// The image of these layers is what unpacking them gives; errors are the same ones too.
pub(crate) fn compare(tars: &[Vec<u8>]) -> Result<(), String> {
    if !root() {
        return Ok(());
    }
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    let path = dir.path().join("image");
    let written = image(tars, &path);
    let unpacked = Mounted::layers(&dir.path().join("snapshots"), tars);
    let (unpacked, info) = match (unpacked, written) {
        (Err(coracle_snapshot::Error::Archive(expected)), Err(Error::Archive(found))) => {
            // Of several layers with errors one is met first, and not the same one.
            let same = tars.len() > 1
                || std::mem::discriminant(&expected) == std::mem::discriminant(&found);
            return if same {
                Ok(())
            } else {
                Err(format!("unpacking says {expected}, writing {found}"))
            };
        }
        (Err(expected), Err(found)) => {
            return Err(format!("unpacking says {expected}, writing {found}"));
        }
        (Err(expected), Ok(_)) => {
            return Err(format!("was written, but unpacking says {expected}"));
        }
        (Ok(_), Err(found)) => return Err(format!("was unpacked, but writing says {found}")),
        (Ok(unpacked), Ok(info)) => (unpacked, info),
    };
    check(&path)?;
    let mounted = Mounted::image(&path, "erofs", false);
    let expected = scan(
        &unpacked.path(),
        How {
            links: false,
            not_before: now - 10,
        },
    );
    let found = scan(
        &mounted.path(),
        How {
            links: true,
            not_before: i64::MAX,
        },
    );
    same(&expected, &found)?;
    let root = std::fs::metadata(mounted.path()).unwrap();
    let names = found.len() as u64;
    if info.inodes > names + 1 || std::os::unix::fs::MetadataExt::nlink(&root) < 2 {
        return Err("the counts are wrong".into());
    }
    // Again, to the same bytes.
    let again = dir.path().join("again");
    image(tars, &again).unwrap();
    if std::fs::read(&path).unwrap() != std::fs::read(&again).unwrap() {
        return Err("the bytes differ from one time to the next".into());
    }
    Ok(())
}

/// The same, where that must hold.
pub(crate) fn must_equal(tars: &[Vec<u8>]) {
    if let Err(text) = compare(tars) {
        panic!("{text}");
    }
}
