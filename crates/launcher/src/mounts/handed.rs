//! Files of a file system that came with the request and is mounted nowhere: a container's secrets.
//!
//! Since Linux 6.15 a part of such a file system can be copied as it is (`OPEN_TREE_CLONE`). Before,
//! it has to be attached somewhere: that is done in a mount namespace that is made for it and left
//! again, so that no other sees it.

use std::os::fd::OwnedFd;

use oci_spec::runtime::Mount;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use super::foreign::Home;
use super::options::Options;
use crate::error::{Context, Failure, Stage, Step};
use crate::sys;

/// Copies the files that binds name, for each of the mounts that does so.
pub(super) fn clone_all(
    mounts: &[Mount],
    filesystem: Option<&OwnedFd>,
) -> Step<Vec<Option<OwnedFd>>> {
    let mut names = Vec::with_capacity(mounts.len());
    for mount in mounts {
        let options = Options::of(mount);
        let options = options.map_err(|error| Failure::new(Stage::Mounts, error.to_string()))?;
        names.push(options.handed);
    }
    if names.iter().all(Option::is_none) {
        return Ok(names.iter().map(|_| None).collect());
    }
    let filesystem = filesystem
        .ok_or_else(|| Failure::new(Stage::Mounts, "the file system of secrets did not come"))?;
    let copies = match clone_each(filesystem, &names) {
        Err(Errno::INVAL) => clone_attached(filesystem, &names),
        copies => copies,
    };
    copies.during(Stage::Mounts, || "mount secrets")
}

fn clone_each(
    filesystem: &OwnedFd,
    names: &[Option<String>],
) -> Result<Vec<Option<OwnedFd>>, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let clone = |name: &String| rustix::mount::open_tree(filesystem, name.as_str(), flags);
    names
        .iter()
        .map(|name| name.as_ref().map(clone).transpose())
        .collect()
}

/// For older kernels, and for a process with one thread.
fn clone_attached(
    filesystem: &OwnedFd,
    names: &[Option<String>],
) -> Result<Vec<Option<OwnedFd>>, Errno> {
    let home = Home::open()?;
    sys::unshare(sys::NEWNS).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let copies = || {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private)?;
        // Over the root: no path leads there, as a process' root stays below.
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(filesystem, "", CWD, "/", flags)?;
        clone_each(filesystem, names)
    };
    let copies = copies();
    home.enter()?;
    copies
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::path::Path;

    use super::super::options::Attributes;
    use super::*;
    use crate::path;

    /// Both ways give a file that can be read, and leave no mount.
    #[test]
    fn both_ways() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root mounts");
            return;
        }
        let make = || {
            let made = super::super::new_filesystem("tmpfs", None, &[], Attributes::default());
            let made = made.unwrap();
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
            let file = rustix::fs::openat(&made, "0", flags, 0o400.into()).unwrap();
            rustix::io::write(&file, b"value").unwrap();
            made
        };
        let names = [None, Some("0".to_owned()), Some("0".to_owned())];
        let read = |fd: &OwnedFd| {
            assert!(!path::is_dir(fd).unwrap());
            let mut text = String::new();
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
            let mut file = std::fs::File::open(Path::new(&path)).unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        };
        let check = move |copies: Vec<Option<OwnedFd>>| {
            assert!(copies[0].is_none());
            for copy in copies.iter().flatten() {
                assert_eq!(read(copy), "value");
            }
        };
        let table = || std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        std::thread::spawn(move || {
            // A thread that shares its directories with others can't change its namespace.
            crate::sys::unshare(libc::CLONE_FS as u32).unwrap();
            let before = table().lines().count();
            check(clone_attached(&make(), &names).unwrap());
            match clone_each(&make(), &names) {
                Err(Errno::INVAL) => println!("this kernel knows the old way only"),
                copies => check(copies.unwrap()),
            }
            assert_eq!(table().lines().count(), before);
        })
        .join()
        .unwrap();
    }
}
