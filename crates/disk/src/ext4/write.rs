//! The structures on disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::layout::{DESCRIPTOR, GROUP, INODE, INODES, LOG_FLEX, Layout};
use super::{BLOCK, Ext4Options};
use crate::bytes::{high, low, put, put16, put32};
use crate::crc32c::{START, update};

/// Inodes that are taken from the start.
const RESERVED: u64 = 10;
const ROOT_INODE: u32 = 2;
const JOURNAL_INODE: u32 = 8;

const COMPAT_JOURNAL: u32 = 0x4;
/// Extended attributes, hashed directories.
const COMPAT: u32 = 0x8 | 0x20;
/// File types in directories, extents, 64 bit, flexible groups.
const INCOMPAT: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// Few copies of the superblock, large and huge files, many links to directories, large inodes, checksums.
const RO_COMPAT: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;

const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_ZEROED: u16 = 4;

pub(super) fn write(file: &File, layout: &Layout, options: &Ext4Options) -> io::Result<()> {
    let seed = update(START, &options.uuid);
    let mut descriptors = vec![0; (layout.descriptors * BLOCK) as usize];
    let mut free = 0;
    for group in 0..layout.groups {
        let mut descriptor = [0; DESCRIPTOR as usize];
        free += layout.size(group) - layout.used(group);
        describe(&mut descriptor, layout, group);
        if layout.has_bitmap(group) {
            let bitmap = block_bitmap(layout, group);
            let sum = update(seed, &bitmap);
            put16(&mut descriptor, 0x18, sum as u16);
            put16(&mut descriptor, 0x38, (sum >> 16) as u16);
            file.write_all_at(&bitmap, layout.block_bitmap(group) * BLOCK)?;
        }
        if group == 0 {
            let bitmap = inode_bitmap();
            let sum = update(
                seed,
                bitmap.get(..(INODES / 8) as usize).unwrap_or_default(),
            );
            put16(&mut descriptor, 0x1a, sum as u16);
            put16(&mut descriptor, 0x3a, (sum >> 16) as u16);
            file.write_all_at(&bitmap, layout.inode_bitmap(0) * BLOCK)?;
        }
        let sum = update(update(seed, &low(group).to_le_bytes()), &descriptor);
        put16(&mut descriptor, 0x1e, sum as u16);
        put(&mut descriptors, (group * DESCRIPTOR) as usize, &descriptor);
    }
    files(file, layout, options, seed)?;
    file.write_all_at(&descriptors, BLOCK)?;
    let mut superblock = superblock(layout, options, free);
    if let Some(copy) = layout.copy() {
        put16(&mut superblock, 0x5a, (copy / GROUP) as u16);
        seal(&mut superblock);
        file.write_all_at(&superblock, copy * BLOCK)?;
        file.write_all_at(&descriptors, (copy + 1) * BLOCK)?;
        put16(&mut superblock, 0x5a, 0);
    }
    seal(&mut superblock);
    file.write_all_at(&superblock, 1024)
}

/// A group's descriptor, without checksums.
fn describe(descriptor: &mut [u8], layout: &Layout, group: u64) {
    let places = [
        layout.block_bitmap(group),
        layout.inode_bitmap(group),
        layout.inode_table(group),
    ];
    for (n, place) in places.into_iter().enumerate() {
        put32(descriptor, 4 * n, low(place));
        put32(descriptor, 0x20 + 4 * n, high(place));
    }
    // At most 32768, so the upper halves are 0.
    put16(
        descriptor,
        0x0c,
        (layout.size(group) - layout.used(group)) as u16,
    );
    let mut flags = INODE_ZEROED;
    let mut free_inodes = INODES;
    if group == 0 {
        free_inodes -= RESERVED;
        put16(descriptor, 0x10, 1);
    } else {
        flags |= INODE_UNINIT;
    }
    if !layout.has_bitmap(group) {
        flags |= BLOCK_UNINIT;
    }
    put16(descriptor, 0x0e, free_inodes as u16);
    put16(descriptor, 0x12, flags);
    put16(descriptor, 0x1c, free_inodes as u16);
}

