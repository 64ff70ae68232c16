//! Removing trees, however deep.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::walk::{LIST, OPEN, is_dots, status};
use crate::xattr::proc_path;

/// Removes a file, or a directory with everything in it, never following a symbolic link. It is no
/// error if nothing has that name.
///
/// Trees deeper than 64 directories are flattened on the way, so that no depth is too much.
///
/// # Errors
/// The kernel's, for instance for an immutable file or a mount point. What could be removed before
/// is gone.
pub fn remove_tree(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        // Not a directory: the first error was about the file.
        Err(Errno::NOTDIR) => return Err(Errno::PERM),
        Err(e) => return Err(e),
    }
    let top = open_to_empty(dir, name)?;
    let mut moved = 0u64;
    // Directories moved up while one pass goes on are found by the next.
    loop {
        empty(top.as_fd(), top.as_fd(), &mut moved)?;
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Opens a directory for removal of what it holds; takes the right to do so where it owns it.
fn open_to_empty(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::openat(dir, name, LIST, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            rustix::fs::chmod(proc_path(&place), Mode::RWXU)?;
            rustix::fs::openat(dir, name, LIST, Mode::empty())
        }
        other => other,
    }
}

/// One pass over a directory's contents.
fn empty(top: BorrowedFd<'_>, start: BorrowedFd<'_>, moved: &mut u64) -> rustix::io::Result<()> {
    let mut stack: Vec<(Dir, OwnedFd, Vec<u8>)> = Vec::new();
    stack.push((
        Dir::read_from(start)?,
        start.try_clone_to_owned().map_err(io_errno)?,
        Vec::new(),
    ));
    while let Some((listing, fd, _)) = stack.last_mut() {
        let Some(entry) = listing.next() else {
            let Some((_, _, name)) = stack.pop() else {
                break;
            };
            if let Some((_, parent, _)) = stack.last() {
                match rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR) {
                    // Somebody is adding to it: the next pass has it.
                    Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
                    Err(e) => return Err(e),
                }
            }
            continue;
        };
        let entry = entry?;
        if is_dots(entry.file_name()) {
            continue;
        }
        let name = entry.file_name().to_bytes().to_vec();
        let directory = match entry.file_type() {
            FileType::Unknown => {
                let stat = status(fd.as_fd(), &name)?;
                FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory
            }
            found => found == FileType::Directory,
        };
        if !directory {
            match rustix::fs::unlinkat(&*fd, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(e) => return Err(e),
            }
        }
        match rustix::fs::unlinkat(&*fd, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        if stack.len() < OPEN {
            let Some((_, fd, _)) = stack.last() else {
                break;
            };
            let child = open_to_empty(fd.as_fd(), &name)?;
            stack.push((Dir::read_from(&child)?, child, name));
        } else {
            let Some((_, fd, _)) = stack.last() else {
                break;
            };
            lift(fd.as_fd(), &name, top, moved)?;
        }
    }
    Ok(())
}

/// Moves a deep directory to the top, under a name that is free there.
fn lift(
    dir: BorrowedFd<'_>,
    name: &[u8],
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    loop {
        *moved += 1;
        let free = format!(".deep-{moved}");
        match rustix::fs::renameat_with(dir, name, top, &free, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
    }
}

fn io_errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::open_root;

    #[test]
    fn links_are_removed_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("x/y")).unwrap();
        std::fs::create_dir(dir.path().join("kept")).unwrap();
        std::fs::write(dir.path().join("kept/file"), "x").unwrap();
        std::os::unix::fs::symlink("../kept", dir.path().join("x/link")).unwrap();
        std::os::unix::fs::symlink("../../kept", dir.path().join("x/y/link")).unwrap();
        let root = open_root(dir.path()).unwrap();
        remove_tree(root.as_fd(), b"x").unwrap();
        assert!(dir.path().join("kept/file").exists());
        assert!(!dir.path().join("x").exists());
    }
}
