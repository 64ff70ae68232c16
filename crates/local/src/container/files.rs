//! A container's files: copied in and out, exported, compared, committed.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_archive::{Decompressor, Limits, Owners};
use coracle_runtime::archive::{ExtractOptions, PathArchive, PathStat};
use coracle_runtime::container::Change;
use coracle_runtime::image::CommitRequest;
use coracle_runtime::io::ByteStream;
use coracle_runtime::{Result, RuntimeError, Status};
use coracle_store::NewImage;
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};

use super::handle::{Command, Handle};
use super::owner;
use super::record::MountRecord;
use crate::engine::Engine;
use crate::images;
use crate::machine;
use crate::pipe;

/// A root to look for a path in, and the path there.
struct Root {
    fd: OwnedFd,
    path: PathBuf,
    /// Where the path is that of a mount, its last part: the root that stands for it has no name.
    mount: Option<OsString>,
    /// Whether it is all of the container, and not one of its volumes.
    whole: bool,
}

/// The root of a container: that of its process, or its layers mounted for us alone. With a volume
/// of a container that does not run, the volume.
fn root(engine: &Engine, handle: &Handle, path: &str) -> Result<Root> {
    let now = handle.now();
    let absolute = Path::new("/").join(path);
    let state = &now.container.state;
    if state.status.is_alive()
        && state.pid > 0
        && let Some(fd) = process_root(handle, state.pid)?
    {
        return Ok(Root {
            fd,
            path: absolute,
            mount: None,
            whole: true,
        });
    }
    let mount = now
        .record
        .mounts
        .iter()
        .filter(|mount| mount.point.kind != "tmpfs")
        .filter(|mount| absolute.starts_with(&mount.point.destination))
        .max_by_key(|mount| mount.point.destination.len());
    if let Some(mount) = mount {
        let inside = absolute
            .strip_prefix(&mount.point.destination)
            .unwrap_or(Path::new(""));
        if let Some(fd) = mounted_dir(engine, mount)? {
            let whole = inside.as_os_str().is_empty();
            // A trailing `/.` asks for what is in it.
            let named = whole && !path.ends_with("/.");
            return Ok(Root {
                fd,
                // The trailing slash, which says what to do with a link, is lost by strip_prefix
                // only where nothing else is left.
                path: Path::new("/").join(if whole { Path::new(".") } else { inside }),
                mount: absolute
                    .file_name()
                    .filter(|_| named)
                    .map(OsStr::to_os_string),
                whole: false,
            });
        }
    }
    Ok(Root {
        fd: engine.snapshots.mount(&handle.id)?,
        path: absolute,
        mount: None,
        whole: true,
    })
}

/// What a mount of a container shows, if that is a directory.
fn mounted_dir(engine: &Engine, mount: &MountRecord) -> Result<Option<OwnedFd>> {
    if mount.point.kind != "volume" {
        let source = Path::new(&mount.point.source);
        return source.is_dir().then(|| open(source)).transpose();
    }
    let name = &mount.point.name;
    // What is open stays, mounted or not.
    let _mounted = engine.volumes.mount_one(name)?;
    let part = engine.volumes.open_part(name, &mount.subpath)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(&part, ".", flags, Mode::empty()) {
        Ok(dir) => Ok(Some(dir)),
        Err(rustix::io::Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(RuntimeError::Internal(format!(
            "cannot open volume {name}: {}",
            std::io::Error::from(errno)
        ))),
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| RuntimeError::Internal(format!("cannot open {}: {error}", path.display())))
}

/// The root of a container's process; none where it has ended, which is waited for to be noticed.
fn process_root(handle: &Handle, pid: i32) -> Result<Option<OwnedFd>> {
    use rustix::io::Errno;
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&path, flags, Mode::empty());
    let tokio = tokio::runtime::Handle::current();
    match opened {
        // Nobody else gets the number before the shim has taken note of the end: as long as it has
        // not, what was opened is the container's.
        Ok(fd) if tokio.block_on(runs_as(handle, pid)) => return Ok(Some(fd)),
        // It has ended; the shim is about to hear of it.
        Ok(_) | Err(Errno::NOENT | Errno::SRCH) => {}
        Err(errno) => {
            return Err(RuntimeError::Internal(format!(
                "cannot open {path}: {errno}"
            )));
        }
    }
    tokio.block_on(handle.until(|now| now.container.state.pid != pid));
    Ok(None)
}

