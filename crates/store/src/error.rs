//! What can go wrong, and which kind of failure it is.

use std::io;
use std::path::PathBuf;

use coracle_oci::ConfigError;
use coracle_oci::Digest;
use coracle_oci::DocumentError;
use coracle_oci::ReferenceError;
use coracle_oci::VerifyError;

/// What a [`StoreError`] means to who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The image or the content doesn't exist.
    NotFound,
    /// What was asked for stands against what is.
    Conflict,
    /// The input is not valid: a name, an archive, a manifest.
    Invalid,
    /// The store itself failed: the disk, or damage to the store's files.
    Internal,
}

/// Why an operation on the store failed. Nothing has changed then, unless the method says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No image has this name or id (Docker's text).
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// Several images have ids that start so.
    #[error("multiple image ids found with provided prefix: {0}")]
    Ambiguous(String),
    /// The content isn't in the store.
    #[error("content {0} is not in the store")]
    NoSuchBlob(Digest),
    /// An image that the store knows has lost some of its content.
    #[error("image {image} lacks content {missing}: pull or load it again")]
    Incomplete {
        /// The image's id, or the target that was to become an image.
        image: Digest,
        /// What is missing.
        missing: Digest,
    },
    /// No manifest of this platform is there.
    #[error("image {target} has no content for platform {platform}")]
    NoPlatform {
        /// The index.
        target: Digest,
        /// What was asked for.
        platform: String,
    },
    /// The image can't be removed (Docker's text).
    #[error("conflict: {0}")]
    InUse(String),
    /// Somebody else is fetching the same content.
    #[error("content {0} is being fetched already")]
    Busy(Digest),
    /// Another process has the store.
    #[error("the store at {0} is in use by another process")]
    Locked(PathBuf),
    /// A reference is not valid.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A tag was to be given by something that is no tag.
    #[error("{0}")]
    Tag(&'static str),
    /// Content isn't what its descriptor announced.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A manifest or an index is not valid.
    #[error("{digest}: {source}")]
    Document {
        /// Which.
        digest: Digest,
        /// Why.
        source: DocumentError,
    },
    /// An image configuration is not valid.
    #[error("{digest}: {source}")]
    Config {
        /// Which.
        digest: Digest,
        /// Why.
        source: ConfigError,
    },
    /// The content is no image.
    #[error("{0} is not an image: its manifest has media type {1:?}")]
    NotAnImage(Digest, String),
    /// A manifest and its configuration tell different numbers of layers.
    #[error("image {image} has {layers} layers and {diff_ids} diff ids")]
    LayerCount {
        /// The manifest.
        image: Digest,
        /// Layers of the manifest.
        layers: usize,
        /// Diff ids of the configuration.
        diff_ids: usize,
    },
    /// Content is larger than what its use allows.
    #[error("content {digest} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Content on disk has changed since it was checked.
    #[error("content {0} is damaged: remove the images that use it and pull them again")]
    Damaged(Digest),
    /// The store's directory is not what it should be.
    #[error("{0} is not a store that this version can use: {1}")]
    Layout(PathBuf, String),
    /// The image index was set aside because it could not be read.
    #[error(
        "{0} could not be read and was set aside: repair it or remove it, \
         nothing is collected until then"
    )]
    SetAside(PathBuf),
    /// A system call failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The stream that the caller gave failed.
    #[error("{action}: {source}")]
    Stream {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl StoreError {
    /// What this failure means to who asked.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchImage(_)
            | Self::Ambiguous(_)
            | Self::NoSuchBlob(_)
            | Self::NoPlatform { .. } => ErrorKind::NotFound,
            Self::InUse(_) | Self::Busy(_) | Self::Locked(_) => ErrorKind::Conflict,
            Self::Reference(_)
            | Self::Tag(_)
            | Self::Verify(_)
            | Self::Document { .. }
            | Self::Config { .. }
            | Self::NotAnImage(..)
            | Self::LayerCount { .. }
            | Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Incomplete { .. }
            | Self::Damaged(_)
            | Self::Layout(..)
            | Self::SetAside(_)
            | Self::Io { .. }
            | Self::Stream { .. } => ErrorKind::Internal,
        }
    }

    /// Makes a system call's error one of the store's: `.map_err(StoreError::io("reading", path))`.
    pub(crate) fn io<E: Into<io::Error>>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            action,
            path: path.into(),
            source: source.into(),
        }
    }
}
