//! The vault: which secrets and configs there are, and their values.

mod file;
mod id;
mod rotate;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::files;
use crate::keys::Keys;
use crate::{Entry, Error, Kind, Result};

/// All secrets and configs below a directory, which nobody else writes to meanwhile.
///
/// Calls that touch the disk block; [`Self::list`] and [`Self::find`] don't.
#[derive(Debug)]
pub struct Vault {
    root: PathBuf,
    entries: RwLock<BTreeMap<(Kind, String), Entry>>,
    /// Held shared to read a file with its key, exclusively to change any of them.
    work: RwLock<()>,
    #[cfg(test)]
    pub(crate) steps_left: std::sync::atomic::AtomicI64,
}

impl Vault {
    /// Reads what there is, and finishes what was cut short. A directory that is not there is an empty
    /// vault, which is made with its first value.
    ///
    /// What can't be read is left alone, with an error in the log. So is an exchange of keys that
    /// can't be finished: values under the old key can be opened as before.
    ///
    /// # Errors
    /// If the directory is there and can't be listed.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let vault = Self {
            root: root.into(),
            entries: RwLock::default(),
            work: RwLock::default(),
            #[cfg(test)]
            steps_left: i64::MAX.into(),
        };
        for kind in Kind::ALL {
            vault.read_all(kind)?;
        }
        let _work = vault.changing();
        if let Err(error) = vault.finish_rotation() {
            tracing::error!(%error, "the exchange of the secrets' key can't be finished");
        }
        drop(_work);
        Ok(vault)
    }

    /// All of a kind, by id.
    pub fn list(&self, kind: Kind) -> Vec<Entry> {
        let entries = self.entries();
        let of_kind = entries.values().filter(|entry| entry.kind == kind);
        of_kind.cloned().collect()
    }

    /// The one with this id, else this name, else whose id alone begins so.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub fn find(&self, kind: Kind, name: &str) -> Result<Entry> {
        let entries = self.entries();
        if let Some(entry) = entries.get(&(kind, name.to_owned())) {
            return Ok(entry.clone());
        }
        let of_kind = || entries.values().filter(|entry| entry.kind == kind);
        if let Some(entry) = of_kind().find(|entry| entry.name == name) {
            return Ok(entry.clone());
        }
        let found: Vec<&Entry> = of_kind()
            .filter(|entry| !name.is_empty() && entry.id.starts_with(name))
            .collect();
        let name = name.to_owned();
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(Error::NotFound { kind, name }),
            several => Err(Error::Ambiguous {
                kind,
                name,
                count: several.len(),
            }),
        }
    }

    /// Keeps a value under a new name. The first one makes the key.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Invalid`] for names and sizes; nothing is left then.
    pub fn create(
        &self,
        kind: Kind,
        name: &str,
        labels: BTreeMap<String, String>,
        value: &[u8],
    ) -> Result<Entry> {
        crate::check_name(name)?;
        kind.check(value)?;
        let _work = self.changing();
        if self.list(kind).iter().any(|entry| entry.name == name) {
            let name = name.to_owned();
            return Err(Error::AlreadyExists { kind, name });
        }
        let now = Timestamp::now();
        let entry = Entry {
            kind,
            id: id::new()?,
            name: name.to_owned(),
            labels,
            version: 1,
            created: now,
            updated: now,
        };
        files::make_dir(&self.root)?;
        files::check_dir(&self.root)?;
        files::make_dir(&self.root.join(kind.directory()))?;
        let mut keys = Keys::load(&self.root)?;
        if keys.newest().is_none() {
            keys.add(&|| self.step())?;
        }
        self.write(&keys, &entry, value)?;
        self.remember(entry.clone());
        Ok(entry)
    }

    /// A value, which is overwritten when it is dropped.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it isn't what was kept, [`Error::Exposed`] where the key is open to
    /// others.
    pub fn value(&self, kind: Kind, id: &str) -> Result<Zeroizing<Vec<u8>>> {
        let _work = self.work.read().unwrap_or_else(PoisonError::into_inner);
        let keys = Keys::load(&self.root)?;
        let (_, value) = self.read(&keys, kind, id)?;
        Ok(value)
    }

    /// Gives it other labels. `version` is the one that is to be changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it has been changed meanwhile.
    pub fn relabel(
        &self,
        kind: Kind,
        id: &str,
        version: u64,
        labels: BTreeMap<String, String>,
    ) -> Result<Entry> {
        let _work = self.changing();
        let mut entry = self.find(kind, id)?;
        if entry.version != version {
            return Err(Error::Invalid("update out of sequence".into()));
        }
        let keys = Keys::load(&self.root)?;
        let (_, value) = self.read(&keys, kind, &entry.id)?;
        entry.labels = labels;
        entry.version = entry.version.saturating_add(1);
        entry.updated = Timestamp::now();
        self.write(&keys, &entry, &value)?;
        self.remember(entry.clone());
        Ok(entry)
    }

    /// Removes one, by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn remove(&self, kind: Kind, id: &str) -> Result<Entry> {
        let _work = self.changing();
        let entry = self.find(kind, id)?;
        let path = self.path(kind, &entry.id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
        files::sync_dir(&self.root.join(kind.directory()))?;
        let key = (kind, entry.id.clone());
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.remove(&key);
        Ok(entry)
    }

    fn remember(&self, entry: Entry) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert((entry.kind, entry.id.clone()), entry);
    }

    fn entries(&self) -> RwLockReadGuard<'_, BTreeMap<(Kind, String), Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> RwLockWriteGuard<'_, ()> {
        self.work.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where tests cut the power.
    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "in tests it counts")]
    fn step(&self) -> Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&self) -> Result<()> {
        use std::sync::atomic::Ordering;
        match self.steps_left.fetch_sub(1, Ordering::Relaxed) {
            ..=0 => Err(Error::Cipher),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
