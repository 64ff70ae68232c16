//! Root file systems, as the engine uses them.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use coracle_oci::Digest;
use coracle_runtime::container::{Change, ChangeKind};
use coracle_runtime::{Result, RuntimeError};
use coracle_snapshot::{ContainerFs, Error, Options};
use coracle_store::Layer;
use rustix::fs::{Gid, Mode, Uid};

use crate::config::Config;
use crate::container::record::Record;
use crate::engine::Engine;

/// How a directory is opened to be read and filled.
const DIRECTORY: rustix::fs::OFlags = rustix::fs::OFlags::RDONLY
    .union(rustix::fs::OFlags::DIRECTORY)
    .union(rustix::fs::OFlags::CLOEXEC);

/// All layers and containers' roots.
pub(crate) struct Snapshots {
    inner: coracle_snapshot::Snapshots,
    data_root: PathBuf,
}

impl Snapshots {
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let options = Options {
            rootless: config.host.rootless,
            owners: crate::host::owners(),
            ..Default::default()
        };
        let inner = coracle_snapshot::Snapshots::open(&config.data_root.join("snapshots"), options)
            .map_err(error)?;
        Ok(Self {
            inner,
            data_root: config.data_root.clone(),
        })
    }

    pub(crate) fn has_layer(&self, chain_id: &Digest) -> bool {
        self.inner.layer(chain_id).is_some()
    }

    /// Unpacks a layer, plain or compressed; one that is there already is left as it is.
    pub(crate) fn unpack(
        &self,
        layer: &Layer,
        parent: Option<&Digest>,
        from: impl Read + Send,
    ) -> Result<()> {
        self.inner
            .prepare_layer(&layer.chain_id, parent, &layer.diff_id, from)
            .map(drop)
            .map_err(error)
    }

    /// Bytes of an unpacked layer; 0 of one that is not.
    pub(crate) fn layer_size(&self, chain_id: &Digest) -> u64 {
        self.inner.layer(chain_id).map_or(0, |layer| layer.size)
    }

    /// Removes a layer that no container uses any more.
    pub(crate) fn remove_layer(&self, chain_id: &Digest) {
        match self.inner.remove_layer(chain_id) {
            Ok(()) | Err(Error::LayerNotFound(_)) => {}
            Err(error) => tracing::warn!(%chain_id, %error, "cannot remove a layer"),
        }
    }

    /// Makes a container's writable layer.
    pub(crate) fn create(&self, record: &Record) -> Result<()> {
        let layers = record
            .layers
            .iter()
            .map(|text| {
                text.parse::<Digest>()
                    .map_err(|error| RuntimeError::Internal(format!("layer {text}: {error}")))
            })
            .collect::<Result<Vec<_>>>()?;
        self.inner
            .create_container(&record.id, &layers)
            .map(drop)
            .map_err(error)
    }

    /// Removes it; none there is no error.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        match self.inner.remove_container(id) {
            Ok(()) | Err(Error::ContainerNotFound(_)) => Ok(()),
            Err(failure) => Err(error(failure)),
        }
    }

    /// The directories that its root is mounted from.
    pub(crate) fn rootfs(&self, id: &str) -> Result<ContainerFs> {
        self.inner.container(id).map_err(error)
    }

    /// Its root, mounted for whoever holds the descriptor.
    pub(crate) fn mount(&self, id: &str) -> Result<OwnedFd> {
        let root = self.rootfs(id)?;
        let mount = coracle_snapshot::mount_detached(&root, false).map_err(error)?;
        // A mount's own descriptor is only good for look-ups; this one keeps the mount as well.
        rustix::fs::openat(&mount, ".", DIRECTORY, rustix::fs::Mode::empty()).map_err(|error| {
            RuntimeError::Internal(format!("cannot open the root file system: {error}"))
        })
    }

    pub(crate) fn changes(&self, id: &str) -> Result<Vec<Change>> {
        let changes = coracle_snapshot::changes(&self.rootfs(id)?).map_err(error)?;
        Ok(changes
            .into_iter()
            .map(|change| Change {
                path: change.path.to_string_lossy().into_owned(),
                kind: match change.kind {
                    coracle_snapshot::ChangeKind::Modified => ChangeKind::Modified,
                    coracle_snapshot::ChangeKind::Added => ChangeKind::Added,
                    coracle_snapshot::ChangeKind::Deleted => ChangeKind::Deleted,
                },
            })
            .collect())
    }

    /// Writes what differs from the image as a compressed layer.
    pub(crate) fn diff(&self, id: &str, out: &mut (impl Write + Send)) -> Result<()> {
        coracle_snapshot::diff_gzip(&self.rootfs(id)?, out)
            .map(drop)
            .map_err(error)
    }

    /// Bytes in its writable layer.
    pub(crate) fn usage(&self, id: &str) -> u64 {
        self.inner.usage(id).map_or(0, |usage| usage.bytes)
    }

    /// Copies the image's content into volumes that are empty, as Docker does at creation.
    pub(crate) fn fill_volumes(
        &self,
        engine: &Engine,
        record: &Record,
        volumes: &[(String, String)],
    ) -> Result<()> {
        use std::os::fd::AsFd;
        let mut root = None;
        for (name, path) in volumes {
            let _mounted = engine.volumes.mount_one(name)?;
            let target = engine.volumes.directory(name)?;
            let empty = std::fs::read_dir(&target)
                .map_err(|error| RuntimeError::Internal(format!("volume {name}: {error}")))?
                .next()
                .is_none();
            if !empty {
                continue;
            }
            let root = match &root {
                Some(root) => root,
                None => root.insert(self.mount(&record.id)?),
            };
            let source = match coracle_archive::copy::stat(root.as_fd(), path.as_ref()) {
                Ok(stat) if stat.is_dir() => path,
                // Nothing there to be copied.
                _ => continue,
            };
            copy_dir(root.as_fd(), source, &target).map_err(|error| {
                RuntimeError::Internal(format!("cannot fill volume {name}: {error}"))
            })?;
        }
        Ok(())
    }

    /// The file system below the data root.
    pub(crate) fn filesystem(&self) -> String {
        const KNOWN: [(i64, &str); 6] = [
            (0xef53, "extfs"),
            (0x9123_683e, "btrfs"),
            (0x5846_5342, "xfs"),
            (0x0102_1994, "tmpfs"),
            (0x794c_7630, "overlayfs"),
            (0x2fc1_2fc1, "zfs"),
        ];
        let magic = rustix::fs::statfs(&self.data_root)
            .map(|stat| stat.f_type)
            .unwrap_or_default();
        KNOWN
            .iter()
            .find(|(known, _)| *known == magic)
            .map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned())
    }
}

