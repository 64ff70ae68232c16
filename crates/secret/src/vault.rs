//! The vault: which secrets and configs there are, and their values.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::cipher::{self, TAG_LENGTH};
use crate::entry::{Header, MAX_HEADER};
use crate::files::{self, STAGE};
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

/// A file, not decrypted.
struct Sealed {
    header: Header,
    line: Vec<u8>,
    sealed: Vec<u8>,
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
            id: new_id()?,
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
    fn finish_rotation(&self) -> Result<usize> {
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

    fn read(&self, keys: &Keys, kind: Kind, id: &str) -> Result<(Header, Zeroizing<Vec<u8>>)> {
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

    fn load(&self, kind: Kind, id: &str) -> Result<Sealed> {
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

    fn write(&self, keys: &Keys, entry: &Entry, value: &[u8]) -> Result<()> {
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
    fn read_all(&self, kind: Kind) -> Result<()> {
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

    fn ids(&self, kind: Kind) -> Result<Vec<String>> {
        let mut names = names(&self.root.join(kind.directory()))?;
        names.retain(|name| is_id(name));
        Ok(names)
    }

    fn path(&self, kind: Kind, id: &str) -> PathBuf {
        self.root.join(kind.directory()).join(id)
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
    #[allow(clippy::unused_self)]
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

/// The names in a directory; none where it isn't there.
fn names(directory: &Path) -> Result<Vec<String>> {
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

/// Letters and digits of an id, as Docker's.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 25;

fn is_id(name: &str) -> bool {
    name.len() == ID_LENGTH && name.bytes().all(|byte| DIGITS.contains(&byte))
}

fn new_id() -> Result<String> {
    let mut id = String::with_capacity(ID_LENGTH);
    while id.len() < ID_LENGTH {
        for byte in cipher::random::<32>()? {
            // 252 is seven times 36: each digit is as likely as any other.
            let digit = (byte < 252).then(|| DIGITS.get(usize::from(byte) % DIGITS.len()));
            match digit.flatten() {
                Some(digit) if id.len() < ID_LENGTH => id.push(char::from(*digit)),
                _ => {}
            }
        }
    }
    Ok(id)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
