//! The files of a container in a machine: its shim is asked for them. Where it does not run, a machine
//! is started for its files alone.
//!
//! Two machines must never have one writable disk, so the container's task owns the one for the files:
//! it is gone before the container starts, and before it is removed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use coracle_runtime::archive::{PathArchive, PathStat};
use coracle_runtime::container::{Change, ChangeKind};
use coracle_runtime::io::ByteStream;
use coracle_runtime::{Result, RuntimeError};
use coracle_task::files::ExtractOptions;
use coracle_task::{Client, ErrorKind, TaskError};
use futures_util::StreamExt;
use jiff::Timestamp;

use crate::container::actor::task_error;
use crate::container::handle::{Command, Handle};
use crate::container::record::SOCKET;
use crate::durable;

/// How long those who use the files may take when the container is to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A shim that can be asked for a container's files, for as long as this exists.
pub(crate) struct Opened {
    client: Client,
    _user: Arc<()>,
}

/// A machine that was started for a container's files.
pub(crate) struct Machine {
    bundle: PathBuf,
    users: Weak<()>,
}

impl Opened {
    /// The shim of a running container.
    pub(crate) fn running(client: Client) -> Self {
        Self {
            client,
            _user: Arc::new(()),
        }
    }
}

impl Machine {
    /// Keeps a machine whose shim has its files open.
    pub(crate) fn new(bundle: PathBuf, client: Client) -> (Self, Opened) {
        let user = Arc::new(());
        let users = Arc::downgrade(&user);
        (
            Self { bundle, users },
            Opened {
                client,
                _user: user,
            },
        )
    }

    /// The same machine again, if it is still there.
    pub(crate) async fn again(&mut self) -> Option<Opened> {
        let client = Client::connect(socket(&self.bundle)).await.ok()?;
        client.open().await.ok()?;
        let user = self.users.upgrade().unwrap_or_default();
        self.users = Arc::downgrade(&user);
        Some(Opened {
            client,
            _user: user,
        })
    }

    /// Ends it, once nobody uses it or patience is at an end.
    pub(crate) async fn end(self) {
        let unused = async {
            while self.users.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, unused).await;
        end(&self.bundle).await;
    }
}

/// Where the bundle of such a machine is.
pub(crate) fn bundle(exec_root: &Path, id: &str) -> PathBuf {
    exec_root.join("files").join(id)
}

fn socket(bundle: &Path) -> PathBuf {
    bundle.join(SOCKET)
}

/// Ends the machine of a bundle, whoever started it, and removes the bundle.
pub(crate) async fn end(bundle: &Path) {
    if let Ok(client) = Client::connect(socket(bundle)).await
        && let Err(error) = client.shutdown().await
    {
        tracing::warn!(bundle = %bundle.display(), %error, "cannot end a machine");
    }
    if let Err(error) = durable::remove_dir(bundle) {
        tracing::warn!(bundle = %bundle.display(), %error, "cannot remove a bundle");
    }
}

/// Ends what an earlier daemon left.
pub(crate) async fn end_all(exec_root: &Path) {
    let Ok(entries) = std::fs::read_dir(exec_root.join("files")) else {
        return;
    };
    for entry in entries.flatten() {
        end(&entry.path()).await;
    }
}

async fn open(handle: &Handle) -> Result<Opened> {
    handle.ask(|reply| Command::Files { reply }).await
}

/// Asks for something; once more where the container ended just then.
async fn ask<T, Asked>(
    handle: &Handle,
    what: impl Fn(Client) -> Asked,
) -> std::result::Result<(T, Opened), Failure>
where
    Asked: Future<Output = std::result::Result<T, TaskError>>,
{
    let files = open(handle).await.map_err(Failure::Open)?;
    let exits = handle.now().exits;
    let error = match what(files.client.clone()).await {
        Ok(answer) => return Ok((answer, files)),
        Err(error) => error,
    };
    let ended = match &error {
        TaskError::Gone => true,
        error => error.kind() == Some(ErrorKind::InvalidState),
    };
    if !ended {
        return Err(Failure::Asked(error));
    }
    drop(files);
    let _ = tokio::time::timeout(PATIENCE, handle.until(|now| now.exits > exits)).await;
    let files = open(handle).await.map_err(Failure::Open)?;
    let answer = what(files.client.clone()).await.map_err(Failure::Asked)?;
    Ok((answer, files))
}

