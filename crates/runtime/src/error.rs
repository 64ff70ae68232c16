//! The one error type that crosses the seam.

/// What a [`Runtime`](crate::Runtime) answers.
pub type Result<T, E = RuntimeError> = std::result::Result<T, E>;

/// Why a request failed. Each kind stands for one HTTP status, see [`RuntimeError::status`].
///
/// Messages are for users: they say what was wrong and, where it helps, what to do. Where Docker
/// has a well-known text for the case, it is Docker's, because clients match on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// No such container, exec, network, volume, path … (404).
    #[error("{0}")]
    NotFound(String),
    /// No such image (404).
    #[error("{0}")]
    ImageNotFound(String),
    /// The name is taken (409).
    #[error("{0}")]
    AlreadyExists(String),
    /// The object is in a state that does not allow it (409).
    #[error("{0}")]
    InvalidState(String),
    /// The request makes no sense, or asks for what is not honoured (400).
    #[error("{0}")]
    InvalidArgument(String),
    /// Credentials are missing or wrong (401).
    #[error("{0}")]
    Unauthorized(String),
    /// Not allowed (403).
    #[error("{0}")]
    Forbidden(String),
    /// It took too long (408).
    #[error("{0}")]
    Timeout(String),
    /// This runtime does not do that; see [`Capabilities`](crate::Capabilities) (501).
    #[error("{0} is not supported by this runtime")]
    NotSupported(String),
    /// The backend behind the runtime failed, such as a registry or a bridged engine (502).
    #[error("{0}")]
    Backend(String),
    /// The service is not there now: the daemon drains, the builder is gone (503).
    #[error("{0}")]
    Unavailable(String),
    /// A fault of ours or of the host's: a disk error, a broken invariant (500).
    #[error("{0}")]
    Internal(String),
}

impl RuntimeError {
    /// Docker's text for a container that is not there.
    pub fn no_such_container(name: &str) -> Self {
        Self::NotFound(format!("No such container: {name}"))
    }

    /// Docker's text for an image that is not there.
    pub fn no_such_image(name: &str) -> Self {
        Self::ImageNotFound(format!("No such image: {name}"))
    }

    /// Of a container that is a process, and so has no console that a kernel writes to.
    pub fn no_boot_log(name: &str) -> Self {
        Self::InvalidArgument(format!(
            "container {name} is not in a virtual machine, and has no boot log"
        ))
    }

    /// Docker's text for an exec instance that is not there.
    pub fn no_such_exec(id: &str) -> Self {
        Self::NotFound(format!("No such exec instance: {id}"))
    }

    /// The HTTP status that stands for this kind.
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotFound(_) | Self::ImageNotFound(_) => 404,
            Self::AlreadyExists(_) | Self::InvalidState(_) => 409,
            Self::InvalidArgument(_) => 400,
            Self::Unauthorized(_) => 401,
            Self::Forbidden(_) => 403,
            Self::Timeout(_) => 408,
            Self::NotSupported(_) => 501,
            Self::Backend(_) => 502,
            Self::Unavailable(_) => 503,
            Self::Internal(_) => 500,
        }
    }
}
