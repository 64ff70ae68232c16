//! What a sandbox answers when it can't.

use coracle_task::ErrorKind;

/// Why a sandbox couldn't do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SandboxError {
    /// What kind of failure, as the task protocol tells it.
    pub kind: ErrorKind,
    /// What happened, for users.
    pub message: String,
}

impl SandboxError {
    /// A failure of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// A failure that is nobody's fault but the sandbox's.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The sandbox is not in the state that the call needs.
    pub fn state(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidState, message)
    }
}

/// The result of a call to a sandbox.
pub type Result<T, E = SandboxError> = std::result::Result<T, E>;
