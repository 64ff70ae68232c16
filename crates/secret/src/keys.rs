//! The keys: `keys/<number>.key`, 32 bytes each. The highest number is the one that is written with;
//! there are others only while the key is being exchanged.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cipher::{self, KEY_LENGTH, Key};
use crate::files::{self, STAGE};
use crate::{Error, Result};

const SUFFIX: &str = ".key";

/// All keys that there are. Read for each piece of work, and overwritten after it.
pub(crate) struct Keys {
    directory: PathBuf,
    keys: BTreeMap<u64, Key>,
}

impl Keys {
    pub(crate) fn directory(root: &Path) -> PathBuf {
        root.join("keys")
    }

    /// Reads them. None at all is no error.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let directory = Self::directory(root);
        let mut keys = BTreeMap::new();
        match files::check_dir(&directory) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { directory, keys });
            }
            checked => checked?,
        }
        let listed = fs::read_dir(&directory).map_err(Error::io("list", &directory))?;
        for found in listed {
            let name = found.map_err(Error::io("list", &directory))?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
            if let Some(number) = number {
                keys.insert(number, read(&directory.join(name))?);
            }
        }
        Ok(Self { directory, keys })
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Key> {
        self.keys.get(&number)
    }

    /// The key to write with.
    pub(crate) fn newest(&self) -> Option<(u64, &Key)> {
        self.keys
            .last_key_value()
            .map(|(number, key)| (*number, key))
    }

    /// The keys that nothing more is written with.
    pub(crate) fn older(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.keys.keys().copied().collect();
        numbers.pop();
        numbers
    }

    /// Makes a new one, which is on disk before it is used.
    pub(crate) fn add(&mut self, step: &dyn Fn() -> Result<()>) -> Result<u64> {
        files::make_dir(&self.directory)?;
        files::check_dir(&self.directory)?;
        let number = self.newest().map_or(1, |(number, _)| number + 1);
        let key = Key::new(cipher::random::<KEY_LENGTH>()?);
        let place = self.directory.join(format!("{number}{SUFFIX}"));
        let stage = self.directory.join(format!("{STAGE}{number}"));
        files::stage(&stage, &[key.as_slice()])?;
        step()?;
        fs::rename(&stage, &place).map_err(Error::io("write", &place))?;
        files::sync_dir(&self.directory)?;
        step()?;
        self.keys.insert(number, key);
        Ok(number)
    }

    /// Overwrites and removes one. What the disk or its file system keeps of it is not in our hands.
    pub(crate) fn remove(&mut self, number: u64, step: &dyn Fn() -> Result<()>) -> Result<()> {
        let path = self.directory.join(format!("{number}{SUFFIX}"));
        let overwrite = || {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            file.write_all(&[0; KEY_LENGTH])?;
            file.sync_all()
        };
        overwrite().map_err(Error::io("overwrite", &path))?;
        step()?;
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        files::sync_dir(&self.directory)?;
        self.keys.remove(&number);
        step()
    }
}

fn read(path: &Path) -> Result<Key> {
    let file = files::open(path).map_err(Error::io("read", path))?;
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    files::check_private(path, &metadata)?;
    let mut key = Key::new([0; KEY_LENGTH]);
    let mut read = || {
        if metadata.len() != KEY_LENGTH as u64 {
            return Err(io::Error::other("it is not a key"));
        }
        io::Read::read_exact(&mut &file, key.as_mut_slice())
    };
    read().map_err(Error::io("read", path))?;
    Ok(key)
}
