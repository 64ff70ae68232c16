//! Layers: raw bytes, and trees of hostile names made from bytes.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coracle_archive::{ApplyOptions, Limits, Lowers, TarReader, apply_layer};

/// A layer is unpacked or refused, and nothing outside of its root is touched.
pub fn layer_unpack(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else {
        return;
    };
    let archive = if mode.is_multiple_of(2) {
        tree(rest)
    } else {
        rest.to_vec()
    };
    let limits = Limits {
        max_entries: 1000,
        max_bytes: 1 << 20,
        ..Limits::default()
    };
    let mut reader = TarReader::new(archive.as_slice(), limits.clone());
    while let Ok(Some(_)) = reader.next_entry() {}
    let Ok(dir) = crate::scratch() else { return };
    let (root, lower, outside) = (
        dir.path().join("root"),
        dir.path().join("lower"),
        dir.path().join("outside"),
    );
    for path in [&root, &lower, &outside] {
        if std::fs::create_dir(path).is_err() {
            return;
        }
    }
    let prepared = std::fs::write(outside.join("file"), "outside")
        .and_then(|()| std::fs::write(lower.join("a"), "lower"))
        // What names that climb or follow would come by.
        .and_then(|()| std::os::unix::fs::symlink(&outside, lower.join("out")))
        .and_then(|()| std::os::unix::fs::symlink(&outside, root.join("out")));
    if prepared.is_err() {
        return;
    }
    let before = listed(dir.path(), &[&root]);
    let options = ApplyOptions {
        limits,
        devices: false,
        lowers: Lowers::Dirs(vec![lower]),
        ..ApplyOptions::default()
    };
    let _ = apply_layer(archive.as_slice(), &root, &options);
    assert_eq!(
        listed(dir.path(), &[&root]),
        before,
        "something outside of the root has changed"
    );
}

/// All below `dir` but what is in `spared`, with what tells a change.
fn listed(dir: &Path, spared: &[&Path]) -> BTreeSet<String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if spared.contains(&path.as_path()) {
            continue;
        }
        let (mode, links, size) = (meta.mode(), meta.nlink(), meta.size());
        let owner = meta.uid();
        found.insert(format!(
            "{} {mode:o} {links} {size} {owner}",
            path.display()
        ));
        if meta.is_dir() {
            found.extend(listed(&path, spared));
        }
    }
    found
}

const NAMES: [&[u8]; 24] = [
    b"a",
    b"b",
    b"a/b",
    b"a/b/c",
    b"out",
    b"out/file",
    b"out/new",
    b"..",
    b"../outside/new",
    b"../../x",
    b"/outside/new",
    b"./a",
    b"a/../b",
    b"a/../../outside/new",
    b".wh.a",
    b"a/.wh.b",
    b".wh..wh..opq",
    b"a/.wh..wh..opq",
    b".wh...",
    b".wh..",
    b".wh.",
    b"",
    b".",
    b"caf\xe9/\n",
];
const KINDS: [u8; 12] = *b"0001257x5LK6";

/// A well-formed archive whose entries are chosen by the bytes.
fn tree(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in data.chunks_exact(4).take(64) {
        let [kind, name, link, more] = entry else {
            break;
        };
        let pick = |n: u8| NAMES[usize::from(n) % NAMES.len()];
        let kind = KINDS[usize::from(*kind) % KINDS.len()];
        // Symlinks may go anywhere as well; the entries after them are what matters.
        let target: &[u8] = match link % 40 {
            32..36 => b"../outside",
            36..40 => b"/",
            n => pick(n),
        };
        let content: Vec<u8> = match kind {
            b'x' => pax(pick(*more), target),
            b'L' | b'K' => target.to_vec(),
            b'0' => vec![b'x'; usize::from(*more)],
            _ => Vec::new(),
        };
        out.extend_from_slice(&header(pick(*name), kind, target, content.len(), *more));
        out.extend_from_slice(&content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn pax(path: &[u8], link: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in [("path", path), ("linkpath", link)] {
        // The length counts its own digits; two are enough for all that is written here.
        let length = key.len() + value.len() + 5;
        out.extend_from_slice(format!("{length} {key}=").as_bytes());
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out
}

fn header(name: &[u8], kind: u8, link: &[u8], size: usize, mode: u8) -> [u8; 512] {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, value: &[u8]| {
        for (to, from) in block.iter_mut().skip(at).zip(value) {
            *to = *from;
        }
    };
    put(0, std::ffi::OsStr::from_bytes(name).as_bytes());
    put(
        100,
        format!("{:07o}", u32::from(mode) << 4 & 0o7777).as_bytes(),
    );
    put(108, b"0000000\x000000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    for (to, from) in block
        .iter_mut()
        .skip(148)
        .zip(format!("{sum:06o}\0 ").bytes())
    {
        *to = from;
    }
    block
}
