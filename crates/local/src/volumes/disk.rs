//! Volumes that are disks of a network block device server: in which machine each of them is.
//!
//! A file system on a disk is one machine's: a second one that mounts it destroys it. So one that is
//! written to is in one machine at a time, known by the containers that run there; containers of the same
//! machine share it. One that is only read may be in any number.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coracle_nbd::Uri;
use coracle_runtime::{Result, RuntimeError, Status};
use coracle_spec::VolumeBacking;

use super::Volumes;
use crate::container::record::{MountRecord, Record};
use crate::engine::Engine;
use crate::machine;

impl Volumes {
    /// The disk that a mount's volume is, and whether it is only read.
    fn disk(&self, mount: &MountRecord) -> Option<(Uri, bool)> {
        if mount.point.kind != "volume" {
            return None;
        }
        match self.backing(&mount.point.name) {
            Ok(VolumeBacking::Disk { uri, read_only, .. }) => Some((uri, read_only)),
            _ => None,
        }
    }

    /// Whether a mount's volume is a disk.
    pub(crate) fn is_disk(&self, mount: &MountRecord) -> bool {
        self.disk(mount).is_some()
    }

    /// Refuses disks of a container that is a process.
    pub(crate) fn refuse_disks(&self, mounts: &[MountRecord]) -> Result<()> {
        match mounts.iter().find(|mount| self.is_disk(mount)) {
            None => Ok(()),
            Some(mount) => Err(RuntimeError::InvalidArgument(format!(
                "volume {} is the disk of an NBD server, which only a virtual machine can have: use \
                 --runtime vm",
                mount.point.name
            ))),
        }
    }
}

/// Refuses a disk that is in another machine than the one that a container is to start in.
pub(super) fn check_free(
    engine: &Engine,
    container: &str,
    mount: &MountRecord,
    uri: &Uri,
    read_only: bool,
) -> Result<()> {
    let record = engine.find(container)?.now().record;
    let own = machine::pod::to_join(engine, &record)?;
    for handle in engine.containers.all() {
        let now = handle.now();
        let status = now.container.state.status;
        if &*handle.id == container || !matches!(status, Status::Running | Status::Paused) {
            continue;
        }
        let has_it = has(engine, &now.record, uri, read_only);
        let socket = machine::pod::socket(&handle.dirs.bundle);
        if has_it && !own.as_deref().is_some_and(|own| is_same(own, &socket)) {
            return Err(RuntimeError::InvalidState(format!(
                "volume {} is in use: its disk {uri} is in the virtual machine of container {who}, and two \
                 at once would destroy its file system; stop that container, join its virtual machine \
                 with --network container:{who}, or have a volume with o=ro in both",
                mount.point.name,
                who = now.record.name
            )));
        }
    }
    Ok(())
}

/// Whether a container has the disk, so that another one can't.
fn has(engine: &Engine, record: &Record, uri: &Uri, read_only: bool) -> bool {
    record.mounts.iter().any(|mount| {
        let disk = engine.volumes.disk(mount);
        disk.is_some_and(|(other, others)| other == *uri && !(read_only && others))
    })
}

/// Whether two sockets are names of one machine's.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let data = std::fs::symlink_metadata(path).ok()?;
        Some((data.dev(), data.ino()))
    };
    identity(one).is_some_and(|one| Some(one) == identity(other))
}