fn block_bitmap(layout: &Layout, group: u64) -> Vec<u8> {
    let mut bitmap = vec![0; BLOCK as usize];
    set(&mut bitmap, 0, layout.used(group));
    set(&mut bitmap, layout.size(group), GROUP);
    bitmap
}

/// The first group's; those of the others the kernel works out.
fn inode_bitmap() -> Vec<u8> {
    let mut bitmap = vec![0; BLOCK as usize];
    set(&mut bitmap, 0, RESERVED);
    set(&mut bitmap, INODES, GROUP);
    bitmap
}

/// Sets the bits from one to before another.
fn set(bitmap: &mut [u8], from: u64, to: u64) {
    for (n, byte) in bitmap.iter_mut().enumerate() {
        let first = 8 * n as u64;
        let start = from.clamp(first, first + 8) - first;
        let end = to.clamp(first, first + 8) - first;
        if start < end {
            *byte |= (((1u32 << (end - start)) - 1) << start) as u8;
        }
    }
}

/// The root directory and the journal.
fn files(file: &File, layout: &Layout, options: &Ext4Options, seed: u32) -> io::Result<()> {
    // Inodes from number 1.
    let mut table = vec![0; BLOCK as usize];
    let root = inode(0o040_755, 2, (layout.root, 1), options.time);
    put_inode(&mut table, ROOT_INODE, root, seed);
    file.write_all_at(&root_directory(seed), layout.root * BLOCK)?;
    if let (first, blocks @ 1..) = layout.journal {
        let journal = inode(0o100_600, 1, (first, blocks), options.time);
        put_inode(&mut table, JOURNAL_INODE, journal, seed);
        file.write_all_at(&journal_superblock(blocks, options), first * BLOCK)?;
    }
    file.write_all_at(&table, layout.inode_table(0) * BLOCK)
}

/// An inode with one extent.
fn inode(mode: u16, links: u16, (start, blocks): (u64, u64), time: u32) -> [u8; INODE as usize] {
    let mut inode = [0; INODE as usize];
    put16(&mut inode, 0x00, mode);
    put32(&mut inode, 0x04, low(blocks * BLOCK));
    for at in [0x08, 0x0c, 0x10, 0x90] {
        put32(&mut inode, at, time);
    }
    put16(&mut inode, 0x1a, links);
    put32(&mut inode, 0x1c, low(blocks * (BLOCK / 512)));
    // It has extents.
    put32(&mut inode, 0x20, 0x8_0000);
    put16(&mut inode, 0x28, 0xf30a);
    put16(&mut inode, 0x2a, 1);
    put16(&mut inode, 0x2c, 4);
    put16(&mut inode, 0x38, blocks as u16);
    put16(&mut inode, 0x3a, high(start) as u16);
    put32(&mut inode, 0x3c, low(start));
    // Bytes of the fields beyond the first 128.
    put16(&mut inode, 0x80, 32);
    inode
}

/// What checksums of an inode, and of its directory's blocks, start with.
fn inode_seed(number: u32, seed: u32) -> u32 {
    let generation = 0u32;
    update(
        update(seed, &number.to_le_bytes()),
        &generation.to_le_bytes(),
    )
}

fn put_inode(table: &mut [u8], number: u32, mut inode: [u8; INODE as usize], seed: u32) {
    let sum = update(inode_seed(number, seed), &inode);
    put16(&mut inode, 0x7c, sum as u16);
    put16(&mut inode, 0x82, (sum >> 16) as u16);
    put(table, (number as usize - 1) * INODE as usize, &inode);
}

fn root_directory(seed: u32) -> Vec<u8> {
    /// Bytes of the entry that has the checksum.
    const TAIL: usize = 12;
    let mut block = vec![0; BLOCK as usize];
    let end = block.len() - TAIL;
    for (at, len, name) in [(0, 12, &b"."[..]), (12, end - 12, b"..")] {
        put32(&mut block, at, ROOT_INODE);
        put16(&mut block, at + 4, len as u16);
        put(&mut block, at + 6, &[name.len() as u8, 2]);
        put(&mut block, at + 8, name);
    }
    put16(&mut block, end + 4, TAIL as u16);
    put(&mut block, end + 7, &[0xde]);
    let sum = update(
        inode_seed(ROOT_INODE, seed),
        block.get(..end).unwrap_or_default(),
    );
    put32(&mut block, end + 8, sum);
    block
}

