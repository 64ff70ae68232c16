//! The file of a value: a line about it, and what is encrypted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Vault;
use super::id::is_id;
use crate::cipher::{self, TAG_LENGTH};
use crate::entry::{Header, MAX_HEADER};
use crate::files::{self, STAGE};
use crate::keys::Keys;
use crate::{Entry, Error, Kind, Result};

/// A file, not decrypted.
pub(super) struct Sealed {
    pub(super) header: Header,
    pub(super) line: Vec<u8>,
    pub(super) sealed: Vec<u8>,
}

impl Vault {
    pub(super) fn read(
        &self,
        keys: &Keys,
        kind: Kind,
        id: &str,
    ) -> Result<(Header, Zeroizing<Vec<u8>>)> {
        let Sealed {
            header,
            line,
            sealed,
        } = self.load(kind, id)?;
        let damaged = |why: &str| Error::Damaged {
            kind,
            name: header.entry().name,
            why: why.into(),
        };
        let key = keys
            .get(header.key)
            .ok_or_else(|| damaged("the key that it was encrypted with is not there"))?;
        let value = cipher::open(key, &header.nonce, &line, sealed)
            .ok_or_else(|| damaged("its file was changed, or the key is another one"))?;
        Ok((header, value))
    }

    pub(super) fn write(&self, keys: &Keys, entry: &Entry, value: &[u8]) -> Result<()> {
        let (number, key) = keys.newest().ok_or(Error::Cipher)?;
        let nonce = cipher::nonce()?;
        let line = Header::new(entry, number, nonce.clone()).to_line()?;
        let sealed = cipher::seal(key, &nonce, &line, value)?;
        let directory = self.root.join(entry.kind.directory());
        let stage = directory.join(format!("{STAGE}{}", entry.id));
        let staged = files::stage(&stage, &[&line, b"\n", &sealed]);
        if staged.is_err() {
            // Gone with the next open at the latest.
            let _ = fs::remove_file(&stage);
        }
        staged?;
        self.step()?;
        let place = self.path(entry.kind, &entry.id);
        fs::rename(&stage, &place).map_err(Error::io("write", &place))?;
        files::sync_dir(&directory)?;
        self.step()
    }

    /// Takes in the files of a kind, and clears away those that aren't complete.
    pub(super) fn read_all(&self, kind: Kind) -> Result<()> {
        let directory = self.root.join(kind.directory());
        for name in names(&directory)? {
            if name.starts_with(STAGE) {
                let path = directory.join(name);
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        for id in self.ids(kind)? {
            match self.load(kind, &id) {
                Ok(file) => self.remember(file.header.entry()),
                Err(error) => tracing::error!(%error, "left alone"),
            }
        }
        Ok(())
    }

    pub(super) fn load(&self, kind: Kind, id: &str) -> Result<Sealed> {
        let path = self.path(kind, id);
        let limit = MAX_HEADER + 1 + kind.limit() + TAG_LENGTH;
        let mut bytes = match files::read(&path, limit) {
            Ok(bytes) => bytes,
            Err(error) => {
                return Err(Error::Damaged {
                    kind,
                    name: id.to_owned(),
                    why: error.to_string(),
                });
            }
        };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let end = end.unwrap_or(bytes.len());
        let sealed = bytes.get(end + 1..).unwrap_or_default().to_vec();
        bytes.truncate(end);
        Ok(Sealed {
            header: Header::read(&bytes, kind, id)?,
            line: bytes,
            sealed,
        })
    }

    pub(super) fn ids(&self, kind: Kind) -> Result<Vec<String>> {
        let mut names = names(&self.root.join(kind.directory()))?;
        names.retain(|name| is_id(name));
        Ok(names)
    }

    pub(super) fn path(&self, kind: Kind, id: &str) -> PathBuf {
        self.root.join(kind.directory()).join(id)
    }
}

/// The names in a directory; none where it isn't there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = || Error::io("list", directory);
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed())?,
    };
    let mut names = Vec::new();
    for entry in listed {
        let name = entry.map_err(failed())?.file_name();
        names.extend(name.into_string().ok());
    }
    Ok(names)
}
