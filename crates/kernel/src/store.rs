//! The kernels there are.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::digest;
use crate::durable;
use crate::error::{Error, Result};
use crate::initrd;
use crate::install::{self, Install};
use crate::name::{self, DEFAULT};
use crate::record::{Kernel, MAX_RECORD, RECORD, Record};

/// Directories that are being filled or removed.
const STAGED: &str = ".new-";
const GONE: &str = ".gone-";

/// Where initial RAM disks are kept.
const INITRDS: &str = ".initrds";

/// Kernels at once, so that nobody fills the disk by accident.
const MAX_KERNELS: usize = 256;

/// A directory of kernels: `NAME/{kernel.json, vmlinux, config, modules/}` each, and the file
/// `default` with the default one's name.
pub struct KernelStore {
    root: PathBuf,
    /// Held while names change.
    names: Mutex<()>,
    /// Digests of inits by path, with what tells that a file is still the same.
    inits: Mutex<HashMap<PathBuf, (Identity, String)>>,
}

/// Device, inode, size, and time of the last change in nanoseconds.
type Identity = (u64, u64, u64, i128);

/// A number that no other call in this process gives, with the process's.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", std::process::id())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KernelStore {
    /// Opens the store in `root`, which is created, and removes what was begun and not finished.
    pub fn open(root: &Path) -> Result<KernelStore> {
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        for directory in [root.to_owned(), root.join(INITRDS)] {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("list", &directory)(error)),
            };
            for entry in entries {
                let path = entry.map_err(Error::io("list", &directory))?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with(STAGED) || name.starts_with(GONE) {
                    discard(&path).map_err(Error::io("remove", &path))?;
                }
            }
        }
        Ok(KernelStore {
            root: root.to_owned(),
            names: Mutex::new(()),
            inits: Mutex::new(HashMap::new()),
        })
    }

    /// All kernels, by name. A damaged one is an error: [`remove`](KernelStore::remove) it.
    pub fn list(&self) -> Result<Vec<Kernel>> {
        let mut names = self.names()?;
        names.sort();
        names.iter().map(|name| self.get(name)).collect()
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = fs::read_dir(&self.root).map_err(Error::io("list", &self.root))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &self.root))?;
            if let Ok(name) = entry.file_name().into_string()
                && name::check(&name).is_ok()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The kernel of that name.
    pub fn get(&self, name: &str) -> Result<Kernel> {
        let directory = self.directory(name)?;
        let path = directory.join(RECORD);
        let damaged = |reason: String| Error::Damaged {
            name: name.to_owned(),
            reason,
        };
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => file
                .take(MAX_RECORD)
                .read_to_end(&mut bytes)
                .map_err(Error::io("read", &path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(format!("its {RECORD} is gone")));
            }
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        record.into_kernel(name, &directory)
    }

    /// The default kernel. [`Error::NoDefault`] where there is none.
    pub fn default(&self) -> Result<Kernel> {
        let name = self.default_name()?.ok_or(Error::NoDefault)?;
        self.get(&name)
    }

    /// The default kernel's name.
    pub fn default_name(&self) -> Result<Option<String>> {
        let path = self.root.join(DEFAULT);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let name = text.trim_end().to_owned();
                let exists = name::check(&name).is_ok() && self.root.join(&name).is_dir();
                Ok(exists.then_some(name))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// The kernel of that name, or the default one.
    pub fn resolve(&self, name: Option<&str>) -> Result<Kernel> {
        match name {
            Some(name) => self.get(name),
            None => self.default(),
        }
    }

    /// Makes it the default.
    pub fn set_default(&self, name: &str) -> Result<()> {
        let _names = lock(&self.names);
        let kernel = self.get(name)?;
        self.write_default(&kernel.name)
    }

    fn write_default(&self, name: &str) -> Result<()> {
        let path = self.root.join(DEFAULT);
        durable::replace(&path, format!("{name}\n").as_bytes()).map_err(Error::io("write", &path))
    }

    /// Removes it. Machines that run go on. The default is [`Error::IsDefault`] while there are
    /// others.
    pub fn remove(&self, name: &str) -> Result<()> {
        let _names = lock(&self.names);
        let directory = self.directory(name)?;
        let is_default = self.default_name()?.as_deref() == Some(name);
        if is_default && self.names()?.len() > 1 {
            return Err(Error::IsDefault(name.to_owned()));
        }
        let gone = self.root.join(format!("{GONE}{}", unique()));
        fs::rename(&directory, &gone).map_err(Error::io("remove", &directory))?;
        durable::sync_dir(&self.root).map_err(Error::io("sync", &self.root))?;
        if is_default {
            let path = self.root.join(DEFAULT);
            discard(&path).map_err(Error::io("remove", &path))?;
        }
        discard(&gone).map_err(Error::io("remove", &gone))
    }

    /// The directory of a kernel that is there.
    fn directory(&self, name: &str) -> Result<PathBuf> {
        // What can't be a name isn't one: no path is made of it.
        name::check(name).map_err(|_| Error::NotFound(name.to_owned()))?;
        let directory = self.root.join(name);
        if !directory.is_dir() {
            return Err(Error::NotFound(name.to_owned()));
        }
        Ok(directory)
    }

    /// Takes a kernel in; the first becomes the default. On any error nothing is left.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::InvalidName`]; what is wrong with the source:
    /// [`Error::Package`], [`Error::Image`], [`Error::Module`], [`Error::Lacking`],
    /// [`Error::TooLarge`], [`Error::Io`].
    pub fn install(&self, install: &Install) -> Result<Kernel> {
        if let Some(name) = &install.name {
            name::check(name)?;
            self.check_free(name)?;
        }
        let staged = self.root.join(format!("{STAGED}{}", unique()));
        fs::create_dir(&staged).map_err(Error::io("create", &staged))?;
        let result = install::fill(&staged, install).and_then(|name| self.publish(&staged, &name));
        if result.is_err() {
            let _ = discard(&staged);
        }
        result
    }

    fn check_free(&self, name: &str) -> Result<()> {
        if fs::symlink_metadata(self.root.join(name)).is_ok() {
            return Err(Error::AlreadyExists(name.to_owned()));
        }
        Ok(())
    }

    /// Gives a filled directory its name.
    fn publish(&self, staged: &Path, name: &str) -> Result<Kernel> {
        let _names = lock(&self.names);
        self.check_free(name)?;
        let present = self.names()?.len();
        if present >= MAX_KERNELS {
            return Err(Error::Io {
                doing: format!("there are {present} kernels; remove one first"),
                source: io::ErrorKind::QuotaExceeded.into(),
            });
        }
        let directory = self.root.join(name);
        fs::rename(staged, &directory).map_err(Error::io("create", &directory))?;
        durable::sync_dir(&self.root).map_err(Error::io("sync", &self.root))?;
        if self.default_name()?.is_none() {
            self.write_default(name)?;
        }
        self.get(name)
    }

    /// The initial RAM disk for this kernel with this init, made where it isn't there. The eight
    /// made last are kept.
    ///
    /// # Errors
    /// As [`write_initrd`](crate::write_initrd).
    pub fn initrd_for(&self, kernel: &Kernel, init: &Path) -> Result<PathBuf> {
        let digest = self.init_digest(init)?;
        initrd::kept(
            &self.root.join(INITRDS),
            init,
            &digest,
            &kernel.modules,
            &kernel.modules_digest,
        )
    }

    /// The init's digest; read again only where the file is another.
    fn init_digest(&self, init: &Path) -> Result<String> {
        use std::os::unix::fs::MetadataExt;
        let file = File::open(init).map_err(Error::io("open", init))?;
        let found = file.metadata().map_err(Error::io("look at", init))?;
        let changed = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
        let identity = (found.dev(), found.ino(), found.size(), changed);
        if let Some((known, digest)) = lock(&self.inits).get(init)
            && *known == identity
        {
            return Ok(digest.clone());
        }
        let digest = digest::of_reader(file).map_err(Error::io("read", init))?;
        lock(&self.inits).insert(init.to_owned(), (identity, digest.clone()));
        Ok(digest)
    }
}

/// Removes a file or a directory; none there is no error.
fn discard(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
