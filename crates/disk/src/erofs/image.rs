//! Writes what follows the files' data, and the superblock.

use super::data::Out;
use super::directory;
use super::inode;
use super::layout::{Data, Layout, Placed};
use super::tree::{Tree, What};
use super::{BLOCK, ImageInfo};
use crate::bytes::{put, put16, put32, put64};
use crate::crc32c::{START, update};
use crate::error::{Error, Result};

/// Where in the first block the superblock is.
const SUPERBLOCK: usize = 1024;

const MAGIC: u32 = 0xe0f5_e1e2;

/// The superblock has a checksum; inodes have the time of modification.
const COMPATIBLE: u32 = 1 | 2;

pub(super) fn write(
    tree: &Tree,
    layout: &Layout,
    out: &mut Out<'_>,
    uuid: &[u8; 16],
) -> Result<ImageInfo> {
    let start = out.position();
    for (n, placed) in layout.placed.iter().enumerate() {
        out.zeros(start + placed.at - out.position())?;
        inode(tree, layout, placed, n as u32 + 1, out)?;
    }
    let inodes = out.position();
    out.align()?;
    directories(tree, layout, out)?;
    out.align()?;
    out.write(&layout.shared.area)?;
    out.align()?;
    if out.position() == inodes {
        // Version 1.5 of `fsck.erofs` reads the head of an inode's attributes even if it has
        // none, and calls an image corrupt that ends there.
        out.zeros(BLOCK)?;
    }
    out.finish()?;
    let info = ImageInfo {
        bytes: out.position(),
        inodes: layout.placed.len() as u64,
    };
    let root = layout.order.first().map_or(0, |root| layout.nid(*root));
    out.write_at(&superblock(layout, root, info, uuid), 0)?;
    Ok(info)
}

/// An inode, its attributes, and what is behind them.
fn inode(
    tree: &Tree,
    layout: &Layout,
    placed: &Placed,
    number: u32,
    out: &mut Out<'_>,
) -> Result<()> {
    let node = tree.get(placed.id);
    let links = layout.links(placed.id);
    let mut bytes = inode::store(node, placed.data, number, links, placed.attributes);
    inode::put_size(&mut bytes, placed.size);
    out.write(&bytes)?;
    out.write(&layout.shared.store(&node.xattrs))?;
    match &node.what {
        What::File(contents) => out.write(&inode::behind(contents)),
        What::Symlink(target) if matches!(placed.data, Data::Tail(_)) => out.write(target),
        What::Directory(dir) if matches!(placed.data, Data::Tail(_)) => {
            directory::store(tree, layout, placed.id, dir, &mut |block, last| {
                if last { out.write(block) } else { Ok(()) }
            })
        }
        _ => Ok(()),
    }
}

/// The blocks of directories, and of symbolic links that have some.
fn directories(tree: &Tree, layout: &Layout, out: &mut Out<'_>) -> Result<()> {
    let mut data: Vec<(u32, &Placed)> = Vec::new();
    for placed in &layout.placed {
        match placed.data {
            Data::Blocks(start) => data.push((start, placed)),
            Data::Tail(start) if placed.size >= BLOCK => data.push((start, placed)),
            _ => {}
        }
    }
    data.sort_by_key(|(start, _)| *start);
    for (_, placed) in data {
        let with_last = matches!(placed.data, Data::Blocks(_));
        match &tree.get(placed.id).what {
            What::Directory(dir) => {
                directory::store::<Error>(tree, layout, placed.id, dir, &mut |block, last| {
                    if last && !with_last {
                        return Ok(());
                    }
                    out.write(block)?;
                    out.align()
                })?;
            }
            What::Symlink(target) => {
                out.write(target)?;
                out.align()?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first block.
fn superblock(layout: &Layout, root: u64, info: ImageInfo, uuid: &[u8; 16]) -> Vec<u8> {
    let mut block = vec![0; BLOCK as usize];
    let sb = block.get_mut(SUPERBLOCK..).unwrap_or_default();
    put32(sb, 0, MAGIC);
    put32(sb, 8, COMPATIBLE);
    put(sb, 12, &[BLOCK.ilog2() as u8]);
    // The root's place is the first one, so that its number has few bits.
    put16(sb, 14, root as u16);
    put64(sb, 16, info.inodes);
    put32(sb, 36, (info.bytes / BLOCK) as u32);
    put32(sb, 40, layout.inodes);
    put32(sb, 44, layout.attributes);
    put(sb, 48, uuid);
    put32(sb, 80, layout.features());
    let sum = update(START, sb);
    put32(sb, 4, sum);
    block
}
