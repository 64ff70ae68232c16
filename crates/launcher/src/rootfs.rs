//! The root file system: mounted in the container's own mount namespace, and changed to.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
};

use crate::error::{Context, Failure, Stage, Step};
use crate::mounts::clone_tree;
use crate::mounts::options::Depth;
use crate::path::Root;
use crate::request::Rootfs;
use crate::sys;

/// Mounts the root and changes to it; the host's mounts are gone from this namespace then.
pub(crate) fn enter(rootfs: &Rootfs, mapped: bool) -> Step<Root> {
    let root = match rootfs {
        Rootfs::Overlay {
            lower,
            upper,
            work,
            volatile,
        } => {
            let layers: Vec<_> = lower.iter().map(AsRef::as_ref).collect();
            let change = upper.as_deref().zip(work.as_deref());
            overlay(&layers, change, *volatile, mapped).during(
                Stage::Rootfs,
                || "mount the overlay of the root file system",
            )?
        }
        Rootfs::Bind(path) => clone_tree(path, Depth::Tree)
            .during(Stage::Rootfs, || format!("bind {}", path.display()))?,
    };
    // From here on nothing that happens in this namespace is seen in another.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)
        .during(Stage::Rootfs, || "make all mounts private")?;
    sys::mount_setattr(root.as_fd(), true, 0, 0, libc::MS_PRIVATE)
        .during(Stage::Rootfs, || "make the root private")?;
    pivot(&root)?;
    open_root()
}

/// An overlay, mounted nowhere.
///
/// Features that would put the overlay's own references to lower layers into `upper` are off: a
/// layer made from it could not be told from its base.
fn overlay(
    lower: &[&Path],
    change: Option<(&Path, &Path)>,
    volatile: bool,
    mapped: bool,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key: &str, value: &Path| rustix::mount::fsconfig_set_string(&context, key, value);
    rustix::mount::fsconfig_set_string(&context, "source", "overlay")?;
    for layer in lower {
        set("lowerdir+", layer)?;
    }
    if let Some((upper, work)) = change {
        set("upperdir", upper)?;
        set("workdir", work)?;
        if volatile {
            rustix::mount::fsconfig_set_flag(&context, "volatile")?;
        }
    }
    set("index", Path::new("off"))?;
    set("metacopy", Path::new("off"))?;
    set("redirect_dir", Path::new("nofollow"))?;
    if mapped {
        rustix::mount::fsconfig_set_flag(&context, "userxattr")?;
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

fn pivot(root: &OwnedFd) -> Step<()> {
    let what = || "change to the root file system";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, Mode::empty()).during(Stage::Rootfs, what)?;
    // On top of the old root: any place does, since it's only for a moment.
    rustix::mount::move_mount(root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .during(Stage::Rootfs, || "attach the root file system")?;
    rustix::process::fchdir(root).during(Stage::Rootfs, what)?;
    rustix::process::pivot_root(".", ".").map_err(|errno| {
        let mut failure = Failure::errno(Stage::Rootfs, errno, "pivot_root");
        if errno == Errno::INVAL {
            failure.message += " (the launcher's own root must be a mount, and not the initial \
                                ramfs: switch_root first)";
        }
        failure
    })?;
    // pivot_root has put the old root on top of the new one, where it's taken away from.
    rustix::process::fchdir(&old).during(Stage::Rootfs, what)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .during(Stage::Rootfs, || "detach the host's file systems")?;
    rustix::process::chdir("/").during(Stage::Rootfs, what)
}

fn open_root() -> Step<Root> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty())
        .map(Root::new)
        .during(Stage::Rootfs, || "open the root")
}

/// Gives the root its propagation and makes it read-only, once all is in place.
pub(crate) fn finish(propagation: Option<&str>, readonly: bool) -> Step<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open("/", flags, Mode::empty()).during(Stage::Rootfs, || "open the root")?;
    if let Some((propagation, depth)) = propagation.and_then(parse_propagation) {
        sys::mount_setattr(root.as_fd(), depth == Depth::Tree, 0, 0, propagation)
            .during(Stage::Rootfs, || "set linux.rootfsPropagation")?;
    }
    if readonly {
        sys::mount_setattr(root.as_fd(), false, libc::MOUNT_ATTR_RDONLY, 0, 0)
            .during(Stage::Rootfs, || "make the root read-only")?;
    }
    Ok(())
}

/// `linux.rootfsPropagation` as the kernel's flag.
pub(crate) fn parse_propagation(propagation: &str) -> Option<(u64, Depth)> {
    let (depth, plain) = match propagation.strip_prefix('r') {
        Some(plain) => (Depth::Tree, plain),
        None => (Depth::One, propagation),
    };
    let flag = match plain {
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some((flag, depth))
}
