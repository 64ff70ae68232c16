//! One read-only EROFS image of a stack of layers.
//!
//! ```text
//! block 0        superblock, written last
//! data           files' whole blocks, as the streams bring them, topmost layer first
//! inodes         64 bytes each, with attributes and the files' tails; the root's comes first
//! directories    blocks of names, targets of long symbolic links
//! attributes     those that several inodes share
//! ```
//! Layers are read from the top down, so that what is hidden by a layer above isn't written at all;
//! their trees are laid over each other at the end, from the bottom up. Where a hard link keeps
//! something alive that was left out as hidden, its layer is read a second time.
//!
//! The format is that of Linux 5.15 and later (`fs/erofs/erofs_fs.h`): blocks of 4 KiB, nothing
//! compressed, extended inodes, holes by chunk maps.

mod acl;
mod data;
mod directory;
mod image;
mod inode;
mod layer;
mod layout;
mod merge;
mod name;
mod place;
mod settle;
mod tree;
mod view;
mod xattr;

use std::fs::File;
use std::io::{self, Read};

use coracle_archive::Limits;

use crate::error::{Error, Result};
use data::Out;
use layer::Context;
use layout::Layout;
use tree::Tree;
use view::View;

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// How an image is written, and how much its layers may ask for.
#[derive(Debug, Clone)]
pub struct ErofsOptions {
    /// Names the file system. The same layers should get the same, so that the image's bytes are
    /// the same.
    pub uuid: [u8; 16],
    /// Bounds on every layer.
    pub limits: Limits,
    /// The image's most bytes. The format's own bound is 16 TiB.
    pub max_bytes: u64,
    /// The most bytes of memory for the layers' names, attributes and links, by estimate.
    pub max_memory: u64,
}

impl Default for ErofsOptions {
    /// No uuid, the archives' limits, 512 GiB, 1 GiB of memory.
    fn default() -> ErofsOptions {
        ErofsOptions {
            uuid: [0; 16],
            limits: Limits::default(),
            max_bytes: 512 << 30,
            max_memory: 1 << 30,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageInfo {
    /// The image's bytes.
    pub bytes: u64,
    /// Files, directories and all else in it.
    pub inodes: u64,
}

/// A layer's stream.
pub type LayerReader<'a> = Box<dyn Read + 'a>;

/// Writes the image of `layers` layers to `out`, whose contents are lost. Layer 0 is the lowest;
/// `open` gives a layer's uncompressed tar stream. It is asked for the topmost first, and may be
/// asked for one a second time. Streams are read to their ends, so a reader that checks a digest
/// there may refuse its layer by an error; an error is also how to cancel.
///
/// Archives mean here what they mean to [`coracle_archive::apply_layer`], as seen through an
/// overlay of what that unpacks. The root directory is as the topmost layer has it: root's with
/// mode 0755 where that doesn't say. Attributes that Linux has none of the kind for are left out.
///
/// # Errors
/// [`Error::Archive`], [`Error::Open`] and the bounds' errors; [`Error::Write`]. The file is empty
/// then.
pub fn write_erofs<'a>(
    out: &File,
    layers: usize,
    open: &mut dyn FnMut(usize) -> io::Result<LayerReader<'a>>,
    options: &ErofsOptions,
) -> Result<ImageInfo> {
    let written = out
        .set_len(0)
        .map_err(Error::Write)
        .and_then(|()| write(out, layers, open, options));
    if written.is_err() {
        // It is of no use in any case; the first error counts.
        let _ = out.set_len(0);
    }
    written
}

fn write<'a>(
    file: &File,
    layers: usize,
    open: &mut dyn FnMut(usize) -> io::Result<LayerReader<'a>>,
    options: &ErofsOptions,
) -> Result<ImageInfo> {
    let mut context = Context {
        tree: Tree::new(options.max_memory),
        out: Out::new(file, BLOCK, options.max_bytes),
        limits: &options.limits,
    };
    let mut open = |layer| open(layer).map_err(|source| Error::Open { layer, source });
    // Topmost first.
    let mut read: Vec<layer::Layer> = Vec::with_capacity(layers);
    for number in (0..layers).rev() {
        let above: Vec<tree::Id> = read.iter().map(|layer| layer.root).collect();
        let stream = open(number)?;
        read.push(layer::read(&mut context, number, stream, View::new(above))?);
    }
    let mut root = None;
    for layer in read.iter().rev() {
        if let Some(below) = root {
            settle::settle(&mut context.tree, layer, below)?;
            merge::merge(&mut context.tree, layer.root, below);
        } else {
            settle::refuse(layer)?;
        }
        root = Some(layer.root);
    }
    let root = match root {
        Some(root) => root,
        None => context.tree.root()?,
    };
    merge::drop_whiteouts(&mut context.tree, root);
    for (number, wanted) in layer::left_out(&context.tree, root) {
        let stream = open(number)?;
        layer::fetch(&mut context, number, stream, &wanted)?;
    }
    let Context { tree, mut out, .. } = context;
    let layout = Layout::new(&tree, root, out.block()?)?;
    image::write(&tree, &layout, &mut out, &options.uuid)
}
