//! The mount points that every container needs, as a layer between the image and the container.
//!
//! Docker has such a layer per container ("init layer"). They are the same for all containers of
//! an image, so here they are made once, and kept with the image's topmost layer.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coracle_archive::LowerView;
use coracle_oci::Digest;

use crate::error::{Result, failed};
use crate::layers::Snapshots;

/// What a mount point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPoint {
    /// A directory; it joins the image's.
    Directory,
    /// An empty file; it hides whatever the image has there.
    File,
    /// A symbolic link, and where it points; it hides as a file does.
    Link(&'static str),
}

/// The mount points that every container needs, as Docker makes them: paths below the root.
pub const MOUNT_POINTS: [(&str, MountPoint); 10] = [
    (".dockerenv", MountPoint::File),
    ("dev/console", MountPoint::File),
    ("dev/pts", MountPoint::Directory),
    ("dev/shm", MountPoint::Directory),
    ("etc/hostname", MountPoint::File),
    ("etc/hosts", MountPoint::File),
    ("etc/mtab", MountPoint::Link("/proc/mounts")),
    ("etc/resolv.conf", MountPoint::File),
    ("proc", MountPoint::Directory),
    ("sys", MountPoint::Directory),
];

impl Snapshots {
    /// The directory of an image's mount points, by its short path.
    pub(crate) fn init(&self, layers: &[Digest]) -> Result<PathBuf> {
        let (dir, link) = match layers.last() {
            Some(top) => (self.layer_dir(top).join("init"), Some(top)),
            // Images without any layer.
            None => (self.root.join("scratch"), None),
        };
        if !dir.is_dir() {
            let lowers: Vec<PathBuf> = layers
                .iter()
                .rev()
                .map(|id| self.layer_dir(id).join("fs"))
                .collect();
            let ingest = self.ingest_dir()?;
            self.make_points(&ingest, &lowers)
                .and_then(|()| fs::rename(&ingest, &dir).map_err(failed("rename", &dir)))
                .inspect_err(|_| self.discard(&ingest))?;
        }
        match link {
            Some(top) => self.link(top, "init"),
            None => Ok(dir),
        }
    }

    fn make_points(&self, dir: &Path, lowers: &[PathBuf]) -> Result<()> {
        let view = LowerView::open(lowers, self.attrs())?;
        let mut made = BTreeSet::new();
        self.make_directory(dir, "", &view, &mut made)?;
        for (path, kind) in &MOUNT_POINTS {
            for (end, _) in path.match_indices('/') {
                let parent = path.get(..end).unwrap_or_default();
                self.make_directory(dir, parent, &view, &mut made)?;
            }
            let here = dir.join(path);
            match kind {
                MountPoint::Directory => {
                    self.make_directory(dir, path, &view, &mut made)?;
                    continue;
                }
                MountPoint::File => {
                    let file = File::create_new(&here).map_err(failed("create", &here))?;
                    file.set_permissions(Permissions::from_mode(0o755))
                        .map_err(failed("change the mode of", &here))?;
                }
                MountPoint::Link(target) => {
                    std::os::unix::fs::symlink(target, &here).map_err(failed("create", &here))?
                }
            }
            let (uid, gid) = self.options.owners.on_disk(Path::new(path), 0, 0)?;
            std::os::unix::fs::lchown(&here, Some(uid), Some(gid))
                .map_err(failed("change the owner of", &here))?;
        }
        // Now that nothing is put into them any more they get the times that they have below.
        for path in made.iter().rev() {
            if let Some(found) = view.find(path.as_bytes())?.filter(|found| found.is_dir()) {
                let here = dir.join(path);
                let fd = File::open(&here).map_err(failed("open", &here))?;
                found.copy_attributes(fd.as_fd(), path.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Makes a directory, unless it is there.
    fn make_directory(
        &self,
        dir: &Path,
        path: &str,
        view: &LowerView,
        made: &mut BTreeSet<String>,
    ) -> Result<()> {
        if !made.insert(path.to_owned()) {
            return Ok(());
        }
        let here = dir.join(path);
        if !path.is_empty() {
            fs::create_dir(&here).map_err(failed("create", &here))?;
        }
        fs::set_permissions(&here, Permissions::from_mode(0o755))
            .map_err(failed("change the mode of", &here))?;
        if view
            .find(path.as_bytes())?
            .is_none_or(|found| !found.is_dir())
        {
            let (uid, gid) = self.options.owners.on_disk(Path::new(path), 0, 0)?;
            std::os::unix::fs::chown(&here, Some(uid), Some(gid))
                .map_err(failed("change the owner of", &here))?;
        }
        Ok(())
    }
}
