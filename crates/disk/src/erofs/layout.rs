//! Where every inode and directory goes.

use super::BLOCK;
use super::data::Contents;
use super::directory;
use super::inode::INODE;
use super::tree::{Id, Tree, What};
use super::xattr::Shared;
use crate::error::{Error, Result};

/// Inodes are at multiples of this many bytes, which their numbers count.
const SLOT: u64 = 32;

/// Blocks that are kept open for what still fits into them.
const OPEN: usize = 16;

/// Where the contents are of what isn't a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    None,
    /// In blocks of the directories' area, from this one on.
    Blocks(u32),
    /// The same, but the last bytes are behind the inode.
    Tail(u32),
}

/// An inode that has its place.
pub(super) struct Placed {
    pub(super) id: Id,
    /// Bytes from the inodes' start.
    pub(super) at: u64,
    /// For the directories' area: first counted from its start, later from the image's.
    pub(super) data: Data,
    /// Bytes of its attributes.
    pub(super) attributes: u64,
    /// Bytes of all of its contents.
    pub(super) size: u64,
}

pub(super) struct Layout {
    /// In the order of their places.
    pub(super) placed: Vec<Placed>,
    /// In the order in which they have their blocks in the directories' area.
    pub(super) order: Vec<Id>,
    /// By row of the tree, in slots; 0 of what isn't in the image.
    nids: Vec<u32>,
    links: Vec<u32>,
    pub(super) shared: Shared,
    pub(super) chunked: bool,
    /// The blocks at which inodes, directories and shared attributes start.
    pub(super) inodes: u32,
    pub(super) directories: u32,
    pub(super) attributes: u32,
}

impl Layout {
    /// With the inodes from this block on.
    pub(super) fn new(tree: &Tree, root: Id, inodes: u32) -> Result<Layout> {
        let too_large = || Error::TooLarge {
            max: u64::from(u32::MAX) * BLOCK,
        };
        let mut layout = Layout {
            placed: Vec::new(),
            order: Vec::new(),
            nids: vec![0; tree.len()],
            links: vec![0; tree.len()],
            shared: Shared::default(),
            chunked: false,
            inodes,
            directories: 0,
            attributes: 0,
        };
        layout.walk(tree, root);
        let all = layout.order.iter().map(|id| &tree.get(*id).xattrs[..]);
        layout.shared = Shared::of(all);
        let mut places = Places::new();
        let mut blocks = 0u64;
        for id in &layout.order {
            let attributes = layout.shared.size(&tree.get(*id).xattrs);
            let head = INODE + attributes;
            let (data, size, behind, more) = contents(tree, *id, head);
            layout.chunked |= matches!(tree.get(*id).what, What::File(Contents::Chunks { .. }));
            let start = u32::try_from(blocks).map_err(|_| too_large())?;
            let data = match data {
                Data::None => Data::None,
                Data::Blocks(_) => Data::Blocks(start),
                Data::Tail(_) => Data::Tail(start),
            };
            blocks += more;
            let is_map = matches!(tree.get(*id).what, What::File(Contents::Chunks { .. }));
            let at = places.take(head, behind, is_map);
            let nid = u32::try_from(at / SLOT).map_err(|_| too_large())?;
            if let Some(slot) = layout.nids.get_mut(*id as usize) {
                *slot = nid;
            }
            layout.placed.push(Placed {
                id: *id,
                at,
                data,
                attributes,
                size,
            });
        }
        layout.placed.sort_by_key(|placed| placed.at);
        let block = |bytes: u64| u32::try_from(bytes / BLOCK).map_err(|_| too_large());
        let start = u64::from(inodes) * BLOCK + places.end;
        layout.directories = block(start)?;
        layout.attributes = block(start + blocks * BLOCK)?;
        for placed in &mut layout.placed {
            match &mut placed.data {
                Data::Blocks(start) | Data::Tail(start) => *start += layout.directories,
                Data::None => {}
            }
        }
        Ok(layout)
    }

