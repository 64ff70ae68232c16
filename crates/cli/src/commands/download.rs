//! Archives from the daemon: to a file, whole or not at all, or to standard output.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use coracle_client::Download;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::{Error, Result};
use crate::output::Output;

const CHUNK: usize = 256 * 1024;

/// Refuses to fill a terminal with an archive. To be called before it is asked for.
pub(super) fn check_output(file: Option<&Path>) -> Result<()> {
    match file {
        None if Output::Stdout.is_terminal() => Err(Error::advice(
            "cowardly refusing to save to a terminal",
            "use -o FILE, or redirect the output",
        )),
        Some(path) if path.is_dir() => {
            Err(Error::usage(format!("{} is a directory", path.display())))
        }
        _ => Ok(()),
    }
}

/// Writes an archive.
pub(super) async fn save(mut archive: Download, file: Option<&Path>) -> Result<()> {
    match file {
        None => to_stdout(&mut archive).await,
        Some(path) => to_file(&mut archive, path).await,
    }
}

/// Writes an archive to standard output.
pub(super) async fn to_stdout(archive: &mut Download) -> Result<()> {
    let mut buffer = Vec::with_capacity(CHUNK);
    loop {
        buffer.clear();
        if read(archive, &mut buffer).await? == 0 {
            return Ok(());
        }
        Output::Stdout
            .write(&Bytes::copy_from_slice(&buffer))
            .await?;
    }
}

async fn read(archive: &mut Download, buffer: &mut Vec<u8>) -> Result<usize> {
    let read = archive.read_buf(buffer).await;
    Ok(read.map_err(coracle_client::Error::from)?)
}

async fn to_file(archive: &mut Download, path: &Path) -> Result<()> {
    let failed = |error| Error::io(path.display(), error);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    // A device or pipe is written to, not replaced.
    if path.exists() && !path.is_file() {
        let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
        return copy(archive, &mut file, path).await;
    }
    let staged = tempfile::Builder::new()
        .prefix(".coracle-")
        .tempfile_in(&directory)
        .map_err(failed)?;
    let file = staged.as_file().try_clone().map_err(failed)?;
    copy(archive, &mut tokio::fs::File::from_std(file), path).await?;
    staged.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

async fn copy(archive: &mut Download, file: &mut tokio::fs::File, path: &Path) -> Result<()> {
    let failed = |error| Error::io(path.display(), error);
    let mut buffer = Vec::with_capacity(CHUNK);
    loop {
        buffer.clear();
        if read(archive, &mut buffer).await? == 0 {
            return file.sync_all().await.map_err(failed);
        }
        file.write_all(&buffer).await.map_err(failed)?;
    }
}
