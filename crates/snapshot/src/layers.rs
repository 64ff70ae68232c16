//! Layers: unpacked once, shared by everything.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use coracle_archive::{ApplyOptions, Limits, Lowers, OverlayAttrs, Owners, settle};
use coracle_oci::Digest;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, failed};
use crate::sync::{State, Sync};
use crate::trash::Trash;
use crate::worker::lock;
use crate::{ingest, pending};

/// How layers are unpacked and overlays mounted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bounds on every layer.
    pub limits: Limits,
    /// Whose the layers' files become.
    pub owners: Owners,
    /// The process is root of a user namespace only: no device nodes, `user.overlay.` attributes,
    /// overlays with `userxattr`.
    pub rootless: bool,
}

impl Default for Options {
    /// As root, with owners as archived.
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            owners: Owners::Archived,
            rootless: false,
        }
    }
}

/// An unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Names the layer together with all below it.
    pub chain_id: Digest,
    /// The layer below.
    pub parent: Option<Digest>,
    /// Bytes in its files.
    pub size: u64,
    /// Entries of its archive.
    pub entries: u64,
}

/// A directory of layers and containers. One process at a time uses it; threads may share it.
pub struct Snapshots {
    pub(crate) root: PathBuf,
    pub(crate) options: Options,
    layers: Mutex<Layers>,
    /// A layer isn't busy any more.
    free: Condvar,
    pub(crate) trash: Trash,
    sync: Sync,
    next: AtomicU64,
    /// Holders create or remove containers' file systems, or layers: none vanishes in between.
    pub(crate) users: Mutex<()>,
    _lock: File,
}

#[derive(Default)]
struct Layers {
    known: HashMap<Digest, Layer>,
    /// Somebody unpacks, settles or removes these.
    busy: HashSet<Digest>,
    /// Unpacked, but perhaps not on disk.
    unsynced: Vec<PathBuf>,
}

