//! The files of containers: looked at, copied, compared.
//!
//! The root is that of the container's first process while it runs, with all that is mounted there;
//! else its overlay, mounted for this alone. Paths are resolved beneath it (`coracle_archive`).

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_archive::copy;
use coracle_archive::{Decompressor, Limits, Owners};
use coracle_guest::{
    Change, ChangeKind, Channel, Failure, PathStat, Reply, Time, WriteOptions, encode_change,
};
use coracle_task::ErrorKind;
use rustix::fs::{Mode, OFlags};

use crate::containers::Container;
use crate::error::{During, Result, blocking};
use crate::{roots, tar};

/// The root of a container. To be written to, nothing else may have it mounted.
fn root(id: &str, container: Option<&Container>, read_only: bool) -> Result<OwnedFd> {
    if let Some(pid) = container.and_then(Container::pid) {
        let path = format!("/proc/{pid}/root");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(root) => return Ok(root),
            // It has just ended.
            Err(_) if !Path::new(&path).exists() => {}
            Err(errno) => return Err(errno).during(|| "open the container's root"),
        }
    }
    let overlay = roots::overlay(id, container.map(|container| &container.config))?;
    coracle_snapshot::mount_detached(&overlay, read_only)
        .map_err(|error| Failure::internal(error.to_string()))
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

/// What a path is.
pub(crate) fn stat(id: &str, container: Option<&Container>, path: &str) -> Result<Reply> {
    let root = root(id, container, true)?;
    let stat = copy::stat(root.as_fd(), &absolute(path)).map_err(archive)?;
    Ok(Reply::Stat(convert(stat)))
}

/// Sends a path as a tar.
pub(crate) async fn read(
    id: String,
    container: Option<Arc<Container>>,
    path: String,
    channel: Channel,
) -> Result<Reply> {
    let source = blocking(move || {
        let root = root(&id, container.as_deref(), true)?;
        copy::read(root.as_fd(), &absolute(&path)).map_err(archive)
    })
    .await?;
    let stat = convert(source.stat.clone());
    tar::send(channel, move |out| source.write_to(out).map_err(archive));
    Ok(Reply::Stat(stat))
}

/// Unpacks a tar into a directory.
pub(crate) async fn write(
    id: String,
    container: Option<Arc<Container>>,
    path: String,
    options: WriteOptions,
    channel: Channel,
) -> Result<()> {
    tar::receive(channel, move |reader| {
        let root = root(&id, container.as_deref(), false)?;
        let plain = Decompressor::new(reader).map_err(archive)?;
        let options = copy::ExtractOptions {
            limits: Limits::default(),
            owners: match options.owner {
                Some((uid, gid)) => Owners::Fixed { uid, gid },
                None => Owners::Archived,
            },
            no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
            devices: options.devices,
        };
        copy::extract_into(root.as_fd(), &absolute(&path), plain, &options).map_err(archive)
    })
    .await
}

/// Sends what differs from the image.
pub(crate) async fn changes(
    id: String,
    container: Option<Arc<Container>>,
    channel: Channel,
) -> Result<()> {
    let changes = blocking(move || {
        let overlay = roots::overlay(&id, container.as_deref().map(|it| &it.config))?;
        coracle_snapshot::changes(&overlay).map_err(|error| Failure::internal(error.to_string()))
    })
    .await?;
    tar::send(channel, move |out| {
        for change in changes {
            out.write_all(&encode_change(&convert_change(change)))
                .during(|| "send the changes")?;
        }
        Ok(())
    });
    Ok(())
}

/// Sends what differs from the image as a layer.
pub(crate) async fn diff(
    id: String,
    container: Option<Arc<Container>>,
    channel: Channel,
) -> Result<()> {
    let overlay = roots::overlay(&id, container.as_deref().map(|it| &it.config))?;
    // What can be known to fail is told at once.
    File::open(&overlay.upper).during(|| "open the container's layer")?;
    tar::send(channel, move |out| {
        coracle_snapshot::diff_tar(&overlay, out)
            .map_err(|error| Failure::internal(error.to_string()))
    });
    Ok(())
}

/// Sends the whole root file system, without what is mounted in it.
pub(crate) async fn export(
    id: String,
    container: Option<Arc<Container>>,
    channel: Channel,
) -> Result<()> {
    let root = blocking(move || root(&id, container.as_deref(), true)).await?;
    tar::send(channel, move |out| export_to(&root, out));
    Ok(())
}

fn export_to(root: &OwnedFd, out: &mut dyn Write) -> Result<()> {
    let mut tar = coracle_archive::TarWriter::new(out);
    let options = coracle_archive::WriteOptions {
        one_mount: true,
        ..Default::default()
    };
    coracle_archive::write_tree(root.as_fd(), b"/", &mut tar, &options)
        .and_then(|()| tar.finish().map(drop))
        .map_err(archive)
}

fn convert(stat: copy::PathStat) -> PathStat {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    PathStat {
        name: stat.name.into_vec(),
        size: stat.size,
        mode: stat.mode,
        modified: Time {
            seconds: stat.mtime.secs,
            nanos: stat.mtime.nanos,
        },
        link_target: stat.link_target.as_os_str().as_bytes().to_vec(),
    }
}

fn convert_change(change: coracle_snapshot::Change) -> Change {
    use std::os::unix::ffi::OsStringExt;
    Change {
        path: change.path.into_os_string().into_vec(),
        kind: match change.kind {
            coracle_snapshot::ChangeKind::Modified => ChangeKind::Modified,
            coracle_snapshot::ChangeKind::Added => ChangeKind::Added,
            coracle_snapshot::ChangeKind::Deleted => ChangeKind::Deleted,
        },
    }
}

fn archive(error: coracle_archive::Error) -> Failure {
    use coracle_archive::Error;
    let kind = match &error {
        Error::NotFound { .. } => ErrorKind::NotFound,
        Error::Io { .. } | Error::Write(_) => ErrorKind::Internal,
        _ => ErrorKind::InvalidArgument,
    };
    Failure::new(kind, error.to_string())
}