/// Whether its shim knows of no end of the process.
async fn runs_as(handle: &Handle, pid: i32) -> bool {
    let Ok(run) = handle.running() else {
        return false;
    };
    match run.client.state().await {
        Ok(state) => {
            use coracle_task::Status::{Paused, Running};
            state.pid == pid && matches!(state.status, Running | Paused)
        }
        Err(_) => false,
    }
}

/// Whether a path is inside a machine: the host reaches what is mounted itself, unless it runs.
fn in_machine(handle: &Handle, path: &str) -> bool {
    let now = handle.now();
    let absolute = Path::new("/").join(path);
    let mut mounts = now.record.mounts.iter();
    machine::is_machine(&now.record.host_config)
        && (now.container.state.status.is_alive()
            || !mounts.any(|mount| {
                mount.point.kind != "tmpfs" && absolute.starts_with(&mount.point.destination)
            }))
}

/// What a path is.
pub(crate) async fn stat(engine: Arc<Engine>, handle: Handle, path: String) -> Result<PathStat> {
    if in_machine(&handle, &path) {
        return machine::files::stat(&handle, &path).await;
    }
    blocking(move || {
        let root = root(&engine, &handle, &path)?;
        let mut stat = coracle_archive::copy::stat(root.fd.as_fd(), &root.path)
            .map_err(|error| archive_error(error, &handle, &path))?;
        if let Some(name) = root.mount {
            stat.name = name;
        }
        Ok(convert(stat))
    })
    .await
}

/// A path as a tar.
pub(crate) async fn read(engine: Arc<Engine>, handle: Handle, path: String) -> Result<PathArchive> {
    if in_machine(&handle, &path) {
        return machine::files::read(&handle, &path).await;
    }
    let (root, source) = {
        let handle = handle.clone();
        let path = path.clone();
        blocking(move || {
            let root = root(&engine, &handle, &path)?;
            let source = coracle_archive::copy::read(root.fd.as_fd(), &root.path)
                .map_err(|error| archive_error(error, &handle, &path))?;
            Ok((root, source))
        })
        .await?
    };
    let mut stat = source.stat.clone();
    if let Some(name) = &root.mount {
        stat.name.clone_from(name);
    }
    let tar = pipe::stream(move |out| {
        let written = match root.mount {
            Some(name) => write_named(&root.fd, &name, out),
            None => source.write_to(out),
        };
        written.map_err(|error| archive_error(error, &handle, &path))
    });
    Ok(PathArchive {
        stat: convert(stat),
        tar,
    })
}

/// A whole directory as a tar, under this name.
fn write_named(fd: &OwnedFd, name: &OsStr, out: impl Write) -> coracle_archive::Result<()> {
    let mut tar = coracle_archive::TarWriter::new(out);
    let options = coracle_archive::WriteOptions {
        rename: name.as_bytes().to_vec(),
        ..Default::default()
    };
    coracle_archive::write_tree(fd.as_fd(), b"/", &mut tar, &options)?;
    tar.finish().map(drop)
}