    /// Puts everything in order, a directory's entries next to each other, and counts links.
    fn walk(&mut self, tree: &Tree, root: Id) {
        self.order.push(root);
        self.link(root, 2);
        let mut dirs = vec![root];
        while let Some(id) = dirs.pop() {
            let Some(dir) = tree.dir(id) else { continue };
            let first = dirs.len();
            for child in dir.children.values() {
                if tree.get(*child).is_dir() {
                    self.order.push(*child);
                    self.link(*child, 2);
                    self.link(id, 1);
                    dirs.push(*child);
                } else if self.link(*child, 1) {
                    self.order.push(*child);
                }
            }
            if let Some(new) = dirs.get_mut(first..) {
                new.reverse();
            }
        }
    }

    /// Counts links; true for the first.
    fn link(&mut self, id: Id, count: u32) -> bool {
        let Some(links) = self.links.get_mut(id as usize) else {
            return false;
        };
        *links += count;
        *links == count
    }

    /// An inode's number.
    pub(super) fn nid(&self, id: Id) -> u64 {
        self.nids
            .get(id as usize)
            .copied()
            .unwrap_or_default()
            .into()
    }

    pub(super) fn links(&self, id: Id) -> u32 {
        self.links.get(id as usize).copied().unwrap_or_default()
    }
}

/// How something's contents are kept, their size, how many bytes are behind the inode, and how
/// many blocks are in the directories' area.
fn contents(tree: &Tree, id: Id, head: u64) -> (Data, u64, u64, u64) {
    match &tree.get(id).what {
        What::Directory(dir) => {
            let (full, rest) = directory::measure(id, dir);
            let size = full * BLOCK + rest;
            if head + rest <= BLOCK {
                (Data::Tail(0), size, rest, full)
            } else {
                (Data::Blocks(0), size, 0, full + 1)
            }
        }
        What::Symlink(target) => {
            let size = target.len() as u64;
            // The kernel takes it from the inode's own block only.
            if head + size <= BLOCK {
                (Data::Tail(0), size, size, 0)
            } else {
                (Data::Blocks(0), size, 0, 1)
            }
        }
        What::File(Contents::Flat { size, tail, .. }) => (Data::None, *size, tail.len() as u64, 0),
        What::File(Contents::Chunks { size, bits, .. }) => {
            (Data::None, *size, 4 * size.div_ceil(1 << bits), 0)
        }
        _ => (Data::None, 0, 0, 0),
    }
}

/// Hands out places for inodes.
struct Places {
    /// Blocks with some room left: where it starts, and how much it is.
    open: Vec<(u64, u64)>,
    /// Where the next block starts.
    end: u64,
}

impl Places {
    fn new() -> Places {
        Places {
            // Nothing is at 0: many programs take no inode for having that number.
            open: vec![(SLOT, BLOCK - SLOT)],
            end: BLOCK,
        }
    }

    /// A place for an inode with its attributes, and for what is behind them: either a chunk map,
    /// or bytes that mustn't lie across the boundary of a block.
    fn take(&mut self, head: u64, behind: u64, is_map: bool) -> u64 {
        let size = (head + behind).next_multiple_of(SLOT);
        if size <= BLOCK {
            let fits = self.open.iter_mut().find(|(_, room)| *room >= size);
            if let Some((at, room)) = fits {
                let place = *at;
                *at += size;
                *room -= size;
                return place;
            }
            let place = self.end;
            self.end += BLOCK;
            self.keep(place + size, BLOCK - size);
            return place;
        }
        let crosses = |shift: u64| (shift + head) % BLOCK + behind > BLOCK;
        let mut shift = 0;
        while !is_map && behind > 0 && crosses(shift) && shift < BLOCK {
            shift += SLOT;
        }
        let place = self.end + shift;
        let used = (shift + size).next_multiple_of(BLOCK);
        self.keep(place + size, used - shift - size);
        self.end += used;
        place
    }

    /// Remembers room in a block, in place of the least.
    fn keep(&mut self, at: u64, room: u64) {
        if self.open.len() < OPEN {
            self.open.push((at, room));
            return;
        }
        let least = self.open.iter_mut().min_by_key(|(_, room)| *room);
        if let Some(least) = least.filter(|least| least.1 < room) {
            *least = (at, room);
        }
    }
}
