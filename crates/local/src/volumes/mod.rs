//! Volumes: directories under the data root that outlive containers, such with a size, directories of the
//! host's, file systems that are mounted for the containers that use them, and servers' disks for their
//! machines.
//!
//! `volumes/<name>/volume.json` and `volumes/<name>/_data`, with a size `disk.ext4` as well. A directory without the file is a
//! creation that was cut short, one that begins with a dot a removal; both are cleared away at the
//! next start.
//!
//! Nothing removes a volume that a container uses. From the moment when a container that is being
//! created finds its volume until everybody can find the container, a [`Hold`] says so.
//!
//! An anonymous volume's file names the container that it was made for. It goes with it, at the next
//! start at the latest, unless the container was removed without its volumes: then it is
//! [disowned](Volumes::disown) first.

mod disk;
mod memory;
mod part;
mod sized;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_runtime::volume::{Volume, VolumeSpec};
use coracle_runtime::{Result, RuntimeError};
use coracle_spec::VolumeBacking;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::container::names::Containers;
use crate::container::record::{Dirs, MountRecord, Record};
use crate::durable::{self, Durability};
use crate::ident;

pub(crate) use memory::mount;
pub(crate) use part::is_local;
pub(crate) use sized::Mounted;

const FILE: &str = "volume.json";
const DATA: &str = "_data";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saved {
    version: u32,
    created: Timestamp,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    anonymous: bool,
    /// The container that takes an anonymous volume along when it goes.
    #[serde(default)]
    container: Option<String>,
}

#[derive(Debug, Default)]
struct Table {
    volumes: BTreeMap<String, Saved>,
    /// Volumes of containers that are being created: name and container.
    held: Vec<(String, String)>,
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a volume from being removed, for a container that is being created.
#[derive(Debug)]
pub(crate) struct Hold {
    table: Arc<Mutex<Table>>,
    name: String,
    container: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        let own = |(name, container): &(String, String)| {
            *name == self.name && *container == self.container
        };
        if let Some(index) = table.held.iter().position(own) {
            table.held.swap_remove(index);
        }
    }
}

/// All volumes.
#[derive(Debug)]
pub(crate) struct Volumes {
    root: PathBuf,
    /// Held while containers with volumes in memory, or on servers' disks, start.
    starting: memory::Starting,
    /// Those with a size that are mounted.
    sized: sized::Slots,
    table: Arc<Mutex<Table>>,
}