/// Extracts a tar into a directory.
pub(crate) async fn write(
    engine: Arc<Engine>,
    handle: Handle,
    path: String,
    options: ExtractOptions,
    tar: ByteStream,
) -> Result<()> {
    let now = handle.now();
    if read_only(&now.record, &path) {
        return Err(RuntimeError::Forbidden(
            "container rootfs is marked read-only".into(),
        ));
    }
    let user = Some(now.record.config.user.clone())
        .filter(|user| options.copy_uid_gid && !user.is_empty());
    if in_machine(&handle, &path) {
        let options = coracle_task::files::ExtractOptions {
            no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
            owner: user.as_deref().map(owner::without_files).transpose()?,
        };
        return machine::files::write(&handle, &path, options, tar).await;
    }
    let reader = pipe::reader(tar);
    blocking(move || {
        let root = root(&engine, &handle, &path)?;
        let archive_error = |error| archive_error(error, &handle, &path);
        let tar = Decompressor::new(reader).map_err(archive_error)?;
        let owners = match user {
            Some(user) => {
                let (uid, gid) = if root.whole {
                    owner::in_root(root.fd.as_fd(), &user)?
                } else {
                    owner::in_root(engine.snapshots.mount(&handle.id)?.as_fd(), &user)?
                };
                Owners::Fixed { uid, gid }
            }
            None => crate::host::owners(),
        };
        let options = coracle_archive::copy::ExtractOptions {
            limits: Limits::default(),
            owners,
            no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
            devices: !engine.config.host.rootless,
        };
        coracle_archive::copy::extract_into(root.fd.as_fd(), &root.path, tar, &options)
            .map_err(archive_error)
    })
    .await
}

/// Whether a path is on something that is not to be written: the root, or a mount.
fn read_only(record: &super::record::Record, path: &str) -> bool {
    let absolute = Path::new("/").join(path);
    let mount = record
        .mounts
        .iter()
        .filter(|mount| absolute.starts_with(&mount.point.destination))
        .max_by_key(|mount| mount.point.destination.len());
    match mount {
        Some(mount) => !mount.point.rw,
        None => record.host_config.readonly_rootfs,
    }
}

/// The whole root file system, without what is mounted in it.
pub(crate) async fn export(engine: Arc<Engine>, handle: Handle) -> Result<ByteStream> {
    if machine::is_machine(&handle.now().record.host_config) {
        return machine::files::export(&handle).await;
    }
    let root = blocking(move || {
        let state = &handle.now().container.state;
        // Its overlay must not be mounted twice at a time.
        if state.status.is_alive()
            && state.pid > 0
            && let Some(fd) = process_root(&handle, state.pid)?
        {
            return Ok(fd);
        }
        engine.snapshots.mount(&handle.id)
    })
    .await?;
    Ok(pipe::stream(move |out| {
        let mut tar = coracle_archive::TarWriter::new(out);
        let options = coracle_archive::WriteOptions {
            one_mount: true,
            ..Default::default()
        };
        coracle_archive::write_tree(root.as_fd(), b"/", &mut tar, &options)
            .and_then(|()| tar.finish().map(drop))
            .map_err(|error| RuntimeError::Internal(format!("cannot export: {error}")))
    }))
}

/// What differs from the image.
pub(crate) async fn differences(engine: Arc<Engine>, handle: Handle) -> Result<Vec<Change>> {
    if machine::is_machine(&handle.now().record.host_config) {
        return machine::files::changes(&handle).await;
    }
    blocking(move || engine.snapshots.changes(&handle.id)).await
}

/// Makes an image of a container.
pub(crate) async fn commit(
    engine: Arc<Engine>,
    handle: Handle,
    request: CommitRequest,
) -> Result<String> {
    let pause = |reply| Command::Pause {
        for_commit: true,
        reply,
    };
    let frozen = request.pause
        && handle.status() == Status::Running
        && unless_ended(handle.ask(pause).await)?;
    let worker = handle.clone();
    let result = async {
        let diff = match machine::is_machine(&handle.now().record.host_config) {
            true => Some(machine::files::diff(&handle).await?),
            false => None,
        };
        let diff = diff.map(pipe::reader);
        blocking(move || make_image(&engine, &worker, &request, diff)).await
    }
    .await;
    if frozen {
        unless_ended(handle.ask(|reply| Command::Unpause { reply }).await)?;
    }
    result
}

