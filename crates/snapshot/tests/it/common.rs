//! Layers in memory, and snapshots in a temporary directory.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use coracle_archive::{Entry, Kind, TarWriter, Time};
use coracle_oci::Digest;
use coracle_snapshot::{ContainerFs, Options, Snapshots, mount_detached};

/// False, with a word about it, where the caller isn't root.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

pub(crate) const TIME: Time = Time {
    secs: 1_000_000_000,
    nanos: 0,
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
                mtime: TIME,
                size: data.len() as u64,
                ..entry
            })
            .unwrap();
        self.0.data(data).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, data: &str) -> Tar {
        let entry = Entry {
            path: path.into(),
            mode: 0o644,
            ..Entry::default()
        };
        self.entry(entry, data.as_bytes())
    }

    pub(crate) fn dir(self, path: &str) -> Tar {
        let kind = Kind::Directory;
        self.entry(
            Entry {
                path: path.into(),
                mode: 0o755,
                kind,
                ..Entry::default()
            },
            b"",
        )
    }

    pub(crate) fn link(self, path: &str, target: &str, kind: Kind) -> Tar {
        let link = target.into();
        self.entry(
            Entry {
                path: path.into(),
                link,
                kind,
                mode: 0o644,
                ..Entry::default()
            },
            b"",
        )
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// An image: its layers bottom first, with their chain ids.
pub(crate) struct Image {
    pub(crate) tars: Vec<Vec<u8>>,
    pub(crate) diffs: Vec<Digest>,
    pub(crate) chain: Vec<Digest>,
}

impl Image {
    pub(crate) fn new(tars: Vec<Vec<u8>>) -> Image {
        let diffs: Vec<Digest> = tars.iter().map(|tar| Digest::sha256(tar)).collect();
        let chain = coracle_oci::chain_ids(&diffs);
        Image { tars, diffs, chain }
    }

    pub(crate) fn parent(&self, n: usize) -> Option<&Digest> {
        n.checked_sub(1).map(|n| &self.chain[n])
    }

    pub(crate) fn prepare_one(&self, snapshots: &Snapshots, n: usize) {
        let (chain, diff) = (&self.chain[n], &self.diffs[n]);
        snapshots
            .prepare_layer(chain, self.parent(n), diff, &self.tars[n][..])
            .unwrap();
    }

    pub(crate) fn prepare(&self, snapshots: &Snapshots) {
        for n in 0..self.tars.len() {
            self.prepare_one(snapshots, n);
        }
    }
}

/// Snapshots that finish their background work before their directory goes.
pub(crate) struct Quiet(Snapshots);

impl std::ops::Deref for Quiet {
    type Target = Snapshots;
    fn deref(&self) -> &Snapshots {
        &self.0
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.0.wait_idle();
    }
}

/// Snapshots in a directory of their own.
pub(crate) struct Place {
    pub(crate) snapshots: Quiet,
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(&dir.path().join("s"), Options::default()).unwrap();
        Place {
            dir,
            snapshots: Quiet(snapshots),
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Closes and opens it again, as a restarted daemon does.
    pub(crate) fn reopen(self) -> Place {
        let Place { dir, snapshots } = self;
        drop(snapshots);
        let snapshots = Snapshots::open(&dir.path().join("s"), Options::default()).unwrap();
        Place {
            dir,
            snapshots: Quiet(snapshots),
        }
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        std::fs::read_dir(self.root().join(name)).unwrap().count()
    }
}

/// A mounted container, writable.
pub(crate) fn mounted(fs: &ContainerFs) -> Mounted {
    Mounted(mount_detached(fs, false).unwrap())
}

pub(crate) struct Mounted(pub(crate) OwnedFd);

impl Mounted {
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(path)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }

    pub(crate) fn write(&self, path: &str, data: &str) {
        std::fs::write(self.at(path), data).unwrap();
    }
}

/// Whether anything of this process is attached to its mount namespace that has the text in it.
pub(crate) fn attached(text: &str) -> bool {
    std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .contains(text)
}