impl Snapshots {
    /// Opens or creates `root`. Removes what an interrupted process left behind, and layers that
    /// the machine's crash may have damaged.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process has it open, [`Error::Io`]. Layers whose records
    /// can't be read are left alone, with a warning.
    pub fn open(root: &Path, options: Options) -> Result<Snapshots> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for name in ["", "layers", "l", "containers", "ingest"] {
            let path = root.join(name);
            builder.create(&path).map_err(failed("create", &path))?;
        }
        let path = root.join("lock");
        let lock = File::create(&path).map_err(failed("create", &path))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|e| {
            if e == rustix::io::Errno::WOULDBLOCK {
                Error::Locked {
                    path: root.to_owned(),
                }
            } else {
                failed("lock", &path)(e)
            }
        })?;
        let snapshots = Snapshots {
            root: root.to_owned(),
            options,
            layers: Mutex::default(),
            free: Condvar::new(),
            trash: Trash::open(root.join("trash"))?,
            sync: Sync::new(root)?,
            next: AtomicU64::new(0),
            users: Mutex::default(),
            _lock: lock,
        };
        snapshots.clear_ingest()?;
        snapshots.scan()?;
        Ok(snapshots)
    }

    fn clear_ingest(&self) -> Result<()> {
        let dir = self.root.join("ingest");
        for entry in fs::read_dir(&dir).map_err(failed("list", &dir))? {
            let entry = entry.map_err(failed("list", &dir))?;
            self.trash.take(&entry.path())?;
        }
        Ok(())
    }

    /// Learns which layers there are.
    fn scan(&self) -> Result<()> {
        let dir = self.root.join("layers");
        let mut layers = Layers::default();
        for entry in fs::read_dir(&dir).map_err(failed("list", &dir))? {
            let path = entry.map_err(failed("list", &dir))?.path();
            if self.sync.state(&path)? == State::Lost {
                tracing::warn!(path = %path.display(), "dropping a layer that the last boot didn't finish");
                self.trash.take(&path)?;
                continue;
            }
            match read_record(&path) {
                Ok(layer) if self.layer_dir(&layer.chain_id) == path => {
                    if self.sync.state(&path)? == State::Cached {
                        layers.unsynced.push(path.clone());
                    }
                    self.link(&layer.chain_id, "fs")?;
                    layers.known.insert(layer.chain_id.clone(), layer);
                }
                Ok(_) => tracing::warn!(path = %path.display(), "a layer under a wrong name"),
                Err(error) => tracing::warn!(%error, "a layer can't be read"),
            }
        }
        self.sync.start(std::mem::take(&mut layers.unsynced));
        *lock(&self.layers) = layers;
        Ok(())
    }

    /// The layer of that chain id, if it is unpacked.
    pub fn layer(&self, chain_id: &Digest) -> Option<Layer> {
        lock(&self.layers).known.get(chain_id).cloned()
    }

    /// All unpacked layers, in no order.
    pub fn layers(&self) -> Vec<Layer> {
        lock(&self.layers).known.values().cloned().collect()
    }

    /// Unpacks a layer, plain, gzip or zstd, unless it is there already: then `reader` isn't read.
    /// While another thread unpacks the same layer this waits. Layers of one image may be prepared
    /// at the same time and in any order.
    ///
    /// An error from `reader` ends it at once, which is how to cancel it.
    ///
    /// # Errors
    /// [`Error::WrongChain`] where `chain_id` isn't that of `parent` and `diff_id`,
    /// [`Error::WrongDiff`] where the stream isn't that of the diff id, [`Error::Archive`],
    /// [`Error::Io`]. Nothing is left behind.
    pub fn prepare_layer(
        &self,
        chain_id: &Digest,
        parent: Option<&Digest>,
        diff_id: &Digest,
        reader: impl Read + Send,
    ) -> Result<Layer> {
        let expected = match parent {
            None => diff_id.clone(),
            Some(parent) => Digest::sha256(format!("{parent} {diff_id}").as_bytes()),
        };
        if *chain_id != expected {
            return Err(Error::WrongChain {
                chain_id: chain_id.clone(),
                expected,
            });
        }
        let busy = self.claim(chain_id);
        if let Some(layer) = self.layer(chain_id) {
            return Ok(layer);
        }
        let ingest = self.ingest_dir()?;
        let layer = self
            .unpack(&ingest, chain_id, parent, diff_id, reader)
            .inspect_err(|_| self.discard(&ingest))?;
        let dir = self.layer_dir(chain_id);
        // A layer that can't be read may be there.
        self.trash.take(&dir)?;
        fs::rename(&ingest, &dir)
            .map_err(failed("rename", &dir))
            .inspect_err(|_| self.discard(&ingest))?;
        self.link(chain_id, "fs")?;
        let mut layers = lock(&self.layers);
        layers.known.insert(chain_id.clone(), layer.clone());
        layers.unsynced.push(dir);
        drop(layers);
        drop(busy);
        // Below may not be there yet; then a container's creation does it.
        if let Err(error) = self.settle(chain_id) {
            let _busy = self.claim(chain_id);
            self.forget(chain_id)?;
            return Err(error);
        }
        Ok(layer)
    }

    fn unpack(
        &self,
        ingest: &Path,
        chain_id: &Digest,
        parent: Option<&Digest>,
        diff_id: &Digest,
        reader: impl Read + Send,
    ) -> Result<Layer> {
        let fs_dir = ingest.join("fs");
        fs::create_dir(&fs_dir).map_err(failed("create", &fs_dir))?;
        fs::set_permissions(&fs_dir, Permissions::from_mode(0o755))
            .map_err(failed("change the mode of", &fs_dir))?;
        let opts = ApplyOptions {
            limits: self.options.limits.clone(),
            owners: self.options.owners.clone(),
            devices: !self.options.rootless,
            attrs: self.attrs(),
            lowers: if parent.is_some() {
                Lowers::Later
            } else {
                Lowers::None
            },
            sync: false,
        };
        let applied = ingest::unpack(reader, &fs_dir, diff_id, &opts)?;
        let layer = Layer {
            diff_id: diff_id.clone(),
            chain_id: chain_id.clone(),
            parent: parent.cloned(),
            size: applied.bytes,
            entries: applied.entries,
        };
        pending::write(ingest, &applied.pending)?;
        let path = ingest.join("layer.json");
        let json = serde_json::to_vec(&layer).map_err(|e| failed("write", &path)(e))?;
        fs::write(&path, json).map_err(failed("write", &path))?;
        self.sync.mark(ingest)?;
        Ok(layer)
    }

    /// Lets a layer take what it needs from those below, if all of them are there.
    fn settle(&self, chain_id: &Digest) -> Result<()> {
        let Ok(stack) = self.stack(chain_id) else {
            return Ok(());
        };
        for id in &stack {
            self.settle_one(id)?;
        }
        Ok(())
    }

    /// As [`Snapshots::settle`], with everything below settled already.
    fn settle_one(&self, chain_id: &Digest) -> Result<()> {
        let dir = self.layer_dir(chain_id);
        if !pending::exists(&dir) {
            return Ok(());
        }
        let _busy = self.claim(chain_id);
        let Some(pending) = pending::read(&dir)? else {
            return Ok(());
        };
        let stack = self.stack(chain_id)?;
        let lowers: Vec<PathBuf> = stack
            .iter()
            .rev()
            .skip(1)
            .map(|id| self.layer_dir(id).join("fs"))
            .collect();
        settle(&dir.join("fs"), &lowers, &pending, self.attrs())?;
        pending::remove(&dir)
    }

    /// The layer and all below it, bottom first.
    pub(crate) fn stack(&self, top: &Digest) -> Result<Vec<Digest>> {
        let layers = lock(&self.layers);
        let mut ids = Vec::new();
        let mut next = Some(top);
        while let Some(id) = next {
            ids.push(id.clone());
            let layer = layers
                .known
                .get(id)
                .ok_or_else(|| Error::LayerNotFound(id.clone()))?;
            next = layer.parent.as_ref();
        }
        ids.reverse();
        Ok(ids)
    }

    /// Makes sure that all `layers` (bottom first) are there and settled.
    pub(crate) fn ready(&self, layers: &[Digest]) -> Result<()> {
        for id in layers {
            if self.layer(id).is_none() {
                return Err(Error::LayerNotFound(id.clone()));
            }
            self.settle_one(id)?;
        }
        Ok(())
    }

    /// Removes a layer. It is no error if it doesn't exist. Layers above it stay, but aren't of
    /// any use without it.
    ///
    /// # Errors
    /// [`Error::LayerInUse`] where a container has it, [`Error::Io`].
    pub fn remove_layer(&self, chain_id: &Digest) -> Result<()> {
        let _users = lock(&self.users);
        if let Some(container) = self.user_of(chain_id)? {
            return Err(Error::LayerInUse {
                layer: chain_id.clone(),
                container,
            });
        }
        let _busy = self.claim(chain_id);
        self.forget(chain_id)
    }

    /// Removes a layer that the caller claimed.
    fn forget(&self, chain_id: &Digest) -> Result<()> {
        if lock(&self.layers).known.remove(chain_id).is_none() {
            return Ok(());
        }
        for what in ["fs", "init"] {
            let link = self.link_path(chain_id, what);
            match fs::remove_file(&link) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &link)(e));
                }
                _ => {}
            }
        }
        self.trash.take(&self.layer_dir(chain_id))
    }

    /// Waits until everything that was removed is gone from disk, and all layers are on it.
    pub fn wait_idle(&self) {
        self.trash.wait();
        self.sync.wait();
    }

    /// Which attributes mark opaque directories.
    pub(crate) fn attrs(&self) -> OverlayAttrs {
        if self.options.rootless {
            OverlayAttrs::User
        } else {
            OverlayAttrs::Trusted
        }
    }

    pub(crate) fn layer_dir(&self, chain_id: &Digest) -> PathBuf {
        let name = format!("{}-{}", chain_id.algorithm().as_str(), chain_id.hex());
        self.root.join("layers").join(name)
    }

    /// A new directory for something that isn't ready.
    pub(crate) fn ingest_dir(&self) -> Result<PathBuf> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let dir = self.root.join("ingest").join(name);
        fs::create_dir(&dir).map_err(failed("create", &dir))?;
        Ok(dir)
    }

    pub(crate) fn discard(&self, path: &Path) {
        if let Err(error) = self.trash.take(path) {
            tracing::warn!(%error, "can't remove what isn't ready");
        }
    }

    /// A short path of one of a layer's directories: a kernel that takes all of an overlay's
    /// layers in one string takes at most a page of them.
    pub(crate) fn link_path(&self, chain_id: &Digest, what: &str) -> PathBuf {
        let hex = chain_id.hex();
        let short = hex.get(..16).unwrap_or(hex);
        let mark = what.get(..1).unwrap_or_default();
        self.root.join("l").join(format!("{short}{mark}"))
    }

    /// Makes the short path, if it isn't there.
    pub(crate) fn link(&self, chain_id: &Digest, what: &str) -> Result<PathBuf> {
        let link = self.link_path(chain_id, what);
        let name = format!("{}-{}", chain_id.algorithm().as_str(), chain_id.hex());
        let target = Path::new("../layers").join(name).join(what);
        match std::os::unix::fs::symlink(&target, &link) {
            Ok(()) => Ok(link),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let found = fs::read_link(&link).map_err(failed("read the link", &link))?;
                if found == target {
                    return Ok(link);
                }
                let reason = format!("it leads to {}", found.display());
                Err(Error::Damaged { path: link, reason })
            }
            Err(e) => Err(failed("create", &link)(e)),
        }
    }

    /// Waits until nobody works on a layer, and then is the one who does.
    pub(crate) fn claim(&self, chain_id: &Digest) -> Busy<'_> {
        let mut layers = lock(&self.layers);
        while layers.busy.contains(chain_id) {
            layers = self
                .free
                .wait(layers)
                .unwrap_or_else(PoisonError::into_inner);
        }
        layers.busy.insert(chain_id.clone());
        Busy {
            snapshots: self,
            chain_id: chain_id.clone(),
        }
    }
}

/// The right to work on a layer.
pub(crate) struct Busy<'s> {
    snapshots: &'s Snapshots,
    chain_id: Digest,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut layers = lock(&self.snapshots.layers);
        layers.busy.remove(&self.chain_id);
        // The disk gets to work when nobody else needs it.
        if layers.busy.is_empty() {
            self.snapshots
                .sync
                .start(std::mem::take(&mut layers.unsynced));
        }
        self.snapshots.free.notify_all();
    }
}

fn read_record(dir: &Path) -> Result<Layer> {
    let path = dir.join("layer.json");
    let json = fs::read(&path).map_err(failed("read", &path))?;
    serde_json::from_slice(&json).map_err(|e| Error::Damaged {
        path,
        reason: e.to_string(),
    })
}
