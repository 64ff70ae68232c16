//! Whole file systems.

use std::fs::File;
use std::os::fd::AsFd;

use coracle_guest::FsOperation;

use crate::error::{During, Result};
use crate::machine::absolute;
use crate::sys;

/// Does it with the file system that the path is on. How many bytes were trimmed.
pub(crate) fn operate(path: &str, operation: FsOperation) -> Result<u64> {
    let path = absolute(path)?;
    let file = File::open(path).during(|| format!("open {}", path.display()))?;
    let fd = file.as_fd();
    let (verb, result) = match operation {
        FsOperation::Freeze => ("freeze", sys::freeze(fd).map(|()| 0)),
        FsOperation::Thaw => ("thaw", sys::thaw(fd).map(|()| 0)),
        FsOperation::Trim => ("trim", sys::trim(fd)),
        FsOperation::Sync => (
            "sync",
            rustix::fs::syncfs(fd).map(|()| 0).map_err(Into::into),
        ),
    };
    result.during(|| format!("{verb} the file system of {}", path.display()))
}
