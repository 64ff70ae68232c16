//! Work on control groups, which blocks.

use coracle_task::ErrorKind;

use crate::Result;
use crate::SandboxError;

/// Does what blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, coracle_cgroup::Error> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| SandboxError::internal(error.to_string()))?
        .map_err(from_cgroup)
}

pub(crate) fn from_cgroup(error: coracle_cgroup::Error) -> SandboxError {
    use coracle_cgroup::Error;
    let kind = match &error {
        Error::Unavailable { .. } | Error::Unsupported { .. } | Error::NoSwapLimit => {
            ErrorKind::Unsupported
        }
        Error::Invalid { .. } | Error::BadPath(_) => ErrorKind::InvalidArgument,
        _ => ErrorKind::Internal,
    };
    SandboxError::new(kind, error.to_string())
}
