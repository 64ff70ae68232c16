//! What can go wrong with snapshots.

use std::io;
use std::path::{Path, PathBuf};

use coracle_oci::Digest;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A layer or container that can't be prepared, mounted, compared or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process uses the directory.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The snapshots' root.
        path: PathBuf,
    },
    /// The layer isn't unpacked.
    #[error("layer {0} isn't unpacked")]
    LayerNotFound(Digest),
    /// The layer belongs to a container.
    #[error("layer {layer} is in use by container {container}")]
    LayerInUse {
        /// Its chain id.
        layer: Digest,
        /// One of the containers.
        container: String,
    },
    /// The chain id isn't that of the parent and the diff id.
    #[error("chain id {chain_id} doesn't belong to the layer, {expected} does")]
    WrongChain {
        /// As given.
        chain_id: Digest,
        /// As it follows from parent and diff id.
        expected: Digest,
    },
    /// The uncompressed layer isn't what the image configuration says.
    #[error("the layer's uncompressed digest is {found}, the image says {expected}")]
    WrongDiff {
        /// The image configuration's diff id.
        expected: Digest,
        /// What was unpacked.
        found: Digest,
    },
    /// There is no such container.
    #[error("container {0} has no file system")]
    ContainerNotFound(String),
    /// There is such a container.
    #[error("container {0} has a file system already")]
    ContainerExists(String),
    /// An id that can't be a directory's name.
    #[error("{0:?} isn't a container id: use letters, digits, '_', '.' and '-'")]
    InvalidId(String),
    /// A file of ours that makes no sense.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel refused the overlay.
    #[error("can't mount the overlay: {source}{}", detail(log))]
    Mount {
        /// What the kernel says about it; may be empty.
        log: String,
        /// Why.
        source: io::Error,
    },
    /// The layer's archive, or a tree.
    #[error(transparent)]
    Archive(#[from] coracle_archive::Error),
    /// The kernel refused an operation.
    #[error("can't {op} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        op: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn detail(log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!(" ({log})")
    }
}

/// Makes an [`Error::Io`].
pub(crate) fn failed<E: Into<io::Error>>(op: &'static str, path: &Path) -> impl FnOnce(E) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        op,
        path,
        source: source.into(),
    }
}
