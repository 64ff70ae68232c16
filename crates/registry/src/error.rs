//! What can go wrong between us and a registry.

use std::sync::Arc;
use std::time::Duration;

use coracle_oci::Digest;
use http::StatusCode;

/// A failure of the registry client. The texts are Docker's where a user of Docker knows them.
///
/// It can be cloned because everybody who waits for one download gets its failure.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry refuses access to the repository, or hides that it doesn't exist.
    #[error("{}", denied(action, repository, reason))]
    Denied {
        /// `pull`, `push` or `delete`.
        action: &'static str,
        /// The short name of the repository.
        repository: String,
        /// The registry's words.
        reason: String,
    },
    /// The credentials are missing or wrong.
    #[error("unauthorized: {reason}")]
    Unauthorized {
        /// The registry's words.
        reason: String,
    },
    /// The registry has no such tag or manifest.
    #[error("manifest for {reference} not found: {reason}")]
    ManifestNotFound {
        /// The short reference that was asked for.
        reference: String,
        /// The registry's words.
        reason: String,
    },
    /// The registry has no such repository.
    #[error("repository {repository} not found: {reason}")]
    RepositoryNotFound {
        /// The short name of the repository.
        repository: String,
        /// The registry's words.
        reason: String,
    },
    /// The registry has no such blob.
    #[error("blob {digest} not found in {repository}")]
    BlobNotFound {
        /// The short name of the repository.
        repository: String,
        /// The blob that was asked for.
        digest: Digest,
    },
    /// An index has nothing for the platform.
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoMatchingManifest {
        /// What was looked for, such as `linux/arm64`.
        platform: String,
    },
    /// An image is for another platform than the one that was asked for.
    #[error(
        "image with reference {reference} was found but does not match the specified platform: \
         wanted {wanted}, actual: {actual}"
    )]
    PlatformMismatch {
        /// The short reference.
        reference: String,
        /// The platform asked for.
        wanted: String,
        /// The platform of the image.
        actual: String,
    },
    /// A name did not resolve, or nobody answered at its address.
    #[error("failed to connect to {host}: {reason}")]
    Connect {
        /// The host and port.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// No trusted connection could be made.
    #[error("failed to verify {host}: tls: {reason}")]
    Tls {
        /// The host and port.
        host: String,
        /// What is wrong with the certificate or the handshake.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("{host}: timed out while {doing}")]
    Timeout {
        /// The host and port.
        host: String,
        /// What was waited for.
        doing: &'static str,
    },
    /// The connection broke.
    #[error("connection to {host} was lost: {reason}")]
    Disconnected {
        /// The host and port.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The registry wants us to come back later.
    #[error("toomanyrequests: {reason}")]
    RateLimited {
        /// The registry's words.
        reason: String,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// Any other refusal.
    #[error("{host} answered {status}: {reason}")]
    Registry {
        /// The host and port.
        host: String,
        /// The HTTP status.
        status: StatusCode,
        /// The registry's words.
        reason: String,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// Content isn't what its digest promised.
    #[error("content verification failed: expected {expected}, received {received}")]
    DigestMismatch {
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        received: Digest,
    },
    /// Content is shorter or longer than its descriptor promised.
    #[error("content of {digest} has {received} bytes, expected {expected}")]
    SizeMismatch {
        /// The digest asked for.
        digest: Digest,
        /// The bytes promised.
        expected: u64,
        /// The bytes that came; for an endless body, how many of them were too many.
        received: u64,
    },
    /// A document is larger than anything sensible.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The registry doesn't speak the distribution protocol.
    #[error("{host}: {reason}")]
    Protocol {
        /// The host and port.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// A manifest of a kind that isn't supported, or a malformed one.
    #[error("invalid or unsupported manifest: {reason}")]
    Manifest {
        /// What is wrong.
        reason: String,
    },
    /// A layer that has to come from outside the registry, which isn't allowed.
    #[error("layer {digest} is a foreign layer: fetching from its URLs is not allowed")]
    ForeignLayer {
        /// The layer.
        digest: Digest,
    },
    /// Something in the registries configuration can't be used.
    #[error("invalid registry configuration: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// Docker's `config.json` or a credential helper failed.
    #[error("credentials: {reason}")]
    Credentials {
        /// What is wrong; never a secret.
        reason: String,
    },
    /// Content that should be pushed is not in the local store.
    #[error("content {digest} is missing locally: pull the image for its platform again")]
    MissingContent {
        /// The blob.
        digest: Digest,
    },
    /// The local store failed.
    #[error("content store: {0}")]
    Store(Arc<dyn std::error::Error + Send + Sync>),
}

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller has to know about an error to choose a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The image, repository or platform does not exist, or access is denied.
    NotFound,
    /// Log in first.
    Unauthorized,
    /// The registry can't be reached or misbehaves.
    Unavailable,
    /// What came back is not what was promised.
    Corrupt,
    /// The request or the configuration can't be honoured.
    Invalid,
    /// Something on this machine failed.
    Internal,
}

fn denied(action: &str, repository: &str, reason: &str) -> String {
    if action == "pull" {
        return format!(
            "pull access denied for {repository}, repository does not exist or may require \
             'docker login': {reason}"
        );
    }
    reason.to_owned()
}

impl Error {
    pub(crate) fn protocol(host: &str, reason: impl Into<String>) -> Self {
        Self::Protocol {
            host: host.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn config(reason: impl Into<String>) -> Self {
        Self::Config {
            reason: reason.into(),
        }
    }

    pub(crate) fn credentials(reason: impl Into<String>) -> Self {
        Self::Credentials {
            reason: reason.into(),
        }
    }

    pub(crate) fn store(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Store(Arc::from(error.into()))
    }

    /// The group that the error belongs to.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied { .. }
            | Self::ManifestNotFound { .. }
            | Self::RepositoryNotFound { .. }
            | Self::BlobNotFound { .. }
            | Self::NoMatchingManifest { .. }
            | Self::PlatformMismatch { .. } => ErrorKind::NotFound,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::Disconnected { .. }
            | Self::RateLimited { .. }
            | Self::Registry { .. } => ErrorKind::Unavailable,
            Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. } => ErrorKind::Corrupt,
            Self::Manifest { .. } | Self::ForeignLayer { .. } | Self::Config { .. } => {
                ErrorKind::Invalid
            }
            Self::Credentials { .. } | Self::MissingContent { .. } | Self::Store(_) => {
                ErrorKind::Internal
            }
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Disconnected { .. }
            | Self::RateLimited { .. } => true,
            Self::Registry { status, .. } => {
                status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT
            }
            _ => false,
        }
    }

    /// When the registry wants us back, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Registry { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}
