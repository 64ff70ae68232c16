//! A container's files: copied in and out, exported, compared, committed.

use std::sync::PoisonError;

use bytes::Bytes;
use coracle_archive::Decompressor;
use coracle_archive::copy::go_mode;
use coracle_oci::History;
use coracle_runtime::archive::{ExtractOptions, PathArchive, PathStat};
use coracle_runtime::container::Change;
use coracle_runtime::image::CommitRequest;
use coracle_runtime::io::ByteStream;
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

use super::Entry;
use crate::engine::Engine;
use crate::fs::tree::{clean, join};
use crate::fs::{Fs, FsError, Kind, Node, changes, tar};
use crate::images::{Layer, Stored, archive, parse_reference};

/// The kind bits of `st_mode` (inode(7)).
fn st_mode(node: &Node) -> u32 {
    let kind = match &node.kind {
        Kind::File(_) => 0o100_000,
        Kind::Dir => 0o040_000,
        Kind::Symlink(_) => 0o120_000,
        Kind::Device { block: true, .. } => 0o060_000,
        Kind::Device { .. } => 0o020_000,
        Kind::Fifo => 0o010_000,
    };
    kind | node.mode
}

/// Docker's text for a path that is not there, and the others' own.
fn path_error(entry: &Entry, path: &str, error: FsError) -> RuntimeError {
    match error {
        FsError::NotFound | FsError::NotADirectory => RuntimeError::NotFound(format!(
            "Could not find the file {path} in container {}",
            entry.name
        )),
        other => RuntimeError::InvalidArgument(format!("{path}: {}", other.text().to_lowercase())),
    }
}

/// The last component as asked for: `/` of the root, `.` where the path ends so.
fn base(path: &str) -> String {
    if path.ends_with("/.") || path == "." {
        return ".".into();
    }
    match clean("/", path).rsplit('/').next() {
        None | Some("") => "/".into(),
        Some(name) => name.to_owned(),
    }
}

fn look(fs: &Fs, entry: &Entry, path: &str) -> Result<(String, PathStat)> {
    if path.is_empty() {
        return Err(RuntimeError::InvalidArgument("the path is empty".into()));
    }
    let error = |error| path_error(entry, path, error);
    let (real, node) = fs.look("/", path, false).map_err(error)?;
    let link_target = match &node.kind {
        Kind::Symlink(_) => fs.resolve("/", path, true).map_err(error)?,
        _ => String::new(),
    };
    let stat = PathStat {
        name: base(path),
        size: i64::try_from(node.size()).unwrap_or(i64::MAX),
        mode: go_mode(st_mode(&node)),
        mtime: node.mtime,
        link_target,
    };
    Ok((real, stat))
}

/// What a path is.
pub(crate) fn stat(engine: &Engine, name: &str, path: &str) -> Result<PathStat> {
    let state = engine.lock();
    let entry = state.container(name)?;
    let fs = entry.fs.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(look(&fs, entry, path)?.1)
}

/// A path as a tar, whose names start with the path's last component.
pub(crate) fn read(engine: &Engine, name: &str, path: &str) -> Result<PathArchive> {
    let state = engine.lock();
    let entry = state.container(name)?;
    let fs = entry.fs.lock().unwrap_or_else(PoisonError::into_inner);
    let (real, stat) = look(&fs, entry, path)?;
    let nodes = fs.walk(&real);
    let named = nodes.iter().map(|(found, node)| {
        let below = found.get(real.len()..).unwrap_or_default();
        let name = if stat.name == "/" {
            format!("/{below}")
        } else {
            format!("{}{below}", stat.name)
        };
        (name, node)
    });
    let bytes = tar::write(named).map_err(|error| RuntimeError::Internal(error.to_string()))?;
    engine.emit(entry, "archive-path", &[]);
    Ok(PathArchive {
        stat,
        tar: archive::once(bytes),
    })
}

/// Extracts a tar into a directory.
pub(crate) async fn write(
    engine: &Engine,
    name: &str,
    path: &str,
    options: ExtractOptions,
    from: ByteStream,
) -> Result<()> {
    // A wrong path is told before the archive is read.
    extract(engine, name, path, options, None)?;
    let bytes = archive::collect(from).await?;
    extract(engine, name, path, options, Some(bytes))
}

