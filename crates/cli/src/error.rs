//! What ends a command, and how it is told.

use std::io;

use crate::output::{Style, harmless, warn};

/// What this crate's functions give.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// The exit code of most failures.
pub(crate) const FAILURE: u8 = 1;
/// The exit code of what kept a container from being run.
pub(crate) const NOT_RUN: u8 = 125;
/// The exit code where the reader of standard output is gone: that of SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// What ends a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The daemon refused, or isn't there.
    #[error(transparent)]
    Client(#[from] coracle_client::Error),
    /// A file or stream of the user's.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// What the user asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The same, with what to do about it.
    #[error("{message}")]
    Advice { message: String, hint: String },
    /// Everything is said already.
    #[error("exit code {0}")]
    Exit(u8),
    /// The command line can't be read.
    #[error("{0}")]
    Clap(#[from] clap::Error),
}

impl Error {
    /// Something that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// An option's value that makes no sense.
    pub(crate) fn option(option: &str, value: &str, why: impl std::fmt::Display) -> Self {
        Self::Usage(format!("invalid argument {value:?} for {option}: {why}"))
    }

    /// Something with what to do about it.
    pub(crate) fn advice(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Advice {
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// A failure with a file or stream; a reader that is gone ends quietly.
    pub(crate) fn io(what: impl std::fmt::Display, source: io::Error) -> Self {
        Self::Io {
            what: what.to_string(),
            source,
        }
    }

    /// A failure to write to standard output; a reader that is gone ends quietly.
    pub(crate) fn output(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            Self::Exit(BROKEN_PIPE)
        } else {
            Self::io("standard output", source)
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Exit(code) => *code,
            _ => FAILURE,
        }
    }

    /// The exit code of a command that was to be run: Docker's, by the daemon's words.
    pub(crate) fn run_code(&self, otherwise: u8) -> u8 {
        let Self::Client(coracle_client::Error::Api { message, .. }) = self else {
            return match self {
                Self::Exit(code) => *code,
                _ => otherwise,
            };
        };
        let has = |text: &str| message.contains(text);
        if has("executable file not found") || has("no such file or directory") {
            127
        } else if has("permission denied") || has("is a directory") {
            126
        } else {
            otherwise
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Advice { hint, .. } => Some(hint),
            _ => None,
        }
    }

    /// Tells the user, on standard error.
    pub(crate) fn report(&self) {
        if matches!(self, Self::Exit(_)) {
            return;
        }
        let style = Style::stderr();
        let said = harmless(&self.to_string());
        warn(format_args!("{} {said}", style.red("coracle:")));
        if let Some(hint) = self.hint() {
            warn(format_args!("{} {hint}", style.cyan("hint:")));
        }
    }
}