/// Whether it was done. A container may end at any moment, and there is nothing to freeze or thaw.
fn unless_ended(done: Result<()>) -> Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(RuntimeError::InvalidState(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn make_image(
    engine: &Engine,
    handle: &Handle,
    request: &CommitRequest,
    diff: Option<impl Read + Send>,
) -> Result<String> {
    let record = handle.now().record;
    let store = &engine.images.store;
    let parent = record
        .image_id
        .parse()
        .ok()
        .and_then(|id| store.image_by_id(&id).ok())
        .ok_or_else(|| RuntimeError::no_such_image(&record.image_id))?;
    let reference = request
        .reference
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(coracle_oci::Reference::parse_normalized)
        .transpose()
        .map_err(|error| RuntimeError::InvalidArgument(error.to_string()))?;
    let lease = store.lease();
    let layer = match diff {
        Some(diff) => store.put_layer(&lease, diff).map_err(images::error)?,
        None => compared(engine, &record, &lease)?,
    };
    let mut config = match &request.config {
        Some(config) => coracle_spec::changes::image_config(config),
        None => coracle_spec::changes::image_config(&record.config),
    };
    coracle_spec::changes::apply(&mut config, &request.changes)?;
    let line: Vec<&str> = std::iter::once(record.path.as_str())
        .chain(record.args.iter().map(String::as_str))
        .collect();
    let history = coracle_oci::History {
        created: Some(Timestamp::now().to_string()),
        created_by: Some(line.join(" ")),
        author: Some(request.author.clone()).filter(|author| !author.is_empty()),
        comment: Some(request.comment.clone()).filter(|comment| !comment.is_empty()),
        empty_layer: false,
    };
    let new = NewImage {
        parent: Some(&parent),
        layer: Some(layer),
        config,
        history,
        container: Some((
            record.id.clone(),
            serde_json::to_value(&record.config)
                .map_err(|error| RuntimeError::Internal(error.to_string()))?,
        )),
        platform: None,
    };
    let replaced = store
        .commit_image(new, reference.as_ref())
        .map_err(images::error)?;
    let image = store.image_by_id(&replaced.id).map_err(images::error)?;
    crate::transfer::unpack_image(engine, &image)?;
    Ok(replaced.id.to_string())
}

/// What differs from the image, as a layer in the store.
fn compared(
    engine: &Engine,
    record: &super::record::Record,
    lease: &coracle_store::Lease,
) -> Result<(coracle_oci::Descriptor, coracle_oci::Digest)> {
    let store = &engine.images.store;
    std::thread::scope(|scope| {
        let (reader, writer) = std::io::pipe()
            .map_err(|error| RuntimeError::Internal(format!("cannot make a pipe: {error}")))?;
        let diff = scope.spawn(|| {
            let mut writer = writer;
            engine.snapshots.diff(&record.id, &mut writer)?;
            writer
                .flush()
                .map_err(|error| RuntimeError::Internal(error.to_string()))
        });
        let stored = store.put_layer(lease, reader).map_err(images::error);
        let written = diff
            .join()
            .unwrap_or_else(|_| Err(RuntimeError::Internal("the comparison failed".into())));
        // Where both failed, the writer knows why.
        written.and(stored)
    })
}

fn convert(stat: coracle_archive::copy::PathStat) -> PathStat {
    PathStat {
        name: stat.name.to_string_lossy().into_owned(),
        size: i64::try_from(stat.size).unwrap_or(i64::MAX),
        mode: stat.mode,
        mtime: Timestamp::new(
            stat.mtime.secs,
            i32::try_from(stat.mtime.nanos).unwrap_or_default(),
        )
        .unwrap_or_default(),
        link_target: stat.link_target.to_string_lossy().into_owned(),
    }
}

/// What an archive error means to the user (Docker's text for a path that is not there).
fn archive_error(error: coracle_archive::Error, handle: &Handle, path: &str) -> RuntimeError {
    match error {
        coracle_archive::Error::NotFound { .. } => RuntimeError::NotFound(format!(
            "Could not find the file {path} in container {}",
            handle.name()
        )),
        coracle_archive::Error::NotADirectory { .. } => {
            RuntimeError::InvalidArgument("extraction point is not a directory".into())
        }
        coracle_archive::Error::Io { .. } | coracle_archive::Error::Write(_) => {
            RuntimeError::Internal(error.to_string())
        }
        other => RuntimeError::InvalidArgument(other.to_string()),
    }
}

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(RuntimeError::Internal(format!(
                "the work was interrupted: {error}"
            )))
        })
}
