//! Kernel settings under `/proc/sys/net`: those of the calling thread's network namespace.

use std::fs;
use std::io::{self, Write};

/// Sets one, unless it has the value already: it may be read-only where it is right.
pub(crate) fn set(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{name}");
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    write(&path, value)
}

fn write(path: &str, value: &str) -> io::Result<()> {
    // Without a wish to make it: where it isn't there, that would be refused for another reason.
    let open = fs::OpenOptions::new().write(true).open(path);
    open.and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|e| io::Error::new(e.kind(), format!("set {path} to {value}: {e}")))
}

/// Sets one of a fresh interface, without a look at it first; one that the kernel lacks is no
/// error.
pub(crate) fn set_fresh(name: &str, value: &str) -> io::Result<()> {
    match write(&format!("/proc/sys/net/{name}"), value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Reads one.
pub(crate) fn get(name: &str) -> io::Result<String> {
    fs::read_to_string(format!("/proc/sys/net/{name}")).map(|text| text.trim().to_owned())
}

/// Sets one that an old or small kernel lacks.
pub(crate) fn set_if_there(name: &str, value: &str) -> io::Result<()> {
    match set(name, value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