/// Why a question was not answered.
enum Failure {
    Open(RuntimeError),
    Asked(TaskError),
}

impl Failure {
    /// As Docker says it of a path.
    fn of_path(self, handle: &Handle, path: &str) -> RuntimeError {
        match self {
            Self::Open(error) => error,
            Self::Asked(error) => path_error(error, handle, path),
        }
    }
}

impl From<Failure> for RuntimeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Open(error) => error,
            Failure::Asked(error) => task_error(error),
        }
    }
}

/// What a path is.
pub(crate) async fn stat(handle: &Handle, path: &str) -> Result<PathStat> {
    let asked = ask(handle, |client| async move { client.stat_path(path).await });
    let (stat, _) = asked.await.map_err(|why| why.of_path(handle, path))?;
    Ok(convert(stat))
}

/// A path as a tar.
pub(crate) async fn read(handle: &Handle, path: &str) -> Result<PathArchive> {
    let asked = ask(handle, |client| async move { client.read_path(path).await });
    let ((stat, tar), files) = asked.await.map_err(|why| why.of_path(handle, path))?;
    Ok(PathArchive {
        stat: convert(stat),
        tar: stream(tar, files),
    })
}

/// Extracts a tar into a directory.
pub(crate) async fn write(
    handle: &Handle,
    path: &str,
    options: ExtractOptions,
    mut tar: ByteStream,
) -> Result<()> {
    // One that has just ended is found out while nothing of the tar is sent.
    stat(handle, path).await?;
    let asked = ask(handle, |client| async move {
        client.write_path(path, options).await
    });
    let failed = |error| path_error(error, handle, path);
    let (mut writer, _files) = asked.await.map_err(|why| why.of_path(handle, path))?;
    while let Some(piece) = tar.next().await {
        if writer.write(&piece?).await.is_err() {
            // It says why when asked for the end.
            break;
        }
    }
    writer.finish().await.map_err(failed)
}

/// The whole root file system as a tar.
pub(crate) async fn export(handle: &Handle) -> Result<ByteStream> {
    let (tar, files) = ask(handle, |client| async move { client.export().await }).await?;
    Ok(stream(tar, files))
}

/// What differs from the image.
pub(crate) async fn changes(handle: &Handle) -> Result<Vec<Change>> {
    let asked = ask(handle, |client| async move { client.changes().await });
    let (changes, _) = asked.await?;
    let changes = changes.into_iter().map(|change| Change {
        path: change.path,
        kind: match change.kind {
            coracle_task::files::ChangeKind::Modified => ChangeKind::Modified,
            coracle_task::files::ChangeKind::Added => ChangeKind::Added,
            coracle_task::files::ChangeKind::Deleted => ChangeKind::Deleted,
        },
    });
    Ok(changes.collect())
}

/// What differs from the image as a layer's tar.
pub(crate) async fn diff(handle: &Handle) -> Result<ByteStream> {
    let (tar, files) = ask(handle, |client| async move { client.diff().await }).await?;
    Ok(stream(tar, files))
}

/// A tar, and what it comes from for as long as it does.
fn stream(tar: coracle_task::files::Tar, files: Opened) -> ByteStream {
    Box::pin(
        tar.map(move |piece: std::result::Result<Bytes, TaskError>| {
            let _used = &files;
            piece.map_err(task_error)
        }),
    )
}

fn convert(stat: coracle_task::files::PathStat) -> PathStat {
    let (seconds, nanos) = stat.mtime;
    PathStat {
        name: stat.name,
        size: i64::try_from(stat.size).unwrap_or(i64::MAX),
        mode: stat.mode,
        mtime: Timestamp::new(seconds, i32::try_from(nanos).unwrap_or_default())
            .unwrap_or_default(),
        link_target: stat.link_target,
    }
}

/// Docker's text for a path that is not there.
fn path_error(error: TaskError, handle: &Handle, path: &str) -> RuntimeError {
    match error.kind() {
        Some(ErrorKind::NotFound) => RuntimeError::NotFound(format!(
            "Could not find the file {path} in container {}",
            handle.name()
        )),
        Some(ErrorKind::InvalidArgument) if error.to_string().contains("isn't a directory") => {
            RuntimeError::InvalidArgument("extraction point is not a directory".into())
        }
        _ => task_error(error),
    }
}
