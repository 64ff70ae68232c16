//! What a template is called: a digest of everything that shapes it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ring::digest::{Context, SHA256};

use crate::error::{Error, Result};

/// A digest of named parts.
pub(crate) struct Key(Context);

impl Key {
    pub(crate) fn new() -> Key {
        Key(Context::new(&SHA256))
    }

    /// Adds a part; parts can't run into each other.
    pub(crate) fn text(&mut self, part: &str) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part.as_bytes());
    }

    /// Adds a file by its identity: place, size and time of change. Reading a kernel would take
    /// longer than continuing a template does.
    pub(crate) fn file(&mut self, path: &Path) -> Result<()> {
        let found = fs::metadata(path).map_err(Error::io(format!("finding {}", path.display())))?;
        self.text(&path.to_string_lossy());
        for number in [
            found.dev() as i64,
            found.ino() as i64,
            found.len() as i64,
            found.mtime(),
            found.mtime_nsec(),
        ] {
            self.0.update(&number.to_le_bytes());
        }
        Ok(())
    }

    /// 64 hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        use std::fmt::Write;
        let digest = self.0.finish();
        digest
            .as_ref()
            .iter()
            .fold(String::new(), |mut text, byte| {
                // Writing to a string can't fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}
