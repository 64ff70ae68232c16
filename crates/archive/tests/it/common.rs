//! Makes archives, also such as no tool would make, and directories to unpack them in.

use std::path::{Path, PathBuf};

use coracle_archive::{Applied, ApplyOptions, Error, apply_layer};

/// A raw header, every field as the caller wants it.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: u64,
    pub(crate) device: (u32, u32),
    /// Overrides the size of the data.
    pub(crate) size: Option<Vec<u8>>,
    pub(crate) data: Vec<u8>,
    pub(crate) gnu: bool,
}

impl Raw {
    pub(crate) fn new(name: impl AsRef<[u8]>, kind: u8) -> Raw {
        Raw {
            name: name.as_ref().to_vec(),
            link: Vec::new(),
            kind,
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: 1_000_000_000,
            device: (0, 0),
            size: None,
            data: Vec::new(),
            gnu: false,
        }
    }

    pub(crate) fn link(mut self, link: impl AsRef<[u8]>) -> Raw {
        self.link = link.as_ref().to_vec();
        self
    }

    pub(crate) fn mode(mut self, mode: u32) -> Raw {
        self.mode = mode;
        self
    }

    pub(crate) fn owner(mut self, uid: u32, gid: u32) -> Raw {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub(crate) fn data(mut self, data: impl AsRef<[u8]>) -> Raw {
        self.data = data.as_ref().to_vec();
        self
    }

    pub(crate) fn block(&self) -> [u8; 512] {
        let mut b = [0u8; 512];
        let mut put = |at: usize, value: &[u8]| b[at..at + value.len()].copy_from_slice(value);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, format!("{:07o}\0", self.uid).as_bytes());
        put(116, format!("{:07o}\0", self.gid).as_bytes());
        match &self.size {
            Some(size) => put(124, size),
            None => put(124, format!("{:011o}\0", self.data.len()).as_bytes()),
        }
        put(136, format!("{:011o}\0", self.mtime).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(
            257,
            if self.gnu {
                b"ustar  \0"
            } else {
                b"ustar\x0000"
            },
        );
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        seal(&mut b);
        b
    }
}

/// Computes a header's checksum.
pub(crate) fn seal(b: &mut [u8; 512]) {
    b[148..156].copy_from_slice(b"        ");
    let sum: u32 = b.iter().map(|b| u32::from(*b)).sum();
    b[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// An archive in the making.
#[derive(Default, Clone)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn raw(mut self, raw: Raw) -> Tar {
        self.0.extend(raw.block());
        self.bytes(&raw.data)
    }

    /// Contents with their padding.
    pub(crate) fn bytes(mut self, data: &[u8]) -> Tar {
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Tar {
        self.raw(Raw::new(name, b'0').data(data))
    }

    pub(crate) fn dir(self, name: &str) -> Tar {
        self.raw(Raw::new(name, b'5'))
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Tar {
        self.raw(Raw::new(name, b'2').link(target))
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Tar {
        self.raw(Raw::new(name, b'1').link(target))
    }

    /// PAX records for the entry that follows.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let mut len = body.len() + 1;
            while len != body.len() + len.to_string().len() {
                len = body.len() + len.to_string().len();
            }
            data.extend(len.to_string().as_bytes());
            data.extend(body);
        }
        self.raw(Raw::new("PaxHeaders/x", b'x').data(data))
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// A directory with something precious beside the root.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/precious"), "precious").unwrap();
        Place { dir }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Nothing outside the root was touched.
    pub(crate) fn check_outside(&self) {
        let names = |path: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(path)
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(self.dir.path()), ["outside", "root"]);
        assert_eq!(names(&self.outside()), ["precious"]);
        let precious = self.outside().join("precious");
        assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
        let meta = std::fs::metadata(&precious).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!(
            (meta.nlink(), meta.mode() & 0o7777, meta.uid()),
            (1, 0o644, owner())
        );
    }

    pub(crate) fn apply(&self, tar: &[u8]) -> Result<Applied, Error> {
        apply_layer(tar, &self.root(), &options())
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }
}

pub(crate) fn owner() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub(crate) fn options() -> ApplyOptions {
    ApplyOptions::default()
}

/// False, with a word about it, where the caller isn't root.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}
