//! Containers' writable directories over layers.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coracle_archive::OverlayAttrs;
use coracle_oci::{Algorithm, Digest};

use crate::error::{Error, Result, failed};
use crate::layers::Snapshots;
use crate::usage::{Usage, usage_of};
use crate::worker::lock;

/// The symbolic link in a container's directory to its topmost layer. A link, as it can't be half
/// written: it needs no synchronisation to be whole after a crash.
const TOP: &str = "layer";

/// What a container's overlay is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFs {
    /// The container.
    pub id: String,
    /// Directories below, topmost first, at least one: the mount points that every container
    /// needs, then the image's layers.
    pub lower: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// Overlayfs's own.
    pub work: PathBuf,
    /// Which attributes it uses; [`OverlayAttrs::User`] needs the option `userxattr`.
    pub attrs: OverlayAttrs,
}

impl Snapshots {
    /// Makes the directories of a container over an image's `layers`, given by chain id, bottom
    /// first. Docker's mount points (`/proc`, `/dev/pts`, `/etc/hosts` …) are put between, made
    /// once per image, so that they show neither in [`changes`](crate::changes) nor in
    /// [`diff_tar`](crate::diff_tar).
    ///
    /// # Errors
    /// [`Error::InvalidId`], [`Error::ContainerExists`], [`Error::LayerNotFound`],
    /// [`Error::WrongChain`] where the layers aren't a stack, [`Error::Archive`] where a layer has
    /// a hard link to what none below it holds.
    pub fn create_container(&self, id: &str, layers: &[Digest]) -> Result<ContainerFs> {
        let dir = self.container_dir(id)?;
        let _users = lock(&self.users);
        self.check_stack(layers)?;
        self.ready(layers)?;
        let lower = self.lower_dirs(layers)?;
        let ingest = self.ingest_dir()?;
        let made = self.fill(&ingest, layers.last()).and_then(|()| {
            use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
            fs::rename(&ingest, &dir).map_err(|e| match e.kind() {
                AlreadyExists | DirectoryNotEmpty => Error::ContainerExists(id.to_owned()),
                _ => failed("rename", &dir)(e),
            })
        });
        made.inspect_err(|_| self.discard(&ingest))?;
        Ok(self.container_fs(id, &dir, lower))
    }

    /// A container's file system as it was created.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`], [`Error::LayerNotFound`] where a layer got lost: it can be
    /// prepared again. [`Error::Damaged`].
    pub fn container(&self, id: &str) -> Result<ContainerFs> {
        let dir = self.container_dir(id)?;
        let _users = lock(&self.users);
        let layers = match self.top_of(&dir)? {
            None => Vec::new(),
            Some(top) => self.stack(&top)?,
        };
        if !dir.is_dir() {
            return Err(Error::ContainerNotFound(id.to_owned()));
        }
        self.ready(&layers)?;
        let lower = self.lower_dirs(&layers)?;
        Ok(self.container_fs(id, &dir, lower))
    }