impl Volumes {
    /// Reads what there is, and clears away what was cut short.
    pub(crate) fn open(data_root: &Path) -> io::Result<Self> {
        let root = data_root.join("volumes");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o701)
            .create(&root)?;
        let mut volumes = BTreeMap::new();
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let unfinished = match durable::read_json::<Saved>(&entry.path().join(FILE)) {
                _ if name.starts_with('.') => true,
                Ok(Some(saved)) => {
                    volumes.insert(name.clone(), saved);
                    false
                }
                Ok(None) => true,
                Err(error) => {
                    tracing::error!(name, %error, "a volume can't be read; left alone");
                    false
                }
            };
            if !unfinished {
                continue;
            }
            sized::release(&entry.path());
            if let Err(error) = durable::remove_dir(&entry.path()) {
                tracing::warn!(name, %error, "cannot clear away an unfinished volume");
            }
        }
        let table = Table {
            volumes,
            held: Vec::new(),
        };
        Ok(Self {
            root,
            starting: Default::default(),
            sized: Default::default(),
            table: Arc::new(Mutex::new(table)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
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

    /// What a volume is made of.
    pub(crate) fn backing(&self, name: &str) -> Result<VolumeBacking> {
        let table = self.lock();
        let saved = table
            .volumes
            .get(name)
            .ok_or_else(|| no_such_volume(name))?;
        Ok(VolumeBacking::parse(&saved.options)?)
    }

    pub(crate) fn list(&self) -> Vec<Volume> {
        self.lock()
            .volumes
            .iter()
            .map(|(name, saved)| self.describe(name, saved))
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> Result<Volume> {
        self.lock()
            .volumes
            .get(name)
            .map(|saved| self.describe(name, saved))
            .ok_or_else(|| no_such_volume(name))
    }

    /// Makes a volume, or gives the one of that name; without a name, a new one that is called
    /// anonymous. `true` where it is new.
    pub(crate) fn create(&self, spec: VolumeSpec) -> Result<(Volume, bool)> {
        self.create_in(&mut self.lock(), spec, None)
    }

    /// As [`create`](Self::create), for a container that is being created: an anonymous volume will
    /// be its own, and none is removed as long as the hold is there.
    pub(crate) fn create_for(
        &self,
        container: &str,
        spec: VolumeSpec,
    ) -> Result<(Volume, bool, Hold)> {
        let mut table = self.lock();
        let (volume, new) = self.create_in(&mut table, spec, Some(container))?;
        let hold = self.hold_in(&mut table, container, &volume.name);
        Ok((volume, new, hold))
    }

    /// Holds a volume that is there already.
    pub(crate) fn hold(&self, container: &str, name: &str) -> Result<Hold> {
        let mut table = self.lock();
        if !table.volumes.contains_key(name) {
            return Err(no_such_volume(name));
        }
        Ok(self.hold_in(&mut table, container, name))
    }

    fn hold_in(&self, table: &mut Table, container: &str, name: &str) -> Hold {
        table.held.push((name.to_owned(), container.to_owned()));
        Hold {
            table: self.table.clone(),
            name: name.to_owned(),
            container: container.to_owned(),
        }
    }

    fn create_in(
        &self,
        table: &mut Table,
        spec: VolumeSpec,
        container: Option<&str>,
    ) -> Result<(Volume, bool)> {
        coracle_spec::check_volume(&spec)?;
        let anonymous = spec.name.is_empty();
        let name = if anonymous {
            ident::new_id()
        } else {
            spec.name
        };
        if let Some(saved) = table.volumes.get(&name) {
            return Ok((self.describe(&name, saved), false));
        }
        let backing = VolumeBacking::parse(&spec.driver_opts)?;
        if let VolumeBacking::Sized { .. } = backing {
            sized::check(&name)?;
        }
        let saved = Saved {
            version: 1,
            created: Timestamp::now(),
            labels: spec.labels,
            options: spec.driver_opts,
            anonymous,
            container: container.filter(|_| anonymous).map(str::to_owned),
        };
        self.make(&name, &saved, &backing).map_err(|error| {
            RuntimeError::Internal(format!("cannot make volume {name}: {error}"))
        })?;
        let volume = self.describe(&name, &saved);
        table.volumes.insert(name, saved);
        Ok((volume, true))
    }

    fn make(&self, name: &str, saved: &Saved, backing: &VolumeBacking) -> io::Result<()> {
        let mut directory = fs::DirBuilder::new();
        directory.recursive(true);
        directory.mode(0o701).create(self.root.join(name))?;
        directory.mode(0o755).create(self.data(name))?;
        if let VolumeBacking::Sized { bytes } = backing {
            sized::make(&self.root.join(name), *bytes, !saved.anonymous)?;
        }
        self.save(name, saved)
    }

    fn save(&self, name: &str, saved: &Saved) -> io::Result<()> {
        let durability = if saved.anonymous {
            Durability::Process
        } else {
            Durability::Disk
        };
        durable::write_json(&self.root.join(name).join(FILE), saved, durability)
    }

    /// Removes a volume that no container uses.
    pub(crate) fn remove(&self, containers: &Containers, name: &str, force: bool) -> Result<bool> {
        let table = self.lock();
        if !table.volumes.contains_key(name) {
            return if force {
                Ok(false)
            } else {
                Err(no_such_volume(name))
            };
        }
        let users = all_users(&table, containers, name, "");
        if !users.is_empty() {
            return Err(RuntimeError::InvalidState(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        self.discard(table, name).map_err(|error| {
            RuntimeError::Internal(format!("cannot remove volume {name}: {error}"))
        })?;
        Ok(true)
    }

    /// Removes an anonymous volume with its container, unless another one uses it too.
    pub(crate) fn remove_unused(&self, containers: &Containers, name: &str, container: &str) {
        let table = self.lock();
        let anonymous = table.volumes.get(name).is_some_and(|saved| saved.anonymous);
        if anonymous
            && all_users(&table, containers, name, container).is_empty()
            && let Err(error) = self.discard(table, name)
        {
            tracing::warn!(name, %error, "cannot remove an anonymous volume");
        }
    }

    /// Takes a volume out of the table, and its files away.
    fn discard(&self, mut table: MutexGuard<'_, Table>, name: &str) -> io::Result<()> {
        let gone = self.root.join(format!(".{}", ident::new_id()));
        fs::rename(self.root.join(name), &gone)?;
        table.volumes.remove(name);
        // What is in it may be much: nobody is to wait for that.
        drop(table);
        self.sized.forget(name, &gone);
        if let Err(error) = durable::remove_dir(&gone) {
            tracing::warn!(name, %error, "cannot clear away a volume; the next start tries again");
        }
        Ok(())
    }

    /// Has the anonymous volumes among a container's mounts stay when it goes.
    pub(crate) fn disown<'a>(
        &self,
        mounts: impl IntoIterator<Item = &'a MountRecord>,
    ) -> io::Result<()> {
        let mut table = self.lock();
        for mount in mounts.into_iter().filter(|mount| mount.anonymous) {
            let name = &mount.point.name;
            if let Some(saved) = table.volumes.get_mut(name)
                && saved.container.take().is_some()
            {
                self.save(name, saved)?;
            }
        }
        Ok(())
    }

    /// Removes the anonymous volumes of containers whose creation, or removal with their volumes,
    /// was cut short. To be called when all containers that are there are known, and before there are
    /// new ones.
    pub(crate) fn clear_away(&self, containers: &Containers, dirs: impl Fn(&str) -> Dirs) {
        let owned: Vec<(String, String)> = self
            .lock()
            .volumes
            .iter()
            .filter_map(|(name, saved)| Some((name.clone(), saved.container.clone()?)))
            .filter(|(_, container)| containers.get(container).is_none())
            .collect();
        if owned.is_empty() {
            return;
        }
        // A container that can't be read may be the one, or use it.
        if let Some(container) = self.unreadable(containers, dirs) {
            tracing::warn!(
                container,
                "anonymous volumes are left alone until it can be read"
            );
            return;
        }
        for (name, container) in owned {
            tracing::info!(
                name,
                container,
                "clearing away a volume of a container that is gone"
            );
            self.remove_unused(containers, &name, &container);
        }
    }

    /// A container whose file is there and was not taken in.
    fn unreadable(&self, containers: &Containers, dirs: impl Fn(&str) -> Dirs) -> Option<String> {
        let all = dirs("").root;
        fs::read_dir(all)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            // In this order: one that is being removed loses its file first.
            .find(|id| containers.get(id).is_none() && Record::is_there(&dirs(id)))
    }
}

/// Ids of the containers that use a volume or are about to, but for one.
fn all_users(table: &Table, containers: &Containers, name: &str, except: &str) -> Vec<String> {
    let mut all = users(containers, name, except);
    for (held, container) in &table.held {
        if held == name && container != except && !all.contains(container) {
            all.push(container.clone());
        }
    }
    all
}

/// Ids of the containers that use a volume, but for one.
pub(crate) fn users(containers: &Containers, name: &str, except: &str) -> Vec<String> {
    containers
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

#[cfg(test)]
mod tests;
