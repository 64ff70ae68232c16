//! Files that are whole or not there, whatever is killed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a new file and syncs it. Its directory is for the caller to sync.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Replaces a file's contents in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let staged = directory.join(format!(".new-{name}"));
    let mut file = File::create(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&staged, path)?;
    sync_dir(directory)
}

/// Makes what was created, renamed or removed in a directory last.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