fn extract(
    engine: &Engine,
    name: &str,
    path: &str,
    options: ExtractOptions,
    bytes: Option<Bytes>,
) -> Result<()> {
    let state = engine.lock();
    let entry = state.container(name)?;
    let mut fs = entry.fs.lock().unwrap_or_else(PoisonError::into_inner);
    let (real, node) = fs
        .look("/", path, true)
        .map_err(|error| path_error(entry, path, error))?;
    if !node.is_dir() {
        return Err(RuntimeError::InvalidArgument(
            "extraction point is not a directory".into(),
        ));
    }
    if !fs.writable(&real) {
        return Err(RuntimeError::Forbidden(
            "container rootfs is marked read-only".into(),
        ));
    }
    let Some(bytes) = bytes else { return Ok(()) };
    let invalid = |error: coracle_archive::Error| RuntimeError::InvalidArgument(error.to_string());
    let mut nodes = Vec::new();
    let source = Decompressor::new(&*bytes).map_err(invalid)?;
    tar::read(source, |path, node| {
        nodes.push((path.to_owned(), node));
        Ok(())
    })
    .map_err(invalid)?;
    for (below, node) in nodes.into_iter().filter(|(below, _)| below != "/") {
        let target = join(&real, below.trim_start_matches('/'));
        let there = fs.get(&target);
        if options.no_overwrite_dir_non_dir
            && let Some(there) = &there
        {
            let text = match (there.is_dir(), node.is_dir()) {
                (true, false) => Some("directory {} with non-directory"),
                (false, true) => Some("non-directory {} with directory"),
                _ => None,
            };
            if let Some(text) = text {
                let text = text.replace("{}", &target);
                return Err(RuntimeError::InvalidArgument(format!(
                    "cannot overwrite {text}"
                )));
            }
        }
        fs.put(&target, node)
            .map_err(|error| path_error(entry, path, error))?;
    }
    engine.emit(entry, "extract-to-dir", &[]);
    Ok(())
}

/// The whole root file system, without what is mounted in it.
pub(crate) fn export(engine: &Engine, name: &str) -> Result<ByteStream> {
    let state = engine.lock();
    let entry = state.container(name)?;
    let fs = entry.fs.lock().unwrap_or_else(PoisonError::into_inner);
    let nodes = fs.root.iter().filter(|(path, _)| *path != "/");
    let bytes =
        tar::write(nodes.map(|(path, node)| (path.trim_start_matches('/').to_owned(), node)))
            .map_err(|error| RuntimeError::Internal(error.to_string()))?;
    engine.emit(entry, "export", &[]);
    Ok(archive::once(bytes))
}

/// What differs from the image.
pub(crate) fn differences(engine: &Engine, name: &str) -> Result<Vec<Change>> {
    let state = engine.lock();
    let entry = state.container(name)?;
    let fs = entry.fs.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(changes::changes(&entry.base, &fs.root))
}

/// Makes an image of a container. It is one step here, so that nothing needs to be frozen.
pub(crate) fn commit(engine: &Engine, request: &CommitRequest) -> Result<String> {
    let mut state = engine.lock();
    let entry = state.container(&request.container)?;
    let parent = state
        .images
        .get(&entry.image_id)
        .map_err(|_| RuntimeError::no_such_image(&entry.image_id))?;
    let reference = request.reference.as_deref().filter(|text| !text.is_empty());
    let reference = reference.map(parse_reference).transpose()?;
    let mut config =
        coracle_spec::changes::image_config(request.config.as_ref().unwrap_or(&entry.config));
    coracle_spec::changes::apply(&mut config, &request.changes)?;
    let layer = {
        let fs = entry.fs.lock().unwrap_or_else(PoisonError::into_inner);
        tar::layer(&entry.base, &fs.root)
            .map_err(|error| RuntimeError::Internal(error.to_string()))?
    };
    let history = History {
        created: Some(Timestamp::now().to_string()),
        created_by: Some(entry.command().join(" ")),
        author: Some(request.author.clone()).filter(|text| !text.is_empty()),
        comment: Some(request.comment.clone()).filter(|text| !text.is_empty()),
        empty_layer: false,
    };
    let image = Stored::make(
        Some(parent),
        Some(Layer::new(layer)?),
        config,
        history,
        None,
    )?;
    let id = image.id.to_string();
    engine.emit(
        entry,
        "commit",
        &[("comment", &request.comment), ("imageID", &id)],
    );
    state.images.add(image, reference.as_ref());
    Ok(id)
}
