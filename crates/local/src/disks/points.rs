//! The mount points that every container needs, as the topmost layer of its image's disk: what is
//! mounted there is no change of the container's. The same as an unpacked image has (`snapshot`).

use coracle_archive::{Entry, Kind, TarWriter};

/// Empty files; they hide whatever the image has there.
const FILES: [&str; 5] = [
    ".dockerenv",
    "dev/console",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];
/// Directories; they join the image's.
const DIRECTORIES: [&str; 4] = ["dev/pts", "dev/shm", "proc", "sys"];
const LINK: (&str, &str) = ("etc/mtab", "/proc/mounts");

/// The layer's tar.
pub(crate) fn tar() -> coracle_archive::Result<Vec<u8>> {
    let mut tar = TarWriter::new(Vec::new());
    let entry = |path: &str, kind| Entry {
        path: path.as_bytes().to_vec(),
        link: Vec::new(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: Default::default(),
        device: (0, 0),
        xattrs: Vec::new(),
        sparse: None,
    };
    for path in DIRECTORIES {
        tar.entry(&entry(path, Kind::Directory))?;
    }
    for path in FILES {
        tar.entry(&entry(path, Kind::File))?;
    }
    let link = Entry {
        link: LINK.1.as_bytes().to_vec(),
        mode: 0o777,
        ..entry(LINK.0, Kind::Symlink)
    };
    tar.entry(&link)?;
    tar.finish()
}
