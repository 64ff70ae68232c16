//! Disk images for virtual machines, written without mounting anything and without privileges.
//!
//! # What it owns
//! - [`write_erofs`]: an image's layers as one read-only EROFS file system.
//! - [`format_ext4`]: an empty ext4 in a sparse file, in milliseconds.
//!
//! # What it must not know
//! Images, digests, blobs, virtual machines: it is given streams and files. It is synchronous:
//! callers bring their own thread.
//!
//! # Invariants
//! - Layers are hostile: what [`coracle_archive`] refuses to unpack is refused here, by the same
//!   errors; everything they declare is bounded by [`ErofsOptions`].
//! - The same input gives the same bytes. Nothing is taken from the clock or at random.
//! - An image has no superblock until all the rest of it is written: what an error or a crash
//!   leaves behind is never taken for a file system.
//! - Nothing is synchronised to disk: that is for the caller to do.

#![forbid(unsafe_code)]

mod bytes;
mod crc32c;
mod erofs;
mod error;
mod ext4;

pub use erofs::{ErofsOptions, ImageInfo, LayerReader, write_erofs};
pub use error::{Error, Result};
pub use ext4::{Ext4Options, MAX_EXT4, MIN_EXT4, ext4_for, format_ext4, free_bytes};
