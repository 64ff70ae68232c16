//! The VMM's root: a small read-only tree with the programs and libraries of the host, and the few
//! files that were asked for, all at their own paths.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use super::{Doing, Job, Step, confine};

/// Programs, libraries and their loader's settings, as far as a host has them.
const SYSTEM: [&str; 10] = [
    "/usr",
    "/lib",
    "/lib64",
    "/lib32",
    "/libx32",
    "/bin",
    "/sbin",
    "/etc/ld.so.cache",
    "/nix/store",
    "/gnu/store",
];

/// A place in the new root.
enum Entry {
    Link(PathBuf),
    Mount { tree: OwnedFd, directory: bool },
}

/// Where hardware virtualization is.
pub(super) const KVM: &str = "/dev/kvm";

/// Makes the root and changes to it.
pub(super) fn enter(job: &Job, warnings: &mut Vec<String>) -> Step<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing("make all mounts private")?;
    // Asked while /proc is there.
    let own_kvm = job.kvm && confine::makes_devices();
    // All are opened before anything is mounted that could hide them.
    let mut entries = Vec::new();
    for path in SYSTEM.map(Path::new) {
        if let Some(entry) = open_system(path)? {
            entries.push((path.to_path_buf(), entry));
        }
    }
    let covered = |path: &Path| SYSTEM.iter().any(|system| path.starts_with(system));
    let mut wanted: BTreeSet<&Path> = job.binds.iter().map(PathBuf::as_path).collect();
    wanted.insert(&job.program);
    for path in wanted.into_iter().filter(|path| !covered(path)) {
        entries.push((path.to_path_buf(), open_mount(path)?));
    }
    if job.kvm && !own_kvm {
        entries.push((KVM.into(), open_mount(Path::new(KVM))?));
    }
    let root = new_root()?;
    for (path, entry) in &entries {
        install(&root, path, entry).doing(format_args!("show {}", path.display()))?;
    }
    if own_kvm {
        // A node of its own: the host's may belong to a group that the VMM isn't in.
        make_directories(&root, Path::new("dev")).doing("make /dev")?;
        let number = rustix::fs::makedev(10, 232);
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(&root, "dev/kvm", FileType::CharacterDevice, mode, number)
            .doing("make /dev/kvm")?;
        rustix::fs::chmodat(&root, "dev/kvm", mode, rustix::fs::AtFlags::empty())
            .doing("open /dev/kvm up")?;
    }
    rustix::process::fchdir(&root).doing("go to the root")?;
    // The old root is put on top of the new one, and taken away.
    rustix::process::pivot_root(".", ".").doing("change the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).doing("leave the old root")?;
    rustix::process::chdir("/").doing("go to the root")?;
    let tree = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .doing("open the root")?;
    if let Err(error) = make_read_only(tree.as_fd()) {
        warnings.push(format!("the VMM's root stays writable: {error}"));
    }
    Ok(())
}

/// The new root's mount: over a directory of the host's, which only this namespace sees.
fn new_root() -> Step<OwnedFd> {
    let context =
        rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).doing("open a file system")?;
    rustix::mount::fsconfig_set_string(&context, "mode", "755").doing("set its mode")?;
    rustix::mount::fsconfig_set_string(&context, "size", "1m").doing("set its size")?;
    rustix::mount::fsconfig_create(&context).doing("make a file system")?;
    let mount = rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID,
    )
    .doing("mount it")?;
    rustix::mount::move_mount(
        &mount,
        "",
        CWD,
        "/proc",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .doing("attach the root")?;
    Ok(mount)
}

fn open_system(path: &Path) -> Step<Option<Entry>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(data) if data.is_symlink() => {
            let target =
                fs::read_link(path).doing(format_args!("read the link {}", path.display()))?;
            Ok(Some(Entry::Link(target)))
        }
        _ => open_mount(path).map(Some),
    }
}

/// Makes a tree of mounts read-only, without set-user-id programs, and nobody else's business.
fn make_read_only(tree: BorrowedFd<'_>) -> io::Result<()> {
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
    coracle_helper::mount_setattr(tree, true, set, 0, libc::MS_PRIVATE)
}

fn open_mount(path: &Path) -> Step<Entry> {
    let show = path.display();
    if !path.is_absolute() {
        return Err(format!("{show} is not an absolute path"));
    }
    let data = fs::metadata(path).doing(format_args!("find {show}"))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, path, flags).doing(format_args!("bind {show}"))?;
    make_read_only(tree.as_fd()).doing(format_args!("make {show} read-only"))?;
    Ok(Entry::Mount {
        tree,
        directory: data.is_dir(),
    })
}

fn install(root: &OwnedFd, path: &Path, entry: &Entry) -> rustix::io::Result<()> {
    let inside: PathBuf = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect();
    if let Some(parent) = inside.parent() {
        make_directories(root, parent)?;
    }
    match entry {
        Entry::Link(target) => rustix::fs::symlinkat(target, root, &inside),
        Entry::Mount { tree, directory } => {
            if *directory {
                make_directories(root, &inside)?;
            } else {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(root, &inside, flags, Mode::from_raw_mode(0o444))?;
            }
            rustix::mount::move_mount(
                tree,
                "",
                root,
                &inside,
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
            )
        }
    }
}

fn make_directories(root: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    let mut made = PathBuf::new();
    for part in path.components() {
        made.push(part);
        match rustix::fs::mkdirat(root, &made, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
