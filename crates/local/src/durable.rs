//! Files that are whole or not there, whatever is killed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of a file of ours that are read back.
const MAX_LENGTH: u64 = 16 << 20;

/// How far a write is carried before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives the death of any process: renamed into place.
    Process,
    /// Survives a power cut as well: synced, renamed, and the directory synced.
    Disk,
}

/// Makes a directory that nobody else may look into, if it isn't there.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Writes a value as JSON, replacing what was there.
pub(crate) fn write_json<T: Serialize>(
    path: &Path,
    value: &T,
    durability: Durability,
) -> io::Result<()> {
    write(path, &serde_json::to_vec_pretty(value)?, durability)
}

/// Writes bytes, replacing what was there.
pub(crate) fn write(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staged = directory.join(format!(".{name}.new"));
    let mut file = File::create(&staged)?;
    file.write_all(bytes)?;
    if durability == Durability::Disk {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&staged, path)?;
    if durability == Durability::Disk {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Reads what [`write_json`] wrote; `None` where there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match fs::metadata(path) {
        Ok(meta) if meta.len() > MAX_LENGTH => {
            return Err(io::Error::other(format!("{} is too long", path.display())));
        }
        Ok(_) => fs::read(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let value = serde_json::from_slice(&bytes)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    Ok(Some(value))
}

/// Removes a directory and all in it; none there is no error.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert_eq!(read_json::<u32>(&path).unwrap(), None);
        write_json(&path, &1_u32, Durability::Disk).unwrap();
        write_json(&path, &2_u32, Durability::Process).unwrap();
        assert_eq!(read_json::<u32>(&path).unwrap(), Some(2));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(&path, "nonsense").unwrap();
        assert!(read_json::<u32>(&path).is_err());
    }
}
