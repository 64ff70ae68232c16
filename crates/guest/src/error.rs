//! Errors.

use std::sync::Arc;

use coracle_task::ErrorKind;
use serde::{Deserialize, Serialize};

/// What the guest answers when it can't do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What happened, for users.
    pub message: String,
}

impl Failure {
    /// A failure of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// A failure that is the guest's own.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}

/// Why a call did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The guest refused, or it failed.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The connection ended or broke, before or during the call: the machine ended, or its agent
    /// did what the protocol does not allow.
    #[error("the connection to the machine's agent is lost: {0}")]
    Gone(Arc<str>),
    /// The agent is of another version: its initrd was not built with this program.
    #[error("the machine's agent speaks version {theirs} of the protocol, this is version {ours}")]
    Version {
        /// The guest's.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// The request is too large for a frame.
    #[error("a request of {0} bytes is over the limit; send large files over a channel")]
    TooLong(usize),
    /// An argument can't be put into a request.
    #[error("cannot encode the request: {0}")]
    Encode(String),
    /// Too many channels are open.
    #[error("too many streams are open between the host and its machine")]
    TooManyChannels,
}

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn gone(error: &std::io::Error) -> Self {
        Self::Gone(error.to_string().into())
    }

    pub(crate) fn protocol(what: &str) -> Self {
        Self::Gone(format!("broken protocol: {what}").into())
    }

    /// What kind of failure, as a sandbox of the host would tell it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(failure) => failure.kind,
            Self::TooLong(_) | Self::Encode(_) => ErrorKind::InvalidArgument,
            Self::Gone(_) | Self::Version { .. } | Self::TooManyChannels => ErrorKind::Internal,
        }
    }
}
