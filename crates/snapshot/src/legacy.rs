//! Detached overlays on kernels that take no layer at a time (before Linux 6.7).
//!
//! `mount(2)` takes all layers in one string, but can't mount without attaching. So a thread with
//! a mount namespace of its own mounts there, and takes a copy of the mount with it: the namespace
//! and what was attached in it go with the thread, the copy stays.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};

use crate::container::ContainerFs;
use crate::error::{Error, Result};
use crate::overlay::{Stack, mount_error};

/// Mounts a container's file system.
pub(crate) fn mount(fs: &ContainerFs, readonly: bool) -> Result<OwnedFd> {
    let run = || {
        private_mounts().map_err(mount_error)?;
        // Every path gets short, by a descriptor; and descriptors must be of this namespace.
        let stack = Stack::of(fs, readonly, 0)?;
        let at: &Path = &fs.upper;
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

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_archive::OverlayAttrs;
    use std::os::fd::AsRawFd;

    #[test]
    fn many_layers_and_nothing_attached() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        // Longer than a page in one string, and with everything that must be escaped.
        let at = |name: &str| dir.path().join("a,b:c\\d").join("x".repeat(50)).join(name);
        let make = |name: &str| {
            std::fs::create_dir_all(at(name)).unwrap();
            at(name)
        };
        let lower: Vec<_> = (0..150).map(|n| make(&format!("l{n}"))).collect();
        std::fs::write(at("l0/file"), "top").unwrap();
        std::fs::write(at("l149/file"), "bottom").unwrap();
        std::fs::write(at("l149/other"), "bottom").unwrap();
        let fs = crate::ContainerFs {
            id: "c".into(),
            lower,
            upper: make("upper"),
            work: make("work"),
            attrs: OverlayAttrs::Trusted,
        };
        for readonly in [false, true] {
            let fd = mount(&fs, readonly).unwrap();
            let inside = |name: &str| format!("/proc/self/fd/{}/{name}", fd.as_raw_fd());
            assert_eq!(std::fs::read_to_string(inside("file")).unwrap(), "top");
            assert_eq!(std::fs::read_to_string(inside("other")).unwrap(), "bottom");
            assert_eq!(std::fs::write(inside("new"), "x").is_err(), readonly);
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!mounts.contains("upper"), "{mounts}");
        }
        assert!(at("upper/new").exists());
    }
}
