//! The exit record: how the container ended, for whoever asks after the shim is gone.

use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;

use coracle_task::Exit;

/// Writes the record, so that it is there whole or not at all; with `durable` it survives a
/// crash of the host.
pub(crate) fn write(path: &Path, exit: &Exit, durable: bool) -> io::Result<()> {
    write_file(path, &serde_json::to_vec(exit)?, durable)
}

/// Replaces the content of a file atomically.
pub(crate) fn write_file(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let result = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        std::fs::rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result?;
    match path.parent() {
        Some(parent) if durable => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit.json");
        for durable in [false, true] {
            write_file(&path, b"one", durable).unwrap();
            write_file(&path, b"two", durable).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"two");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_file(&dir.path().join("no/exit.json"), b"", false).is_err());
    }
}
