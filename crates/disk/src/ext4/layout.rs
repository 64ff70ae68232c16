//! Where everything is.

use super::BLOCK;

/// Blocks of a group: a bitmap of one block covers them.
pub(super) const GROUP: u64 = 8 * BLOCK;

/// Bytes of an inode.
pub(super) const INODE: u64 = 256;

/// Inodes of a group: one for 16 KiB, as `mke2fs` has it. They cost nothing until they are used.
pub(super) const INODES: u64 = 8192;

/// Blocks of a group's inode table.
const TABLE: u64 = INODES * INODE / BLOCK;

/// Bytes of a group's descriptor.
pub(super) const DESCRIPTOR: u64 = 64;

/// Groups whose bitmaps and inode tables are together in the first of them, as a power of two.
pub(super) const LOG_FLEX: u8 = 4;
const FLEX: u64 = 1 << LOG_FLEX;

/// The largest table of descriptors, in blocks, of which there is a copy: that of 1 TiB.
const MAX_COPIED: u64 = 128;

/// A file system's geometry, in blocks.
pub(super) struct Layout {
    pub(super) blocks: u64,
    pub(super) groups: u64,
    /// Blocks of the table of descriptors.
    pub(super) descriptors: u64,
    /// The root directory's block.
    pub(super) root: u64,
    /// The journal's first block, and how many it has, possibly 0.
    pub(super) journal: (u64, u64),
}

impl Layout {
    pub(super) fn new(blocks: u64, journal: u64) -> Layout {
        let mut groups = blocks.div_ceil(GROUP);
        // The last group is given up where it is too small to be of use: where it begins a flex
        // group it needs room for its own tables.
        let last = blocks - (groups - 1) * GROUP;
        let needed = if (groups - 1).is_multiple_of(FLEX) {
            TABLE + 2 + 64
        } else {
            64 + (groups * DESCRIPTOR).div_ceil(BLOCK)
        };
        let blocks = if groups > 1 && last < needed {
            groups -= 1;
            groups * GROUP
        } else {
            blocks
        };
        let descriptors = (groups * DESCRIPTOR).div_ceil(BLOCK);
        let mut layout = Layout {
            blocks,
            groups,
            descriptors,
            root: 0,
            journal: (0, journal),
        };
        layout.root = layout.flex_start(0) + layout.flex_groups(0) * (TABLE + 2);
        layout.journal.0 = layout.root + 1;
        layout
    }

    /// Blocks of a group; fewer in the last one.
    pub(super) fn size(&self, group: u64) -> u64 {
        (self.blocks - group * GROUP).min(GROUP)
    }

    pub(super) fn block_bitmap(&self, group: u64) -> u64 {
        self.flex_start(group) + group % FLEX
    }

    pub(super) fn inode_bitmap(&self, group: u64) -> u64 {
        self.flex_start(group) + self.flex_groups(group) + group % FLEX
    }

    pub(super) fn inode_table(&self, group: u64) -> u64 {
        self.flex_start(group) + 2 * self.flex_groups(group) + group % FLEX * TABLE
    }

    /// Used blocks at a group's start: there are no others.
    pub(super) fn used(&self, group: u64) -> u64 {
        let tables = if group.is_multiple_of(FLEX) {
            self.flex_groups(group) * (TABLE + 2)
        } else {
            0
        };
        let files = if group == 0 { 1 + self.journal.1 } else { 0 };
        self.head(group) + tables + files
    }

    /// Whether the kernel can't work out a group's bitmap by itself: it holds others' tables, or
    /// it is the last one, of which bits are beyond the end.
    pub(super) fn has_bitmap(&self, group: u64) -> bool {
        group.is_multiple_of(FLEX) || group == self.groups - 1
    }

    /// Blocks that aren't for files' contents (`s_overhead_clusters`).
    pub(super) fn overhead(&self) -> u64 {
        let heads: u64 = (0..self.groups).map(|group| self.head(group)).sum();
        heads + self.groups * (TABLE + 2) + self.journal.1
    }

    /// The first block of the one copy of superblock and descriptors that is written. There is
    /// room for others (`sparse_super`; without, or with one copy only, the kernel doesn't grow a
    /// mounted file system), which the kernel fills when it grows the file system.
    pub(super) fn copy(&self) -> Option<u64> {
        (self.groups > 1 && self.descriptors <= MAX_COPIED).then_some(GROUP)
    }

    /// Blocks of superblock and descriptors in a group.
    fn head(&self, group: u64) -> u64 {
        if group == 0 || has_copy(group) {
            1 + self.descriptors
        } else {
            0
        }
    }

    /// Where the tables are of a group and those that it shares a place with.
    fn flex_start(&self, group: u64) -> u64 {
        let first = group - group % FLEX;
        first * GROUP + self.head(first)
    }

    /// How many groups share that place.
    fn flex_groups(&self, group: u64) -> u64 {
        (self.groups - (group - group % FLEX)).min(FLEX)
    }
}

/// Whether a group has room for a copy of superblock and descriptors.
fn has_copy(group: u64) -> bool {
    let is_power = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group == 1 || [3, 5, 7].into_iter().any(is_power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_sparse() {
        let found: Vec<u64> = (0..130).filter(|group| has_copy(*group)).collect();
        assert_eq!(found, [1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }
}
