//! Volumes: directories under the data root that outlive containers.
//!
//! `volumes/<name>/volume.json` and `volumes/<name>/_data`. A directory without the file is a
//! creation that was cut short, and is cleared away at the next start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use coracle_runtime::volume::{Volume, VolumeSpec};
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable::{self, Durability};
use crate::engine::Engine;
use crate::ident;

const FILE: &str = "volume.json";
const DATA: &str = "_data";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saved {
    version: u32,
    created: Timestamp,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    anonymous: bool,
}

/// All volumes.
#[derive(Debug)]
pub(crate) struct Volumes {
    root: PathBuf,
    table: Mutex<BTreeMap<String, Saved>>,
}

impl Volumes {
    /// Reads what there is, and clears away what was cut short.
    pub(crate) fn open(data_root: &Path) -> io::Result<Self> {
        let root = data_root.join("volumes");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o701)
            .create(&root)?;
        let mut table = BTreeMap::new();
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            match durable::read_json::<Saved>(&entry.path().join(FILE)) {
                Ok(Some(saved)) => drop(table.insert(name, saved)),
                Ok(None) => durable::remove_dir(&entry.path())?,
                Err(error) => tracing::error!(name, %error, "a volume can't be read; left alone"),
            }
        }
        Ok(Self {
            root,
            table: Mutex::new(table),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Saved>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.root.join(name).join(DATA)
    }

    fn describe(&self, name: &str, saved: &Saved) -> Volume {
        Volume {
            name: name.to_owned(),
            driver: "local".into(),
            mountpoint: self.data(name).to_string_lossy().into_owned(),
            created: saved.created,
            labels: saved.labels.clone(),
            options: saved.options.clone(),
            anonymous: saved.anonymous,
            ref_count: None,
            size: None,
        }
    }

    pub(crate) fn list(&self) -> Vec<Volume> {
        self.lock()
            .iter()
            .map(|(name, saved)| self.describe(name, saved))
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> Result<Volume> {
        self.lock()
            .get(name)
            .map(|saved| self.describe(name, saved))
            .ok_or_else(|| no_such_volume(name))
    }

    /// Makes a volume, or gives the one of that name. `true` where it is new.
    pub(crate) fn create(&self, spec: VolumeSpec, anonymous: bool) -> Result<(Volume, bool)> {
        if !matches!(spec.driver.as_str(), "" | "local") {
            return Err(RuntimeError::NotFound(format!(
                "error looking up volume plugin {}: plugin \"{0}\" not found",
                spec.driver
            )));
        }
        if let Some(option) = spec.driver_opts.keys().next() {
            return Err(RuntimeError::InvalidArgument(format!(
                "volume option {option:?} is not supported: only plain local volumes are"
            )));
        }
        let anonymous = anonymous || spec.name.is_empty();
        let name = if spec.name.is_empty() {
            ident::new_id()
        } else {
            spec.name
        };
        ident::check_name("volume", &name).map_err(|_| {
            RuntimeError::InvalidArgument(format!(
                "create {name}: \"{name}\" includes invalid characters for a local volume name, \
                 only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host \
                 directory, use absolute path"
            ))
        })?;
        let mut table = self.lock();
        if let Some(saved) = table.get(&name) {
            return Ok((self.describe(&name, saved), false));
        }
        let saved = Saved {
            version: 1,
            created: Timestamp::now(),
            labels: spec.labels,
            options: spec.driver_opts,
            anonymous,
        };
        let failed = |error: io::Error| {
            RuntimeError::Internal(format!("cannot make volume {name}: {error}"))
        };
        let directory = self.root.join(&name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o701)
            .create(&directory)
            .map_err(failed)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(self.data(&name))
            .map_err(failed)?;
        let durability = if anonymous {
            Durability::Process
        } else {
            Durability::Disk
        };
        durable::write_json(&directory.join(FILE), &saved, durability).map_err(failed)?;
        let volume = self.describe(&name, &saved);
        table.insert(name, saved);
        Ok((volume, true))
    }

    /// Removes a volume that no container uses.
    pub(crate) fn remove(&self, engine: &Engine, name: &str, force: bool) -> Result<bool> {
        let users = users(engine, name, "");
        let mut table = self.lock();
        if !table.contains_key(name) {
            return if force {
                Ok(false)
            } else {
                Err(no_such_volume(name))
            };
        }
        if !users.is_empty() {
            return Err(RuntimeError::InvalidState(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        let failed = |error: io::Error| {
            RuntimeError::Internal(format!("cannot remove volume {name}: {error}"))
        };
        let directory = self.root.join(name);
        match fs::remove_file(directory.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        durable::remove_dir(&directory).map_err(failed)?;
        table.remove(name);
        Ok(true)
    }

    /// Removes an anonymous volume with its container, unless another one uses it too.
    pub(crate) fn remove_unused(&self, engine: &Engine, name: &str, container: &str) {
        if users(engine, name, container).is_empty()
            && let Err(error) = self.remove_owned(name)
        {
            tracing::warn!(name, %error, "cannot remove an anonymous volume");
        }
    }

    fn remove_owned(&self, name: &str) -> io::Result<()> {
        let mut table = self.lock();
        if table.get(name).is_some_and(|saved| saved.anonymous) {
            let directory = self.root.join(name);
            fs::remove_file(directory.join(FILE))?;
            durable::remove_dir(&directory)?;
            table.remove(name);
        }
        Ok(())
    }

    /// The directory to mount: the volume's, or one inside it that no link leads out of.
    pub(crate) fn source(&self, name: &str, subpath: &str) -> Result<PathBuf> {
        if !self.lock().contains_key(name) {
            return Err(no_such_volume(name));
        }
        let data = self.data(name);
        if subpath.is_empty() {
            return Ok(data);
        }
        let relative = Path::new(subpath);
        let plain = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let resolved = fs::canonicalize(data.join(relative)).map_err(|error| {
            RuntimeError::InvalidArgument(format!(
                "cannot access path {subpath:?} in volume {name}: {error}"
            ))
        })?;
        let base = fs::canonicalize(&data).map_err(|error| {
            RuntimeError::Internal(format!("cannot access volume {name}: {error}"))
        })?;
        if !plain || !resolved.starts_with(&base) {
            return Err(RuntimeError::InvalidArgument(format!(
                "invalid volume subpath {subpath:?}: it leads out of the volume"
            )));
        }
        Ok(resolved)
    }

    /// Bytes on disk, each inode once.
    pub(crate) fn size(&self, name: &str) -> u64 {
        let mut seen = std::collections::HashSet::new();
        let mut total = 0_u64;
        let mut queue = vec![self.data(name)];
        while let Some(directory) = queue.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    queue.push(entry.path());
                } else if meta.nlink() == 1 || seen.insert(meta.ino()) {
                    total = total.saturating_add(meta.len());
                }
            }
        }
        total
    }
}

/// Ids of the containers that use a volume, but for one.
pub(crate) fn users(engine: &Engine, name: &str, except: &str) -> Vec<String> {
    engine
        .containers
        .all()
        .into_iter()
        .filter(|handle| &*handle.id != except)
        .filter(|handle| {
            let record = handle.now().record;
            record
                .mounts
                .iter()
                .any(|mount| mount.point.kind == "volume" && mount.point.name == name)
        })
        .map(|handle| handle.id.to_string())
        .collect()
}

fn no_such_volume(name: &str) -> RuntimeError {
    RuntimeError::NotFound(format!("get {name}: no such volume"))
}
