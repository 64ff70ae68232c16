//! Everything about a tree, to be compared with another.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use coracle_oci::Digester;

/// Something in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    size: u64,
    device: u64,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A link's target, or a digest of the contents.
    contents: Vec<u8>,
    /// All names of the same inode.
    names: Vec<PathBuf>,
    /// How many there are by the inode.
    links: u64,
}

/// How a tree is looked at.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Link counts must be what names there are; else they are left out.
    pub(crate) links: bool,
    /// Times of what no entry describes are unpacking's.
    pub(crate) not_before: i64,
}

pub(crate) fn scan(root: &Path, how: How) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut inodes: BTreeMap<(u64, u64), Vec<PathBuf>> = BTreeMap::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let name = dir.join(entry.unwrap().file_name());
            // Overlayfs lists whiteouts in directories that only one layer has, but has none there.
            let Ok(meta) = fs::symlink_metadata(root.join(&name)) else {
                continue;
            };
            if meta.is_dir() {
                dirs.push(name.clone());
            } else {
                inodes
                    .entry((meta.dev(), meta.ino()))
                    .or_default()
                    .push(name.clone());
            }
            seen.insert(name.clone(), one(root, &name, &meta, how));
        }
    }
    for mut names in inodes.into_values() {
        names.sort();
        for name in &names {
            let found = seen.get_mut(name).unwrap();
            found.names.clone_from(&names);
            if how.links {
                assert_eq!(found.links, names.len() as u64, "{}", name.display());
            }
            found.links = 0;
        }
    }
    seen
}

fn one(root: &Path, name: &Path, meta: &fs::Metadata, how: How) -> Seen {
    let path = root.join(name);
    let kind = meta.file_type();
    let (kind, contents) = if kind.is_dir() {
        ("directory", Vec::new())
    } else if kind.is_symlink() {
        let target = fs::read_link(&path).unwrap();
        ("symlink", target.as_os_str().as_bytes().to_vec())
    } else if kind.is_fifo() {
        ("fifo", Vec::new())
    } else if kind.is_char_device() {
        ("char", Vec::new())
    } else if kind.is_block_device() {
        ("block", Vec::new())
    } else {
        ("file", digest(&path))
    };
    let mtime = match (meta.mtime(), meta.mtime_nsec()) {
        (secs, _) if secs >= how.not_before => (0, 0),
        time => time,
    };
    Seen {
        kind,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        mtime,
        size: if kind == "directory" { 0 } else { meta.size() },
        device: meta.rdev(),
        xattrs: xattrs(&path),
        contents,
        names: Vec::new(),
        links: if kind == "directory" { 0 } else { meta.nlink() },
    }
}

fn digest(path: &Path) -> Vec<u8> {
    let mut digester = Digester::sha256();
    let mut file = fs::File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let len = file.read(&mut buffer).unwrap();
        if len == 0 {
            return digester.finish().to_string().into_bytes();
        }
        // Nothing but zeros is quicker to compare than to hash.
        let part = &buffer[..len];
        if part.iter().any(|b| *b != 0) {
            digester.update(part);
        } else {
            digester.update(&(len as u64).to_le_bytes());
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..len]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty());
    names
        .filter(|name| !name.starts_with(b"trusted.overlay."))
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let os = OsStr::from_bytes(name);
            let len = rustix::fs::lgetxattr(path, os, &mut value[..]).unwrap();
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect()
}

/// Compares two trees, and tells the first few differences.
pub(crate) fn same(
    expected: &BTreeMap<PathBuf, Seen>,
    found: &BTreeMap<PathBuf, Seen>,
) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (name, seen) in expected {
        match found.get(name) {
            None => wrong.push(format!("{} is missing", name.display())),
            Some(other) if other != seen => {
                wrong.push(format!("{}: {other:?} instead of {seen:?}", name.display()));
            }
            Some(_) => {}
        }
    }
    for name in found.keys().filter(|name| !expected.contains_key(*name)) {
        let name: OsString = name.into();
        wrong.push(format!("{} is too much", name.display()));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.truncate(5);
    Err(wrong.join("\n"))
}
