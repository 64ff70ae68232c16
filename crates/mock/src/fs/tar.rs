//! Trees in and out of tar archives.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use coracle_archive::{Entry, Kind as EntryKind, Limits, TarReader, TarWriter, Time};
use jiff::Timestamp;

use super::tree::{Kind, Node, Tree, base, clean, join, parent};

/// What marks a deletion in a layer (image-spec, layer.md).
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// Bytes of an archive that are taken: it all has to fit into memory.
const MAX_BYTES: u64 = 1 << 30;

type Result<T> = coracle_archive::Result<T>;

/// Bounds on what is read.
pub(crate) fn limits() -> Limits {
    Limits {
        max_bytes: MAX_BYTES,
        ..Limits::default()
    }
}

/// Writes nodes under the names given.
pub(crate) fn write<'a>(nodes: impl IntoIterator<Item = (String, &'a Arc<Node>)>) -> Result<Bytes> {
    let mut tar = TarWriter::new(Vec::new());
    for (name, node) in nodes {
        put(&mut tar, &name, node)?;
    }
    Ok(tar.finish()?.into())
}

fn put(tar: &mut TarWriter<Vec<u8>>, name: &str, node: &Node) -> Result<()> {
    let mut entry = Entry {
        path: name.as_bytes().to_vec(),
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        mtime: Time {
            secs: node.mtime.as_second(),
            nanos: u32::try_from(node.mtime.subsec_nanosecond()).unwrap_or_default(),
        },
        ..Entry::default()
    };
    match &node.kind {
        Kind::Dir => {
            entry.kind = EntryKind::Directory;
            if !name.ends_with('/') {
                entry.path.push(b'/');
            }
        }
        Kind::File(content) => entry.size = content.len() as u64,
        Kind::Symlink(target) => {
            entry.kind = EntryKind::Symlink;
            entry.link = target.as_bytes().to_vec();
        }
        Kind::Device { block, numbers } => {
            entry.kind = if *block {
                EntryKind::BlockDevice
            } else {
                EntryKind::CharDevice
            };
            entry.device = *numbers;
        }
        Kind::Fifo => entry.kind = EntryKind::Fifo,
    }
    tar.entry(&entry)?;
    if let Kind::File(content) = &node.kind {
        tar.data(content)?;
    }
    Ok(())
}

/// The difference between two trees as a layer.
pub(crate) fn layer(base_tree: &Tree, now: &Tree) -> Result<Bytes> {
    let deleted = Arc::new(Node::file("", 0o600));
    let mut nodes = Vec::new();
    for change in super::changes::changes(base_tree, now) {
        match now.get(&change.path) {
            Some(node) => nodes.push((change.path, node)),
            None => {
                let name = format!("{WHITEOUT}{}", base(&change.path));
                nodes.push((join(parent(&change.path), &name), &deleted));
            }
        }
    }
    write(
        nodes
            .into_iter()
            .map(|(path, node)| (path.trim_start_matches('/').to_owned(), node)),
    )
}

/// Reads an archive entry by entry; names are clean and absolute.
pub(crate) fn read(
    source: impl Read,
    mut place: impl FnMut(&str, Node) -> Result<()>,
) -> Result<()> {
    let mut tar = TarReader::new(source, limits());
    let mut links: Vec<(String, String)> = Vec::new();
    let mut files: std::collections::HashMap<String, Node> = Default::default();
    while let Some(entry) = tar.next_entry()? {
        let name = String::from_utf8_lossy(&entry.path);
        if name.split('/').any(|part| part == "..") {
            return Err(coracle_archive::Error::Breakout {
                path: name.as_ref().into(),
            });
        }
        let path = clean("/", &name);
        let link = String::from_utf8_lossy(&entry.link).into_owned();
        let kind = match entry.kind {
            EntryKind::File => Kind::File(content(&mut tar, &entry)?),
            EntryKind::Directory => Kind::Dir,
            EntryKind::Symlink => Kind::Symlink(link),
            EntryKind::CharDevice => Kind::Device {
                block: false,
                numbers: entry.device,
            },
            EntryKind::BlockDevice => Kind::Device {
                block: true,
                numbers: entry.device,
            },
            EntryKind::Fifo => Kind::Fifo,
            EntryKind::HardLink => {
                links.push((path.clone(), clean("/", &link)));
                let target = files.get(&clean("/", &link)).cloned().ok_or_else(|| {
                    coracle_archive::Error::LinkTargetMissing {
                        path: path.clone().into(),
                        target: link.clone().into(),
                    }
                })?;
                place(&path, target)?;
                continue;
            }
        };
        let nanos = i32::try_from(entry.mtime.nanos).unwrap_or_default();
        let node = Node {
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: Timestamp::new(entry.mtime.secs, nanos).unwrap_or_default(),
        };
        if matches!(node.kind, Kind::File(_)) {
            files.insert(path.clone(), node.clone());
        }
        place(&path, node)?;
    }
    Ok(())
}