/// Copies a directory inside a root to one of ours, attributes of the directory itself included.
fn copy_dir(
    root: std::os::fd::BorrowedFd<'_>,
    source: &str,
    target: &std::path::Path,
) -> std::result::Result<(), coracle_archive::Error> {
    use std::os::fd::AsFd;
    let (reader, writer) = std::io::pipe().map_err(write_error)?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let mut tar = coracle_archive::TarWriter::new(writer);
            let options = coracle_archive::WriteOptions {
                // `.` is an entry of its own, so that owner and mode of the directory come along.
                rename: b".".to_vec(),
                one_mount: true,
                nanoseconds: true,
                layer: None,
            };
            coracle_archive::write_tree(root, source.as_bytes(), &mut tar, &options)?;
            tar.finish().map(drop)
        });
        let directory = rustix::fs::open(target, DIRECTORY, rustix::fs::Mode::empty())
            .map_err(|error| write_error(error.into()))?;
        let options = coracle_archive::copy::ExtractOptions {
            limits: coracle_archive::Limits::default(),
            owners: coracle_archive::Owners::Archived,
            no_overwrite_dir_non_dir: false,
            devices: true,
        };
        let read =
            coracle_archive::copy::extract_into(directory.as_fd(), "/".as_ref(), reader, &options);
        let written = writing
            .join()
            .unwrap_or_else(|_| Err(write_error(std::io::Error::other("the copy died"))));
        read.and(written)?;
        // The directory itself: an archive can't say whose the place is that it is unpacked in.
        let from = coracle_archive::open_dir_in_root(root, source.as_ref())?;
        let stat = rustix::fs::fstat(&from).map_err(|error| write_error(error.into()))?;
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::fchown(&directory, Some(uid), Some(gid))
            .and_then(|()| rustix::fs::fchmod(&directory, Mode::from_raw_mode(stat.st_mode)))
            .map_err(|error| write_error(error.into()))
    })
}

fn write_error(error: std::io::Error) -> coracle_archive::Error {
    coracle_archive::Error::Write(error)
}

/// What a snapshot's error means to the user.
pub(crate) fn error(error: Error) -> RuntimeError {
    match error {
        Error::Archive(ref source) if !matches!(source, coracle_archive::Error::Io { .. }) => {
            RuntimeError::InvalidArgument(format!("failed to register layer: {error}"))
        }
        Error::WrongDiff { .. } | Error::WrongChain { .. } => {
            RuntimeError::InvalidArgument(format!("failed to register layer: {error}"))
        }
        Error::LayerInUse { .. } => RuntimeError::InvalidState(error.to_string()),
        other => RuntimeError::Internal(other.to_string()),
    }
}
