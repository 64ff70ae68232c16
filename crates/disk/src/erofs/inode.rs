//! Inodes of 64 bytes, with what follows them.

use super::BLOCK;
use super::data::{Contents, chunk_map};
use super::layout::{Data, Layout};
use super::tree::{Node, What};
use crate::bytes::{put16, put32, put64};

/// Bytes of an inode.
pub(super) const INODE: u64 = 64;

/// Where an inode's data is (`EROFS_INODE_*`).
const PLAIN: u16 = 0;
const INLINE: u16 = 2;
const CHUNKED: u16 = 4;

/// An inode without attributes and tail. Its number is for programs that know only 32 bits.
pub(super) fn store(node: &Node, data: Data, number: u32, links: u32, attributes: u64) -> Vec<u8> {
    let mut inode = vec![0; INODE as usize];
    let (layout, place) = match (&node.what, data) {
        (What::CharDevice(device) | What::BlockDevice(device), _) => (PLAIN, *device),
        (What::File(Contents::Chunks { bits, .. }), _) => (CHUNKED, bits - BLOCK.ilog2()),
        (What::File(Contents::Flat { start, tail, .. }), _) => {
            (if tail.is_empty() { PLAIN } else { INLINE }, *start)
        }
        (_, Data::Blocks(start)) => (PLAIN, start),
        (_, Data::Tail(start)) => (INLINE, start),
        (_, Data::None) => (PLAIN, 0),
    };
    let kind: u16 = match node.what {
        What::Fifo => 0o010_000,
        What::CharDevice(_) | What::Whiteout => 0o020_000,
        What::Directory(_) => 0o040_000,
        What::BlockDevice(_) => 0o060_000,
        What::File(_) => 0o100_000,
        What::Symlink(_) => 0o120_000,
    };
    // The lowest bit: an inode of 64 bytes.
    put16(&mut inode, 0, 1 | layout << 1);
    let words = if attributes == 0 {
        0
    } else {
        // The header of 12 bytes counts as one.
        (attributes - 12) / 4 + 1
    };
    put16(&mut inode, 2, words as u16);
    put16(&mut inode, 4, kind | node.mode);
    put32(&mut inode, 16, place);
    put32(&mut inode, 20, number);
    put32(&mut inode, 24, node.uid);
    put32(&mut inode, 28, node.gid);
    put64(&mut inode, 32, node.mtime.secs as u64);
    put32(&mut inode, 40, node.mtime.nanos);
    put32(&mut inode, 44, links);
    inode
}

/// Puts in a file's size.
pub(super) fn put_size(inode: &mut [u8], size: u64) {
    put64(inode, 8, size);
}

/// A file's bytes behind its inode: its tail, or where its chunks are.
pub(super) fn behind(contents: &Contents) -> Vec<u8> {
    match contents {
        Contents::Flat { tail, .. } => tail.to_vec(),
        Contents::Chunks { size, bits, runs } => chunk_map(*size, *bits, runs)
            .flat_map(u32::to_le_bytes)
            .collect(),
        Contents::LeftOut { .. } => Vec::new(),
    }
}

impl Layout {
    /// What of the superblock's features is needed.
    pub(super) fn features(&self) -> u32 {
        /// Files in chunks.
        const CHUNKED_FILE: u32 = 4;
        if self.chunked { CHUNKED_FILE } else { 0 }
    }
}
