//! Failures, from the errors of those who do the work.

use std::fmt::Display;

use coracle_guest::Failure;
use coracle_sandbox::SandboxError;
use coracle_task::ErrorKind;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// What was being done when it failed.
pub(crate) trait During<T> {
    /// `what` reads on after "cannot".
    fn during<W: Display>(self, what: impl FnOnce() -> W) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> During<T> for Result<T, E> {
    fn during<W: Display>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
                std::io::ErrorKind::InvalidInput => ErrorKind::InvalidArgument,
                std::io::ErrorKind::Unsupported => ErrorKind::Unsupported,
                _ => ErrorKind::Internal,
            };
            Failure::new(kind, format!("cannot {}: {error}", what()))
        })
    }
}

pub(crate) fn sandbox(error: SandboxError) -> Failure {
    Failure::new(error.kind, error.message)
}

pub(crate) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, message)
}

pub(crate) fn not_found(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::NotFound, message)
}

/// Does what blocks on another thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Failure::internal(format!("the work ended: {error}"))))
}
