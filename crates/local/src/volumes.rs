//! Volumes: directories under the data root that outlive containers.
//!
//! `volumes/<name>/volume.json` and `volumes/<name>/_data`. A directory without the file is a
//! creation that was cut short, one that begins with a dot a removal; both are cleared away at the
//! next start.
//!
//! Nothing removes a volume that a container uses. From the moment when a container that is being
//! created finds its volume until everybody can find the container, a [`Hold`] says so.
//!
//! An anonymous volume's file names the container that it was made for. It goes with it, at the next
//! start at the latest, unless the container was removed without its volumes: then it is
//! [disowned](Volumes::disown) first.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_runtime::volume::{Volume, VolumeSpec};
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::container::names::Containers;
use crate::container::record::{Dirs, MountRecord, Record};
use crate::durable::{self, Durability};
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
            if unfinished && let Err(error) = durable::remove_dir(&entry.path()) {
                tracing::warn!(name, %error, "cannot clear away an unfinished volume");
            }
        }
        let table = Table {
            volumes,
            held: Vec::new(),
        };
        Ok(Self {
            root,
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
        let anonymous = spec.name.is_empty();
        let name = if anonymous {
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
        if let Some(saved) = table.volumes.get(&name) {
            return Ok((self.describe(&name, saved), false));
        }
        let saved = Saved {
            version: 1,
            created: Timestamp::now(),
            labels: spec.labels,
            options: spec.driver_opts,
            anonymous,
            container: container.filter(|_| anonymous).map(str::to_owned),
        };
        self.make(&name, &saved).map_err(|error| {
            RuntimeError::Internal(format!("cannot make volume {name}: {error}"))
        })?;
        let volume = self.describe(&name, &saved);
        table.volumes.insert(name, saved);
        Ok((volume, true))
    }

    fn make(&self, name: &str, saved: &Saved) -> io::Result<()> {
        let mut directory = fs::DirBuilder::new();
        directory.recursive(true);
        directory.mode(0o701).create(self.root.join(name))?;
        directory.mode(0o755).create(self.data(name))?;
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

    /// The directory of a whole volume. Only the daemon can write above it.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        if self.lock().volumes.contains_key(name) {
            Ok(self.data(name))
        } else {
            Err(no_such_volume(name))
        }
    }

    /// Opens (`O_PATH`) a volume, or what is in it by a path that no link leads out of. A container
    /// may change the links at any time, so what is found is good only as long as it is open.
    pub(crate) fn open_part(&self, name: &str, subpath: &str) -> Result<OwnedFd> {
        let failed = |errno: Errno| {
            RuntimeError::InvalidArgument(match errno {
                Errno::XDEV => {
                    format!("invalid volume subpath {subpath:?}: it leads out of the volume")
                }
                errno => format!(
                    "cannot access path {subpath:?} in volume {name}: {}",
                    io::Error::from(errno)
                ),
            })
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let directory = flags | OFlags::DIRECTORY;
        let data = rustix::fs::open(self.directory(name)?, directory, Mode::empty());
        let data = data.map_err(failed)?;
        if subpath.is_empty() {
            return Ok(data);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        // EAGAIN: something was renamed while `..` was resolved.
        let mut result = Err(Errno::AGAIN);
        for _ in 0..16 {
            result = rustix::fs::openat2(&data, subpath, flags, Mode::empty(), resolve);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        result.map_err(failed)
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

/// Whether a subpath can be one: relative, and not above the volume by its own words.
pub(crate) fn is_local(subpath: &str) -> bool {
    let mut depth = 0_usize;
    Path::new(subpath).components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => depth.checked_sub(1).inspect(|up| depth = *up).is_some(),
        Component::RootDir | Component::Prefix(_) => false,
    })
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
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn named(name: &str) -> VolumeSpec {
        VolumeSpec {
            name: name.into(),
            ..Default::default()
        }
    }

    fn names(volumes: &Volumes) -> Vec<String> {
        volumes
            .list()
            .into_iter()
            .map(|volume| volume.name)
            .collect()
    }

    #[test]
    fn a_volume_of_a_container_that_is_being_created_stays() {
        let dir = tempfile::tempdir().unwrap();
        let containers = Containers::default();
        let volumes = Volumes::open(dir.path()).unwrap();
        let (_, new, hold) = volumes.create_for("c1", named("data")).unwrap();
        assert!(new);
        let second = volumes.hold("c2", "data").unwrap();
        for hold in [hold, second] {
            let refused = volumes.remove(&containers, "data", true).unwrap_err();
            let wanted = format!("volume is in use - [{}", hold.container);
            assert!(refused.to_string().contains(&wanted), "{refused}");
        }
        assert!(volumes.remove(&containers, "data", false).unwrap());
        assert!(volumes.hold("c2", "data").is_err());
        assert!(!volumes.remove(&containers, "data", true).unwrap());
        // Its own hold is no obstacle for a creation that is undone.
        let (volume, _, _hold) = volumes.create_for("c1", named("")).unwrap();
        volumes.remove_unused(&containers, &volume.name, "c1");
        assert!(names(&volumes).is_empty());
        assert_eq!(fs::read_dir(dir.path().join("volumes")).unwrap().count(), 0);
    }

    #[test]
    fn anonymous_volumes_go_with_their_container_even_late() {
        let dir = tempfile::tempdir().unwrap();
        let containers = Containers::default();
        let volumes = Volumes::open(dir.path()).unwrap();
        let make = |container: &str| {
            let (volume, _, _) = volumes.create_for(container, named("")).unwrap();
            volume.name
        };
        let (cut_short, kept) = (make("cut"), make("kept"));
        volumes.create_for("cut", named("named")).unwrap();
        let (own, _) = volumes.create(named("")).unwrap();
        let mount = MountRecord {
            anonymous: true,
            point: coracle_runtime::container::MountPoint {
                name: kept.clone(),
                ..Default::default()
            },
            ..Default::default()
        };
        volumes.disown([&mount]).unwrap();
        drop(volumes);
        fs::create_dir(dir.path().join("volumes/.removed")).unwrap();
        fs::create_dir(dir.path().join("volumes/unfinished")).unwrap();

        let dirs = |id: &str| Dirs::new(dir.path(), dir.path(), id);
        let volumes = Volumes::open(dir.path()).unwrap();
        // A container that can't be read may be the volume's.
        fs::create_dir_all(dirs("unreadable").root).unwrap();
        let config = dirs("unreadable").root.join("config.json");
        fs::write(&config, "garbage").unwrap();
        volumes.clear_away(&containers, dirs);
        assert!(names(&volumes).contains(&cut_short));
        fs::remove_file(config).unwrap();
        volumes.clear_away(&containers, dirs);
        let mut wanted = vec!["named".to_owned(), own.name, kept];
        wanted.sort();
        assert_eq!(names(&volumes), wanted);
        assert_eq!(fs::read_dir(dir.path().join("volumes")).unwrap().count(), 3);
    }

    #[test]
    fn files_of_an_earlier_version_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volumes/old");
        fs::create_dir_all(volume.join(DATA)).unwrap();
        let text = r#"{"version":1,"created":"2024-01-01T00:00:00Z","labels":{},"options":{},
            "anonymous":true}"#;
        fs::write(volume.join(FILE), text).unwrap();
        let volumes = Volumes::open(dir.path()).unwrap();
        volumes.clear_away(&Containers::default(), |id| {
            Dirs::new(dir.path(), dir.path(), id)
        });
        assert_eq!(names(&volumes), ["old"]);
    }

    #[test]
    fn no_link_leads_out_of_a_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(dir.path()).unwrap();
        volumes.create(named("data")).unwrap();
        let data = volumes.directory("data").unwrap();
        fs::create_dir_all(data.join("a/b")).unwrap();
        symlink("a/b", data.join("inside")).unwrap();
        symlink("/etc", data.join("absolute")).unwrap();
        symlink("../../..", data.join("a/up")).unwrap();
        for good in ["", "a/b", "inside", "a/../inside", "."] {
            volumes.open_part("data", good).unwrap();
        }
        for bad in ["absolute", "a/up", "..", "a/up/etc", "/etc", "a/../.."] {
            let error = volumes.open_part("data", bad).unwrap_err().to_string();
            assert!(error.contains("leads out of the volume"), "{bad}: {error}");
        }
        let error = volumes.open_part("data", "none").unwrap_err().to_string();
        assert!(error.contains("cannot access path \"none\""), "{error}");
        assert!(is_local("a/../b/.") && is_local(""));
        assert!(!is_local("a/../../b") && !is_local("/a") && !is_local(".."));
    }
}
