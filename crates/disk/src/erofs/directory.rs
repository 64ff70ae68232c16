//! Directories' blocks: entries sorted by name, names behind them.

use super::BLOCK;
use super::layout::Layout;
use super::tree::{Directory, Id, Tree, What};
use crate::bytes::{put16, put64};

/// Bytes of an entry without its name.
const ENTRY: usize = 12;

/// A name in a directory.
type Name<'a> = (&'a [u8], Id);

/// All names of a directory in order, its own and its parent's too.
fn names(id: Id, dir: &Directory) -> impl Iterator<Item = Name<'_>> {
    let mut dots = [(&b"."[..], id), (&b".."[..], dir.parent)]
        .into_iter()
        .peekable();
    let mut own = dir
        .children
        .iter()
        .map(|(name, id)| (&name[..], *id))
        .peekable();
    std::iter::from_fn(move || match (dots.peek(), own.peek()) {
        (Some((dot, _)), Some((name, _))) if name < dot => own.next(),
        (Some(_), _) => dots.next(),
        (None, _) => own.next(),
    })
}

/// How a directory's names fill blocks: how many blocks are full, and the bytes of the last one
/// that isn't.
pub(super) fn measure(id: Id, dir: &Directory) -> (u64, u64) {
    let (mut full, mut used) = (0, 0);
    for (name, _) in names(id, dir) {
        let size = ENTRY + name.len();
        if used + size > BLOCK as usize {
            full += 1;
            used = 0;
        }
        used += size;
    }
    (full, used as u64)
}

/// Takes a block; true for the last one.
type Each<'a, E> = dyn FnMut(&[u8], bool) -> Result<(), E> + 'a;

/// Gives every block of a directory's to `each`, the last one cut to its length.
pub(super) fn store<E>(
    tree: &Tree,
    layout: &Layout,
    id: Id,
    dir: &Directory,
    each: &mut Each<'_, E>,
) -> Result<(), E> {
    let mut block: Vec<Name<'_>> = Vec::new();
    let mut used = 0;
    for name in names(id, dir) {
        let size = ENTRY + name.0.len();
        if used + size > BLOCK as usize {
            let mut bytes = fill(tree, layout, &block, used);
            bytes.resize(BLOCK as usize, 0);
            each(&bytes, false)?;
            block.clear();
            used = 0;
        }
        block.push(name);
        used += size;
    }
    each(&fill(tree, layout, &block, used), true)
}

fn fill(tree: &Tree, layout: &Layout, names: &[Name<'_>], used: usize) -> Vec<u8> {
    let mut bytes = vec![0; names.len() * ENTRY];
    bytes.reserve(used - bytes.len());
    for (n, (name, id)) in names.iter().enumerate() {
        let at = bytes.len() as u16;
        put64(&mut bytes, n * ENTRY, layout.nid(*id));
        put16(&mut bytes, n * ENTRY + 8, at);
        put16(&mut bytes, n * ENTRY + 10, kind(&tree.get(*id).what));
        bytes.extend_from_slice(name);
    }
    bytes
}

/// A file's type in a directory.
fn kind(what: &What) -> u16 {
    match what {
        What::File(_) => 1,
        What::Directory(_) => 2,
        What::CharDevice(_) | What::Whiteout => 3,
        What::BlockDevice(_) => 4,
        What::Fifo => 5,
        What::Symlink(_) => 7,
    }
}
