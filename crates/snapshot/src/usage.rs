//! How much a container wrote.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use coracle_archive::Walker;

use crate::error::{Result, failed};

/// What a tree takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sizes of all files, hard links counted once: what Docker calls the size of a container.
    pub bytes: u64,
    /// Bytes allocated on disk, directories included.
    pub disk: u64,
    /// Files, directories and everything else, hard links counted once, the top not counted.
    pub inodes: u64,
}

pub(crate) fn usage_of(dir: &Path) -> Result<Usage> {
    let root = File::open(dir).map_err(failed("open", dir))?;
    let mut walker = Walker::new(root.as_fd());
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    while let Some(step) = walker.next_step()? {
        let stat = &step.stat;
        if step.path.is_empty() {
            continue;
        }
        let is_dir = step.file_type().is_dir();
        if !is_dir && stat.stx_nlink > 1 && !linked.insert(stat.stx_ino) {
            continue;
        }
        usage.inodes += 1;
        usage.disk += stat.stx_blocks * 512;
        if !is_dir {
            usage.bytes += stat.stx_size;
        }
    }
    Ok(usage)
}
