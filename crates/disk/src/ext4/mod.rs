//! An empty ext4, as `mke2fs` would make it but with next to nothing written.
//!
//! Everything that may be left out of a new file system is: groups whose bitmaps the kernel can
//! work out are marked so (`BLOCK_UNINIT`, `INODE_UNINIT`), inode tables are holes that read as
//! zeros and are marked as such (`INODE_ZEROED`), so that no thread of the kernel fills them in
//! later, and the journal is a hole behind its first block.
//!
//! The kernel grows it while it is mounted: there is no resize inode, so it changes to descriptors
//! in their own groups (`meta_bg`) when it does.
//!
//! Written after the kernel's `Documentation/filesystems/ext4`, in blocks of 4 KiB throughout.

mod layout;
mod write;

use std::fs::File;

use crate::error::{Error, Result};
use layout::Layout;

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// The smallest ext4 that is made, in bytes.
pub const MIN_EXT4: u64 = 8 << 20;

/// The largest ext4 that is made, in bytes.
pub const MAX_EXT4: u64 = 16 << 40;

/// The journal's least bytes, of the kernel's making (`JBD2_MIN_JOURNAL_BLOCKS`).
const MIN_JOURNAL: u64 = 1024 * BLOCK;

/// How an ext4 is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4Options {
    /// Names the file system, and seeds its checksums and its directories' hashes.
    pub uuid: [u8; 16],
    /// Bytes of the journal, a multiple of 4 KiB from 4 MiB; None for none. Without one a crash of
    /// the machine may cost more than what was written last.
    pub journal: Option<u64>,
    /// Seconds since 1970 that are noted as the time of its making.
    pub time: u32,
}

impl Default for Ext4Options {
    /// A journal of 4 MiB; no uuid, which is fine for a disk that is alone in its machine.
    fn default() -> Ext4Options {
        Ext4Options {
            uuid: [0; 16],
            journal: Some(MIN_JOURNAL),
            time: 0,
        }
    }
}

/// Bytes that are free in an ext4, as its superblock says: exact when nobody has it mounted.
///
/// # Errors
/// If it can't be read, or is no ext4.
pub fn free_bytes(file: &File) -> std::io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let mut superblock = [0; 1024];
    file.read_exact_at(&mut superblock, 1024)?;
    let number = |at: usize| -> u64 {
        let bytes = superblock.get(at..at + 4).and_then(|b| b.try_into().ok());
        u64::from(u32::from_le_bytes(bytes.unwrap_or_default()))
    };
    // s_magic; s_free_blocks_count_lo and _hi, s_log_block_size (ext4(5), "The Super Block").
    if superblock.get(0x38..0x3a) != Some(&[0x53, 0xef]) {
        return Err(std::io::Error::other("it is no ext4 file system"));
    }
    let blocks = number(0x0c) | number(0x158) << 32;
    Ok(blocks.saturating_mul(1024 << number(0x18).min(6)))
}

/// Bytes of an ext4 in which files find `room` bytes, without those that the kernel keeps for itself: to be
/// given to [`format_ext4`]. What directories and the lists of large files' blocks take is part of the room.
/// At least [`MIN_EXT4`]; it may be more than [`MAX_EXT4`], and is for a room above that.
pub fn ext4_for(room: u64, journal: Option<u64>) -> u64 {
    // A group that is too small to be of use is given up until there is enough for it.
    const STEP: u64 = 64;
    let wanted = room.min(2 * MAX_EXT4).div_ceil(BLOCK);
    let mut blocks = wanted.max(MIN_EXT4 / BLOCK);
    loop {
        let layout = Layout::new(blocks, journal.unwrap_or_default() / BLOCK);
        // The root directory; and what the kernel has for metadata of what it has promised to write
        // (fs/ext4/super.c, ext4_set_resv_clusters).
        let taken = layout.overhead() + 1 + (layout.blocks / 50).min(4096);
        match wanted.saturating_sub(layout.blocks.saturating_sub(taken)) {
            0 => return layout.blocks * BLOCK,
            missing => blocks += missing.max(STEP),
        }
    }
}

/// Makes an empty ext4 of `bytes` (rounded down to whole blocks) in `file`, whose contents are
/// lost. The file becomes sparse: a few hundred KiB of it are written, and its length is `bytes`.
///
/// The root directory is root's, with mode 0755, and empty: there is no `lost+found`.
///
/// # Errors
/// [`Error::Size`] below [`MIN_EXT4`] or above [`MAX_EXT4`], [`Error::Journal`],
/// [`Error::Write`]: the file is empty then.
pub fn format_ext4(file: &File, bytes: u64, options: &Ext4Options) -> Result<()> {
    if !(MIN_EXT4..=MAX_EXT4).contains(&bytes) {
        return Err(Error::Size {
            bytes,
            min: MIN_EXT4,
            max: MAX_EXT4,
        });
    }
    let journal = options.journal.unwrap_or_default();
    // An extent has 32768 blocks at most, and the first group has to hold it.
    let max = (bytes / 2).min(64 << 20);
    if options.journal.is_some()
        && (!(MIN_JOURNAL..=max).contains(&journal) || !journal.is_multiple_of(BLOCK))
    {
        return Err(Error::Journal {
            bytes: journal,
            min: MIN_JOURNAL,
            max,
        });
    }
    let layout = Layout::new(bytes / BLOCK, journal / BLOCK);
    let written = file
        .set_len(0)
        .and_then(|()| file.set_len(bytes))
        .and_then(|()| write::write(file, &layout, options));
    written.map_err(|error| {
        // It is of no use in any case; the first error counts.
        let _ = file.set_len(0);
        Error::Write(error)
    })
}