    /// The ids of all containers that have a file system, sorted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn containers(&self) -> Result<Vec<String>> {
        let dir = self.root.join("containers");
        let mut ids = Vec::new();
        for entry in fs::read_dir(&dir).map_err(failed("list", &dir))? {
            let entry = entry.map_err(failed("list", &dir))?;
            if let Ok(name) = entry.file_name().into_string() {
                ids.push(name);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Removes a container's writable directories; they are deleted in the background. It is no
    /// error if they don't exist. Nothing of it may be mounted any more.
    ///
    /// # Errors
    /// [`Error::InvalidId`], [`Error::Io`].
    pub fn remove_container(&self, id: &str) -> Result<()> {
        self.trash.take(&self.container_dir(id)?)
    }

    /// What a container's writable directory takes.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`], [`Error::Archive`].
    pub fn usage(&self, id: &str) -> Result<Usage> {
        let upper = self.container_dir(id)?.join("upper");
        if !upper.is_dir() {
            return Err(Error::ContainerNotFound(id.to_owned()));
        }
        usage_of(&upper)
    }

    fn container_dir(&self, id: &str) -> Result<PathBuf> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        let starts_well = id.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if !starts_well || id.len() > 255 || !id.bytes().all(allowed) {
            return Err(Error::InvalidId(id.to_owned()));
        }
        Ok(self.root.join("containers").join(id))
    }

    fn container_fs(&self, id: &str, dir: &Path, lower: Vec<PathBuf>) -> ContainerFs {
        ContainerFs {
            id: id.to_owned(),
            lower,
            upper: dir.join("upper"),
            work: dir.join("work"),
            attrs: self.attrs(),
        }
    }

    /// Makes what a container's directory holds.
    fn fill(&self, dir: &Path, top: Option<&Digest>) -> Result<()> {
        for (name, mode) in [("upper", 0o755), ("work", 0o700)] {
            let path = dir.join(name);
            fs::create_dir(&path).map_err(failed("create", &path))?;
            fs::set_permissions(&path, Permissions::from_mode(mode))
                .map_err(failed("change the mode of", &path))?;
            let (uid, gid) = self.options.owners.on_disk(Path::new("/"), 0, 0)?;
            std::os::unix::fs::chown(&path, Some(uid), Some(gid))
                .map_err(failed("change the owner of", &path))?;
        }
        if let Some(top) = top {
            let target = Path::new("../../layers").join(format!(
                "{}-{}",
                top.algorithm().as_str(),
                top.hex()
            ));
            let path = dir.join(TOP);
            std::os::unix::fs::symlink(target, &path).map_err(failed("create", &path))?;
        }
        Ok(())
    }

    /// The chain id of a container's topmost layer.
    fn top_of(&self, dir: &Path) -> Result<Option<Digest>> {
        let path = dir.join(TOP);
        let target = match fs::read_link(&path) {
            Ok(target) => target,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("read the link", &path)(e)),
        };
        let name = target
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.split_once('-')
            .filter(|(algorithm, _)| *algorithm == Algorithm::Sha256.as_str())
            .and_then(|(_, hex)| Digest::from_hex(Algorithm::Sha256, hex).ok())
            .map(Some)
            .ok_or_else(|| Error::Damaged {
                path,
                reason: format!("it leads to {}", target.display()),
            })
    }

    /// A container that uses a layer.
    pub(crate) fn user_of(&self, chain_id: &Digest) -> Result<Option<String>> {
        for id in self.containers()? {
            let top = match self.top_of(&self.root.join("containers").join(&id)) {
                Ok(Some(top)) => top,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "can't tell the layers of container {id}");
                    continue;
                }
            };
            if top == *chain_id || self.stack(&top).is_ok_and(|ids| ids.contains(chain_id)) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Directories for the overlay, topmost first, with the mount points' one.
    fn lower_dirs(&self, layers: &[Digest]) -> Result<Vec<PathBuf>> {
        let mut dirs = vec![self.init(layers)?];
        for id in layers.iter().rev() {
            dirs.push(self.link(id, "fs")?);
        }
        Ok(dirs)
    }

    fn check_stack(&self, layers: &[Digest]) -> Result<()> {
        let Some(top) = layers.last() else {
            return Ok(());
        };
        for id in layers {
            if self.layer(id).is_none() {
                return Err(Error::LayerNotFound(id.clone()));
            }
        }
        let stack = self.stack(top)?;
        match stack
            .iter()
            .zip(layers)
            .find(|(expected, given)| expected != given)
        {
            Some((expected, given)) => Err(Error::WrongChain {
                chain_id: given.clone(),
                expected: expected.clone(),
            }),
            None if stack.len() != layers.len() => Err(Error::WrongChain {
                chain_id: top.clone(),
                expected: top.clone(),
            }),
            None => Ok(()),
        }
    }
}
