//! Errors of the task protocol.

use serde::Deserialize;
use serde::Serialize;

/// What kind of failure a shim answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The command (or its working directory or interpreter) doesn't exist in the container.
    CommandNotFound,
    /// The command exists and can't be executed.
    CommandNotExecutable,
    /// There is no such exec, or its process has ended.
    NotFound,
    /// There is an exec of this id already.
    AlreadyExists,
    /// The container or exec is not in the state that the verb needs.
    InvalidState,
    /// An argument is out of its range or malformed.
    InvalidArgument,
    /// The sandbox or this version of the shim can't do it.
    Unsupported,
    /// Anything else: the message says what.
    Internal,
}

impl ErrorKind {
    /// The exit code of a container whose start failed like this, as Docker sets it: 127
    /// (not found), 126 (not executable), else 128.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::CommandNotFound => 127,
            Self::CommandNotExecutable => 126,
            _ => 128,
        }
    }
}

/// What went wrong with a call to a shim.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The shim refused, or it failed.
    #[error("{message}")]
    Shim {
        /// What kind of failure.
        kind: ErrorKind,
        /// What happened, for users.
        message: String,
    },
    /// There is no shim: nobody listens on the socket, or the shim ended during the call. Look
    /// for the exit record; without one the container died with its shim.
    #[error("the shim is gone")]
    Gone,
    /// The shim is there but doesn't say hello: it is stopped, or the host is out of its depth. What
    /// it runs is not affected.
    #[error("the shim does not answer; is its process stopped?")]
    NoAnswer,
    /// The shim speaks another version of the protocol.
    #[error("the shim speaks protocol version {theirs}, this is version {ours}")]
    Version {
        /// The shim's.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// The other side broke the protocol.
    #[error("broken task protocol: {0}")]
    Protocol(String),
    /// The socket failed.
    #[error("cannot talk to the shim: {0}")]
    Io(#[source] std::io::Error),
}

impl TaskError {
    /// An answer of the shim.
    pub fn shim(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Shim {
            kind,
            message: message.into(),
        }
    }

    /// The kind, if this is the shim's own answer.
    #[must_use]
    pub const fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Shim { kind, .. } => Some(*kind),
            _ => None,
        }
    }
}

impl From<std::io::Error> for TaskError {
    /// A connection that was refused, reset or ended is [`TaskError::Gone`].
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        match error.kind() {
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::BrokenPipe
            | Io::UnexpectedEof
            | Io::NotFound => Self::Gone,
            _ => Self::Io(error),
        }
    }
}
