//! Trees of cgroups, which whoever is inside may have nested deeper than a path can be long: they
//! are walked by directory descriptors, one at a time, down by name and up by `..`.

use std::ffi::CString;
use std::io::Read;
use std::path::Path;

use rustix::fd::AsFd;
use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::Error;
use crate::parse;

/// The process ids in `path` and below. What disappears meanwhile is left out.
pub(crate) fn pids(path: &Path) -> Result<Vec<i32>, Error> {
    let failed = |errno: Errno| Error::io("listing processes of", path, errno);
    let mut pids = Vec::new();
    let mut dir = match open_dir(CWD, path) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(pids),
        Err(errno) => return Err(failed(errno)),
    };
    read_pids(&dir, &mut pids).map_err(failed)?;
    let mut levels = vec![children(&dir).map_err(failed)?];
    while let Some(level) = levels.last_mut() {
        match level.pop() {
            Some(name) => {
                let Ok(child) = open_dir(&dir, &name) else {
                    continue;
                };
                dir = child;
                read_pids(&dir, &mut pids).map_err(failed)?;
                levels.push(children(&dir).map_err(failed)?);
            }
            None => {
                levels.pop();
                if levels.is_empty() {
                    break;
                }
                match open_dir(&dir, "..") {
                    Ok(parent) => dir = parent,
                    // Removed under our feet: nobody is in it.
                    Err(Errno::NOENT) => break,
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
    }
    Ok(pids)
}

fn read_pids(dir: &OwnedFd, pids: &mut Vec<i32>) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = match rustix::fs::openat(dir, "cgroup.procs", flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let mut text = String::new();
    match std::fs::File::from(file).read_to_string(&mut text) {
        Ok(_) => pids.extend(parse::pids(&text)),
        Err(error) => match Errno::from_io_error(&error) {
            // Gone; or a threaded cgroup, whose processes are listed by the one above.
            Some(Errno::NODEV | Errno::OPNOTSUPP) => {}
            errno => return Err(errno.unwrap_or(Errno::IO)),
        },
    }
    Ok(())
}

/// Opens a directory, never through a link.
pub(crate) fn open_dir(at: impl AsFd, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// The names of the directories in `dir`.
pub(crate) fn children(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno),
        };
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
