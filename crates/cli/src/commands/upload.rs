//! Archives to the daemon: from a file or from standard input.

use std::os::fd::AsFd;
use std::path::Path;

use coracle_client::Upload;

use crate::error::{Error, Result};
use crate::session;

/// Sends a file.
pub(super) async fn from_file(path: &Path) -> Result<Upload> {
    let failed = |error| Error::io(path.display(), error);
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let meta = file.metadata().await.map_err(failed)?;
    if meta.is_dir() {
        return Err(Error::usage(format!("{} is a directory", path.display())));
    }
    let upload = Upload::new(file);
    Ok(if meta.is_file() {
        upload.with_length(meta.len())
    } else {
        upload
    })
}

/// Sends standard input, which must not be a terminal.
pub(super) fn from_stdin() -> Result<Upload> {
    if session::stdin_is_terminal() {
        return Err(Error::advice(
            "requested load from stdin, but stdin is empty",
            "name a file, or pipe an archive in",
        ));
    }
    stdin()
}

/// Sends standard input, whatever it is.
pub(super) fn stdin() -> Result<Upload> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin.map_err(|error| Error::io("standard input", error))?;
    Ok(Upload::new(tokio::fs::File::from_std(stdin.into())))
}
