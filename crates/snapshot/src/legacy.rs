//! Detached overlays on kernels that take no layer at a time (before Linux 6.7).
//!
//! `mount(2)` takes all layers in one string, but can't mount without attaching. So a thread with
//! a mount namespace of its own mounts there, and takes a copy of the mount with it: the namespace
//! and what was attached in it go with the thread, the copy stays.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};

use crate::error::{Error, Result};
use crate::overlay::{Stack, mount_error};

/// Mounts a stack. `at` is a directory to mount on, inside the private namespace.
pub(crate) fn mount(stack: &Stack, at: &Path, readonly: bool) -> Result<OwnedFd> {
    let run = || {
        private_mounts().map_err(mount_error)?;
        let mut flags = MountFlags::NODEV | MountFlags::NOSUID;
        if readonly {
            flags |= MountFlags::RDONLY;
        }
        let data = stack.joined();
        rustix::mount::mount("overlay", at, "overlay", flags, data.as_deref())
            .map_err(mount_error)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        rustix::mount::open_tree(CWD, at, flags).map_err(mount_error)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("mount".into())
            .spawn_scoped(scope, run);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(failed("the mounting thread panicked")),
            Err(source) => Err(Error::Mount {
                log: String::new(),
                source,
            }),
        }
    })
}

fn failed(what: &'static str) -> Error {
    Error::Mount {
        log: String::new(),
        source: std::io::Error::other(what),
    }
}

/// Gives this thread mounts of its own, which no change reaches or leaves.
fn private_mounts() -> rustix::io::Result<()> {
    unshare_mounts()?;
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
}

#[allow(unsafe_code)]
fn unshare_mounts() -> rustix::io::Result<()> {
    // SAFETY: unsafe because threads whose descriptor tables were parted may use each other's
    // descriptors wrongly. NEWNS parts mounts, and with them this thread's working directory, but
    // not descriptors; and the thread ends right after, having run nobody else's code.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}
