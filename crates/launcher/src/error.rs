//! What can go wrong, and how the helper tells its caller.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request asks for something that this launcher doesn't do; the name is its place in the
    /// runtime specification, as `linux.intelRdt`.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The request contradicts itself or the specification.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// A step of the set-up failed.
    #[error("{0}")]
    Failed(Failure),
    /// The launcher itself failed: no helper could be run, or it ended without a word.
    #[error("cannot launch: {0}")]
    Launcher(String),
}

impl Error {
    /// What sort of failure it is, which decides the exit code that Docker's users see.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Error::Failed(failure) => failure.kind,
            Error::Unsupported(_) | Error::Invalid(_) | Error::Launcher(_) => Kind::Setup,
        }
    }
}

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The command does not exist in the container.
    CommandNotFound,
    /// The command exists and can't be executed.
    CommandNotExecutable,
    /// Anything else.
    Setup,
}

impl Kind {
    /// The exit code by which `docker run` tells this failure: 127, 126 or 125.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Kind::CommandNotFound => 127,
            Kind::CommandNotExecutable => 126,
            Kind::Setup => 125,
        }
    }
}

/// A step of the set-up that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure it is.
    pub kind: Kind,
    /// The step that failed.
    pub stage: Stage,
    /// The system's error number, if a system call failed.
    pub errno: Option<i32>,
    /// What happened, for people, in the words that Docker's users know where there are such.
    pub message: String,
}

/// A step of the set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stage {
    /// Talking to the caller.
    Protocol,
    /// Joining the control groups.
    Cgroup,
    /// Making or joining namespaces.
    Namespaces,
    /// Host and domain name.
    Hostname,
    /// Mounting the root file system and changing to it.
    Rootfs,
    /// The other mounts, masked and read-only paths.
    Mounts,
    /// Device nodes.
    Devices,
    /// The terminal.
    Console,
    /// Kernel parameters.
    Sysctl,
    /// Looking up users and groups.
    User,
    /// Resource limits, priorities, and other properties of the process.
    Process,
    /// User, groups and capabilities.
    Credentials,
    /// The system call filter.
    Seccomp,
    /// Finding and executing the command.
    Command,
}

/// The result of a step in the helper.
pub(crate) type Step<T> = Result<T, Failure>;

impl Failure {
    /// A failure of the set-up that is no system call's.
    pub(crate) fn new(stage: Stage, message: impl Into<String>) -> Failure {
        Failure {
            kind: Kind::Setup,
            stage,
            errno: None,
            message: message.into(),
        }
    }

    /// A failed system call, told as `what: no such file or directory`.
    pub(crate) fn errno(stage: Stage, errno: Errno, what: impl AsRef<str>) -> Failure {
        Failure {
            kind: Kind::Setup,
            stage,
            errno: Some(errno.raw_os_error()),
            message: format!("{}: {}", what.as_ref(), errno_text(errno)),
        }
    }
}

/// Turns system errors into failures of a step.
pub(crate) trait Context<T> {
    /// Says in which step the error came, and what was being done.
    fn during<S: AsRef<str>>(self, stage: Stage, what: impl FnOnce() -> S) -> Step<T>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn during<S: AsRef<str>>(self, stage: Stage, what: impl FnOnce() -> S) -> Step<T> {
        self.map_err(|errno| Failure::errno(stage, errno, what()))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn during<S: AsRef<str>>(self, stage: Stage, what: impl FnOnce() -> S) -> Step<T> {
        self.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => Failure::errno(stage, errno, what()),
            None => Failure::new(stage, format!("{}: {error}", what().as_ref())),
        })
    }
}

/// The system's text for an error number, in the lower case that Docker's users know.
pub(crate) fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_dockers_do() {
        let failure = Failure::errno(Stage::Mounts, Errno::NOENT, "stat /x");
        assert_eq!(failure.to_string(), "stat /x: no such file or directory");
        assert_eq!(Kind::CommandNotFound.exit_code(), 127);
        assert_eq!(
            Error::Unsupported("linux.intelRdt".into())
                .kind()
                .exit_code(),
            125
        );
    }
}
