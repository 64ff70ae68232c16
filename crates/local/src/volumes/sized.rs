//! Volumes with a size (`size=`): a file system of their own, in a file, `disk.ext4` beside `_data`.
//!
//! Unlike other file systems of volumes it is mounted on the host, at `_data`, by a loop device: that
//! directory is then what a volume's is, to processes (a bind), machines (a share, so any number of them can
//! write at once) and whoever looks at the volume's mount point. It is there while a container that uses the volume runs,
//! and for moments while one is created, or copied to and from. Between, the file is only a file.
//!
//! Nothing counts on the mount for long. Whoever has it bound, shared or open keeps the file system: the
//! kernel frees the device with the last of them, and mounting again meanwhile finds the same device, so it
//! is one file system always. A daemon that dies leaves its mounts; the next one takes them over for what still
//! runs, and unmounts the others. After a power cut there are none, and the journal is replayed by the next mount.
//!
//! What is deleted is given back to the host (`discard`), with the journal's next commit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_disk::{Ext4Options, ext4_for, format_ext4};
use coracle_runtime::{Result, RuntimeError};
use coracle_spec::{NO_QUOTA, VolumeBacking};

use super::{DATA, Volumes};
use crate::container::record::MountRecord;

/// The file.
pub(super) const IMAGE: &str = "disk.ext4";

/// A journal that can't be written to has the file system refuse all writing, rather than go on without.
const OPTIONS: &std::ffi::CStr = c"discard,errors=remount-ro";

/// Who uses a volume of a size.
#[derive(Debug, Default)]
struct Users {
    count: usize,
    /// The volume was removed.
    gone: bool,
}

type Slot = Arc<Mutex<Users>>;

/// Volumes that are, or were, mounted.
#[derive(Debug, Default)]
pub(super) struct Slots(Mutex<BTreeMap<String, Slot>>);

/// Keeps a volume mounted. Dropping it may take long: what was written goes to the disk.
#[derive(Debug)]
struct Use {
    slot: Slot,
    data: PathBuf,
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut users = lock(&self.slot);
        users.count = users.count.saturating_sub(1);
        if users.count == 0 && !users.gone {
            unmount(&self.data);
        }
    }
}

/// Keeps volumes mounted as long as it is there.
#[derive(Debug, Default)]
pub(crate) struct Mounted(Vec<Use>);

impl Drop for Mounted {
    fn drop(&mut self) {
        let uses = std::mem::take(&mut self.0);
        if uses.is_empty() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(tokio) => drop(tokio.spawn_blocking(move || drop(uses))),
            Err(_) => drop(uses),
        }
    }
}

impl Volumes {
    /// Mounts those of a container's volumes that have a size. It may take long: a journal may have to be
    /// replayed.
    pub(crate) fn mount_sized(&self, mounts: &[MountRecord]) -> Result<Mounted> {
        let volumes = mounts.iter().filter(|mount| mount.point.kind == "volume");
        let names = volumes.map(|mount| mount.point.name.as_str());
        names
            .filter_map(|name| self.use_sized(name).transpose())
            .collect::<Result<_>>()
            .map(Mounted)
    }

    /// The same of one volume, by its name.
    pub(crate) fn mount_one(&self, name: &str) -> Result<Mounted> {
        Ok(Mounted(self.use_sized(name)?.into_iter().collect()))
    }

    fn use_sized(&self, name: &str) -> Result<Option<Use>> {
        if !self.is_sized(name) {
            return Ok(None);
        }
        let data = self.data(name);
        let failed = |why: &dyn std::fmt::Display| {
            let data = data.display();
            RuntimeError::Internal(format!(
                "error while mounting volume '{data}': failed to mount local volume: {why}"
            ))
        };
        let slot = self.sized.slot(name);
        {
            let mut users = lock(&slot);
            if users.gone {
                return Err(failed(&"it was removed meanwhile"));
            }
            // By whoever was first, or an earlier daemon; somebody may have unmounted it since.
            coracle_loopback::mount(&self.image(name), "ext4", &data, OPTIONS)
                .map_err(|error| failed(&error))?;
            users.count += 1;
        }
        Ok(Some(Use { slot, data }))
    }

    /// Whether a volume has a size.
    pub(crate) fn is_sized(&self, name: &str) -> bool {
        matches!(self.backing(name), Ok(VolumeBacking::Sized { .. }))
    }

    fn image(&self, name: &str) -> PathBuf {
        self.root.join(name).join(IMAGE)
    }

    /// Bytes that a volume of a size has of the disk below it; none for others. Files that are empty but for
    /// a few bytes count in blocks, and so does the journal as it comes into use.
    pub(super) fn image_size(&self, name: &str) -> Option<u64> {
        let about = std::fs::symlink_metadata(self.image(name)).ok()?;
        Some(about.blocks().saturating_mul(512))
    }

    /// Unmounts those that nobody uses: an earlier daemon's.
    pub(crate) fn unmount_unused(&self) {
        for volume in self.list() {
            let name = volume.name;
            if !self.is_sized(&name) {
                continue;
            }
            let slot = self.sized.slot(&name);
            let users = lock(&slot);
            let data = self.data(&name);
            if users.count == 0
                && coracle_loopback::is_mounted(&self.image(&name), &data).unwrap_or_default()
            {
                unmount(&data);
            }
        }
    }
}

impl Slots {
    fn slot(&self, name: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(name.to_owned()).or_default().clone()
    }

    /// Unmounts a volume that was removed, and whose directory is now this one.
    pub(super) fn forget(&self, name: &str, gone: &Path) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.remove(name);
        drop(slots);
        if let Some(slot) = slot {
            lock(&slot).gone = true;
        }
        release(gone);
    }
}

/// Unmounts what a directory of a volume that is to be removed may have.
pub(super) fn release(volume: &Path) {
    if volume.join(IMAGE).exists() {
        unmount(&volume.join(DATA));
    }
}

fn unmount(data: &Path) {
    if let Err(error) = coracle_loopback::unmount(data) {
        tracing::warn!(%error, "cannot unmount a volume");
    }
}

fn lock(slot: &Slot) -> MutexGuard<'_, Users> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses what can't be had on this host.
pub(super) fn check(name: &str) -> Result<()> {
    let refused =
        |why: String| RuntimeError::InvalidArgument(format!("create {name}: {NO_QUOTA}: {why}"));
    if crate::host::facts().rootless {
        return Err(refused(
            "a daemon without root's rights can't mount a file system of this size".into(),
        ));
    }
    coracle_loopback::check().map_err(|error| refused(error.to_string()))
}

/// Makes the file.
pub(super) fn make(volume: &Path, bytes: u64, durable: bool) -> io::Result<()> {
    let journal = Some(journal(bytes));
    let mut options = Ext4Options {
        journal,
        ..Ext4Options::default()
    };
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut options.uuid)
        .map_err(|_| io::Error::other("there are no random numbers"))?;
    let mut file = File::options();
    let file = file.read(true).write(true).create(true).truncate(true);
    let file = std::os::unix::fs::OpenOptionsExt::mode(file, 0o600).open(volume.join(IMAGE))?;
    format_ext4(&file, ext4_for(bytes, journal), &options).map_err(io::Error::other)?;
    match durable {
        true => file.sync_all(),
        false => Ok(()),
    }
}

/// Bytes of a journal. It is written round and round, so all of it comes to be on the host's disk.
fn journal(bytes: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    match bytes / MIB {
        0..256 => 4 * MIB,
        256..4096 => 16 * MIB,
        _ => 64 * MIB,
    }
}