/// A file's bytes, holes filled in.
fn content<R: Read>(tar: &mut TarReader<R>, entry: &Entry) -> Result<Bytes> {
    let mut stored = Vec::new();
    loop {
        let chunk = tar.chunk()?;
        if chunk.is_empty() {
            break;
        }
        stored.extend_from_slice(chunk);
    }
    let Some(segments) = &entry.sparse else {
        return Ok(stored.into());
    };
    let too_large = || coracle_archive::Error::LimitExceeded {
        limit: coracle_archive::Limit::Bytes,
        max: MAX_BYTES,
    };
    if entry.size > MAX_BYTES {
        return Err(too_large());
    }
    let mut whole = vec![0; usize::try_from(entry.size).map_err(|_| too_large())?];
    let mut rest = stored.as_slice();
    for segment in segments {
        let start = usize::try_from(segment.offset).map_err(|_| too_large())?;
        let len = usize::try_from(segment.len)
            .map_err(|_| too_large())?
            .min(rest.len());
        let (data, after) = rest.split_at(len);
        if let Some(place) = whole.get_mut(start..start.saturating_add(len)) {
            place.copy_from_slice(data);
        }
        rest = after;
    }
    Ok(whole.into())
}

/// Puts a layer over a tree.
pub(crate) fn apply(tree: &mut Tree, source: impl Read) -> Result<()> {
    let mut fresh = Tree::default();
    let mut gone: Vec<String> = Vec::new();
    let mut opaque: Vec<String> = Vec::new();
    read(source, |path, node| {
        match base(path) {
            OPAQUE => opaque.push(parent(path).to_owned()),
            name => match name.strip_prefix(WHITEOUT) {
                Some(name) => gone.push(join(parent(path), name)),
                None if path == "/" => {}
                None => fresh.put(path, node),
            },
        }
        Ok(())
    })?;
    for path in opaque {
        tree.clear(&path);
    }
    for path in gone {
        tree.remove(&path);
    }
    for (path, node) in fresh.iter().filter(|(path, _)| *path != "/") {
        tree.put(path, Node::clone(node));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_makes_the_one_tree_of_the_other() {
        let mut base = Tree::default();
        base.put("/etc/a", Node::file("old", 0o644));
        base.put("/gone/x", Node::file("x", 0o644));
        let mut now = base.clone();
        now.put("/etc/a", Node::file("new", 0o600));
        now.put("/bin/sh", Node::symlink("busybox"));
        now.remove("/gone");
        let layer = layer(&base, &now).unwrap();
        let mut made = base.clone();
        apply(&mut made, &*layer).unwrap();
        assert!(super::super::changes::changes(&now, &made).is_empty());
    }

    #[test]
    fn hostile_archives_are_refused() {
        let mut tar = TarWriter::new(Vec::new());
        tar.entry(&Entry {
            path: b"../x".to_vec(),
            ..Entry::default()
        })
        .unwrap();
        let bytes = tar.finish().unwrap();
        assert!(apply(&mut Tree::default(), &*bytes).is_err());
        assert!(
            apply(
                &mut Tree::default(),
                &b"not a tar, but longer than nothing"[..]
            )
            .is_err()
        );
    }
}
