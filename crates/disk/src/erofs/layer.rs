//! Reads one layer into a tree of its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};

use coracle_archive::{Error, Kind, Limit, Limits, TarReader};

use super::data::{Contents, Out};
use super::name::{Meaning, Name, meaning};
use super::place::Placing;
use super::tree::{Id, Node, Tree, What};
use super::view::View;
use crate::error::{Error as DiskError, Result};

/// What all layers go into.
pub(super) struct Context<'a> {
    pub(super) tree: Tree,
    pub(super) out: Out<'a>,
    pub(super) limits: &'a Limits,
}

/// A layer that was read.
pub(super) struct Layer {
    pub(super) root: Id,
    /// Hard links to what the layer doesn't hold.
    pub(super) links: Vec<Link>,
}

/// A hard link that is still to be made.
pub(super) struct Link {
    /// Its directory's path in the layer, without symbolic links.
    pub(super) dir: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) target: Name,
}

/// Reads layer `number`.
pub(super) fn read(
    context: &mut Context<'_>,
    number: usize,
    stream: impl Read,
    view: View,
) -> Result<Layer> {
    let root = context.tree.root()?;
    let mut tar = TarReader::new(stream, context.limits.clone());
    let mut placing = Placing::new(&mut context.tree, root, number, view);
    let mut count = 0;
    while let Some(entry) = tar.next_entry()? {
        count += 1;
        let name = Name::clean(&entry.path)?;
        match meaning(&name)? {
            Meaning::Entry if entry.kind == Kind::HardLink => placing.hard_link(&name, &entry)?,
            Meaning::Entry if entry.kind == Kind::File => {
                if placing.file(&name, &entry, count)? {
                    let contents = context.out.contents(&entry, &mut tar)?;
                    placing.fill(contents)?;
                }
            }
            Meaning::Entry => placing.other(&name, &entry)?,
            Meaning::Whiteout(hidden) => placing.whiteout(&name, hidden)?,
            Meaning::Opaque => placing.opaque(&name)?,
            Meaning::Aufs => {}
        }
    }
    let links = placing.finish();
    drain(tar, context.limits)?;
    Ok(Layer { root, links })
}

/// Reads what follows the archive's end, so that the stream sees its own.
fn drain<R: Read>(tar: TarReader<R>, limits: &Limits) -> Result<()> {
    let left = limits.max_bytes.saturating_sub(tar.position());
    let mut rest = tar.into_inner().take(left.saturating_add(1));
    let found = io::copy(&mut rest, &mut io::sink()).map_err(Error::Read)?;
    if found > left {
        let max = limits.max_bytes;
        let limit = Limit::Bytes;
        return Err(Error::LimitExceeded { limit, max }.into());
    }
    Ok(())
}

/// What has to be read for the second time: by layer, entries and what they are.
pub(super) fn left_out(tree: &Tree, root: Id) -> BTreeMap<usize, HashMap<u64, Vec<Id>>> {
    let mut found: BTreeMap<usize, HashMap<u64, Vec<Id>>> = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut dirs = vec![root];
    while let Some(dir) = dirs.pop().and_then(|dir| tree.dir(dir)) {
        for id in dir.children.values() {
            match &tree.get(*id).what {
                What::Directory(_) => dirs.push(*id),
                What::File(Contents::LeftOut { layer, entry }) if seen.insert(*id) => {
                    let entries = found.entry(*layer).or_default();
                    entries.entry(*entry).or_default().push(*id);
                }
                _ => {}
            }
        }
    }
    found
}

/// Reads a layer again for contents that were left out.
pub(super) fn fetch(
    context: &mut Context<'_>,
    number: usize,
    stream: impl Read,
    wanted: &HashMap<u64, Vec<Id>>,
) -> Result<()> {
    let changed = || DiskError::Changed { layer: number };
    let mut tar = TarReader::new(stream, context.limits.clone());
    let mut count = 0;
    let mut found = 0;
    while let Some(entry) = tar.next_entry()? {
        count += 1;
        let Some(ids) = wanted.get(&count) else {
            continue;
        };
        if entry.kind != Kind::File {
            return Err(changed());
        }
        found += 1;
        let contents = context.out.contents(&entry, &mut tar)?;
        context
            .tree
            .charge(contents.memory().saturating_mul(ids.len() as u64))?;
        for id in ids {
            let Node { what, .. } = context.tree.get_mut(*id);
            *what = What::File(contents.clone());
        }
    }
    if found < wanted.len() {
        return Err(changed());
    }
    drain(tar, context.limits)
}
