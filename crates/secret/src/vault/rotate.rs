//! The exchange of the key, which may be cut short anywhere.

use super::Vault;
use crate::keys::Keys;
use crate::{Error, Kind, Result};

impl Vault {
    /// Puts everything under a new key, and removes the old one; how many values there were.
    ///
    /// May be cut short anywhere: the next [`Self::open`] or `rotate` goes on.
    ///
    /// # Errors
    /// [`Error::Unfinished`] where some can't be opened; the others are under the new key.
    pub fn rotate(&self) -> Result<usize> {
        let _work = self.changing();
        let mut keys = Keys::load(&self.root)?;
        if keys.newest().is_none() {
            return Ok(0);
        }
        keys.add(&|| self.step())?;
        drop(keys);
        self.finish_rotation()
    }

    /// With `work` held.
    pub(super) fn finish_rotation(&self) -> Result<usize> {
        let mut keys = Keys::load(&self.root)?;
        let older = keys.older();
        let Some((newest, _)) = keys.newest().filter(|_| !older.is_empty()) else {
            return Ok(0);
        };
        let mut count = 0;
        let mut failed = Vec::new();
        // From the disk: what could not be read at the start counts as well.
        for kind in Kind::ALL {
            for id in self.ids(kind)? {
                let done = self.under_newest(&keys, newest, kind, &id);
                match done {
                    Ok(()) => count += 1,
                    Err(error @ Error::Damaged { .. }) => failed.push(error.to_string()),
                    Err(error) => return Err(error),
                }
            }
        }
        if !failed.is_empty() {
            return Err(Error::Unfinished(failed.join("; ")));
        }
        for number in older {
            keys.remove(number, &|| self.step())?;
        }
        Ok(count)
    }

    fn under_newest(&self, keys: &Keys, newest: u64, kind: Kind, id: &str) -> Result<()> {
        let (header, value) = self.read(keys, kind, id)?;
        if header.key == newest {
            return Ok(());
        }
        self.write(keys, &header.entry(), &value)
    }
}
