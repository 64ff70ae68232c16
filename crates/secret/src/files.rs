//! Files that only their owner can read, and that are whole or not there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::{Error, Result};

/// What the name of a file that isn't complete begins with.
pub(crate) const STAGE: &str = ".new-";

/// Makes a directory of the owner's alone; one that is there is left as it is.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_dir(path.parent().unwrap_or(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::io("make", path)(error)),
    }
}

/// Refuses what others than the owner, who is this process' user, may do anything with.
pub(crate) fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    let exposed = |problem: String| {
        Err(Error::Exposed {
            path: path.to_owned(),
            problem,
        })
    };
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own {
        let uid = metadata.uid();
        return exposed(format!(
            "belongs to user {uid}, and must belong to user {own}"
        ));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let wanted = if metadata.is_dir() { "700" } else { "600" };
        return exposed(format!(
            "is open to others (mode {mode:03o}): if nobody has read it, chmod {wanted} it; \
             otherwise exchange key and secrets"
        ));
    }
    Ok(())
}

/// Checks a directory as [`check_private`] does.
pub(crate) fn check_dir(path: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(path).map_err(Error::io("look at", path))?;
    if !metadata.is_dir() {
        return Err(Error::Exposed {
            path: path.to_owned(),
            problem: "is not a directory".into(),
        });
    }
    check_private(path, &metadata)
}

/// Opens a regular file that no link stands for.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Reads a file of at most so many bytes, into a buffer that is never moved.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > limit {
        return Err(io::Error::other(format!("it is over {limit} bytes")));
    }
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file beside its place, for its owner alone, and to the disk.
pub(crate) fn stage(path: &Path, parts: &[&[u8]]) -> Result<()> {
    let failed = || Error::io("write", path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed())?;
    for part in parts {
        file.write_all(part).map_err(failed())?;
    }
    file.sync_all().map_err(failed())
}

pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("write", path))
}
