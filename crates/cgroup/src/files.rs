//! Reading and writing control files.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;

use crate::Error;

/// The most that is read of one file: lists of processes are the largest.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// Reads a control file as text.
pub(crate) fn read(dir: &Path, file: &str) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(512);
    File::open(dir.join(file))?
        .take(MAX_SIZE)
        .read_to_end(&mut bytes)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Reads a control file that not every kernel or cgroup has.
pub(crate) fn read_optional(dir: &Path, file: &str) -> Result<Option<String>, Error> {
    match read(dir, file) {
        Ok(text) => Ok(Some(text)),
        // The second is what a file without meaning on this host says, such as PSI switched off.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        // The cgroup was removed between open and read.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(Error::io("reading", dir.join(file), error)),
    }
}

/// Writes a control file with one write, as the kernel wants it.
pub(crate) fn write(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    open(dir, file)?.write_all(value.as_bytes())
}

/// Opens a control file for several writes.
pub(crate) fn open(dir: &Path, file: &str) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(dir.join(file))
}

/// Writes a limit; `limit` and `controller` are what errors name.
pub(crate) fn set(
    dir: &Path,
    file: &str,
    value: impl std::fmt::Display,
    limit: &str,
    controller: &'static str,
) -> Result<(), Error> {
    let value = value.to_string();
    write(dir, file, &value).map_err(|error| refused(dir, file, &value, limit, controller, error))
}

/// What a failed write of a limit means.
pub(crate) fn refused(
    dir: &Path,
    file: &str,
    value: &str,
    limit: &str,
    controller: &'static str,
    error: io::Error,
) -> Error {
    let reason = match error.raw_os_error() {
        Some(libc::ENOENT) => return Error::unavailable(limit, controller),
        Some(libc::EINVAL) => "the kernel calls it invalid (does it fit the other limits?)",
        Some(libc::ERANGE) => "it is out of range",
        Some(libc::ENODEV | libc::ENXIO) => "there is no such device",
        Some(libc::EBUSY) => "more than that is in use",
        Some(libc::ENOSPC) => "it is not free",
        _ => return Error::io("writing", dir.join(file), error),
    };
    Error::invalid(limit, value.trim_end(), reason)
}
