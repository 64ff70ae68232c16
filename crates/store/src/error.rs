//! What can go wrong, and which kind of failure it is.

use std::io;
use std::path::PathBuf;

use coracle_catalog::Conflict;
use coracle_catalog::FindError;
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
    /// The image is there, but not for this platform (Docker's text).
    #[error(
        "image with reference {image} was found but its platform ({found}) does not match the \
         specified platform ({wanted})"
    )]
    PlatformMismatch {
        /// What was asked for.
        image: String,
        /// What it runs on.
        found: String,
        /// What it should run on.
        wanted: String,
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
    /// What was asked for makes no sense, for the reason in the message.
    #[error("{0}")]
    Refused(&'static str),
    /// An archive is not one of an image.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
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

/// Why an archive can't be loaded or imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The tar or its compression is damaged, too large, or of an unsupported kind.
    #[error("invalid archive: {0}")]
    Tar(#[from] coracle_archive::Error),
    /// There is nothing in it.
    #[error("invalid archive: it is empty")]
    Empty,
    /// A tar, but not one of an image.
    #[error(
        "invalid archive: not an image, it has neither \"index.json\" nor \"manifest.json\"; \
         a root file system is loaded by import"
    )]
    NotAnImage,
    /// An archive as Docker wrote it before version 1.10.
    #[error(
        "invalid archive: it was saved by Docker 1.9 or older, which is not supported; \
         save it again with a newer one"
    )]
    Legacy,
    /// An index without any image.
    #[error("invalid archive: no image in it can be used here")]
    NoImage,
    /// A name that is no valid path within the archive.
    #[error("invalid archive: entry {0:?} has no name within the archive")]
    Path(String),
    /// Two files of the same name.
    #[error("invalid archive: entry {0:?} is there twice, and not the same")]
    Duplicate(String),
    /// Neither a file nor a link nor a directory, or a sparse file.
    #[error("invalid archive: entry {0:?} is neither a plain file nor a link")]
    EntryKind(String),
    /// A file that another names isn't there, or its links lead nowhere.
    #[error("invalid archive: {0:?} is not in it")]
    Missing(String),
    /// A file with metadata is too large.
    #[error("invalid archive: {name:?} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// More files or images than allowed.
    #[error("invalid archive: more than {max} {what}")]
    TooMany {
        /// `files` or `images`.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// A file with metadata that can't be understood.
    #[error("invalid archive: {name:?} is not valid: {reason}")]
    Json {
        /// The file.
        name: String,
        /// Why.
        reason: String,
    },
    /// A layer isn't the one that the configuration names.
    #[error("invalid archive: invalid diffID for layer {layer}: expected {expected}, got {got}")]
    DiffId {
        /// Which layer, from 0.
        layer: usize,
        /// The configuration's.
        expected: Digest,
        /// The layer's.
        got: Digest,
    },
}

impl StoreError {
    /// What this failure means to who asked.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchImage(_)
            | Self::Ambiguous(_)
            | Self::NoSuchBlob(_)
            | Self::NoPlatform { .. }
            | Self::PlatformMismatch { .. } => ErrorKind::NotFound,
            Self::InUse(_) | Self::Busy(_) | Self::Locked(_) => ErrorKind::Conflict,
            Self::Reference(_)
            | Self::Refused(_)
            | Self::Archive(_)
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

impl From<Conflict> for StoreError {
    fn from(conflict: Conflict) -> Self {
        Self::InUse(conflict.to_string())
    }
}

impl From<FindError> for StoreError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::None(text) => Self::NoSuchImage(text),
            FindError::Several(text) => Self::Ambiguous(text),
            FindError::Reference(error) => Self::Reference(error),
        }
    }
}