/// The journal's first block, in big endian: it is empty.
fn journal_superblock(blocks: u64, options: &Ext4Options) -> Vec<u8> {
    let mut block = vec![0; BLOCK as usize];
    let fields: [(usize, u32); 8] = [
        (0x00, 0xc03b_3998),
        // A superblock of version 2.
        (0x04, 4),
        (0x0c, BLOCK as u32),
        (0x10, low(blocks)),
        // The first block of the log, and the first expected transaction.
        (0x14, 1),
        (0x18, 1),
        // No recovery is needed.
        (0x1c, 0),
        // One file system uses it.
        (0x40, 1),
    ];
    for (at, value) in fields {
        put(&mut block, at, &value.to_be_bytes());
    }
    put(&mut block, 0x30, &options.uuid);
    block
}

fn superblock(layout: &Layout, options: &Ext4Options, free: u64) -> [u8; 1024] {
    let mut block = [0; 1024];
    let (journal, journal_blocks) = layout.journal;
    let has_journal = journal_blocks > 0;
    let inodes = layout.groups * INODES;
    let fields: [(usize, u32); 24] = [
        (0x00, low(inodes)),
        (0x04, low(layout.blocks)),
        (0x0c, low(free)),
        (0x10, low(inodes - RESERVED)),
        // Blocks and clusters are of 1 KiB << 2.
        (0x18, 2),
        (0x1c, 2),
        (0x20, low(GROUP)),
        (0x24, low(GROUP)),
        (0x28, low(INODES)),
        (0x30, options.time),
        (0x40, options.time),
        // The revision that has the fields below.
        (0x4c, 1),
        // The first inode that isn't reserved.
        (0x54, low(RESERVED) + 1),
        (
            0x5c,
            if has_journal {
                COMPAT | COMPAT_JOURNAL
            } else {
                COMPAT
            },
        ),
        (0x60, INCOMPAT),
        (0x64, RO_COMPAT),
        (0xe0, if has_journal { JOURNAL_INODE } else { 0 }),
        // By default: user's attributes, access control lists.
        (0x100, 0x4 | 0x8),
        (0x108, options.time),
        (0x150, high(layout.blocks)),
        (0x158, high(free)),
        // Directories are hashed over signed characters.
        (0x160, 1),
        (0x174, u32::from(LOG_FLEX)),
        (0x248, low(layout.overhead())),
    ];
    for (at, value) in fields {
        put32(&mut block, at, value);
    }
    let short: [(usize, u16); 8] = [
        // Never checked for having been mounted often.
        (0x36, 0xffff),
        (0x38, 0xef53),
        // Clean.
        (0x3a, 1),
        // Goes on after errors.
        (0x3c, 1),
        (0x58, INODE as u16),
        (0xfe, DESCRIPTOR as u16),
        (0x15c, 32),
        (0x15e, 32),
    ];
    for (at, value) in short {
        put16(&mut block, at, value);
    }
    put(&mut block, 0x68, &options.uuid);
    // Seeds the hashes of names; a half MD4 is made of them.
    put(&mut block, 0xec, &options.uuid);
    put(&mut block, 0xfc, &[1]);
    // Checksums are CRC-32C.
    put(&mut block, 0x175, &[1]);
    if has_journal {
        // A copy of the journal's inode: its extent, and its size.
        put(&mut block, 0xfd, &[1]);
        let inode = inode(0, 1, (journal, journal_blocks), 0);
        put(&mut block, 0x10c, inode.get(0x28..0x64).unwrap_or_default());
        put32(&mut block, 0x10c + 64, low(journal_blocks * BLOCK));
    }
    block
}

/// Puts in the superblock's checksum.
fn seal(block: &mut [u8; 1024]) {
    let sum = update(START, block.get(..0x3fc).unwrap_or_default());
    put32(block, 0x3fc, sum);
}
