//! The root file system: mounted in the container's own mount namespace, and changed to.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags,
};

use crate::error::{Context, Failure, Stage, Step};
use crate::mounts::clone_tree;
use crate::mounts::options::Depth;
use crate::path::Root;
use crate::request::Rootfs;
use crate::sys;

/// Mounts the root and changes to it; the host's mounts are gone from this namespace then.
pub(crate) fn enter(rootfs: &Rootfs, mapped: bool) -> Step<Root> {
    // From here on nothing that happens in this namespace is seen in another.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)
        .during(Stage::Rootfs, || "make all mounts private")?;
    let root = match rootfs {
        Rootfs::Overlay {
            lower,
            upper,
            work,
            volatile,
        } => {
            let overlay = Overlay {
                lower,
                change: upper.as_deref().zip(work.as_deref()),
                volatile: *volatile,
                mapped,
            };
            match takes_single_layers() {
                false => overlay.mount_the_old_way(),
                true => match overlay.mount() {
                    // No kernel takes long names.
                    Err(Errno::INVAL) => overlay.mount_the_old_way(),
                    mounted => mounted,
                },
            }
            .during(
                Stage::Rootfs,
                || "mount the overlay of the root file system",
            )?
        }
        Rootfs::Bind(path) => clone_tree(path, Depth::Tree)
            .during(Stage::Rootfs, || format!("bind {}", path.display()))?,
    };
    pivot(&root)?;
    open_root()
}

/// Whether the kernel takes an overlay's layers one by one, as since Linux 6.5. It complains on the
/// console of options that it doesn't know.
fn takes_single_layers() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().unwrap_or_default();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next(), numbers.next()) >= (Some(6), Some(5))
}

struct Overlay<'r> {
    /// Topmost first.
    lower: &'r [PathBuf],
    /// Where changes go, and the kernel's own directory beside it.
    change: Option<(&'r Path, &'r Path)>,
    volatile: bool,
    mapped: bool,
}

impl Overlay<'_> {
    /// Features that would put the overlay's own references to lower layers into `upper` are off:
    /// a layer made from it could not be told from its base.
    const FEATURES: [(&'static str, &'static str); 3] = [
        ("index", "off"),
        ("metacopy", "off"),
        ("redirect_dir", "nofollow"),
    ];

    fn flags(&self) -> impl Iterator<Item = &'static str> {
        let volatile = self.volatile && self.change.is_some();
        [(volatile, "volatile"), (self.mapped, "userxattr")]
            .into_iter()
            .filter_map(|(wanted, flag)| wanted.then_some(flag))
    }

    /// Mounts it, nowhere.
    fn mount(&self) -> Result<OwnedFd, Errno> {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let set =
            |key: &str, value: &Path| rustix::mount::fsconfig_set_string(&context, key, value);
        set("source", Path::new("overlay"))?;
        for layer in self.lower {
            set("lowerdir+", layer)?;
        }
        if let Some((upper, work)) = self.change {
            set("upperdir", upper)?;
            set("workdir", work)?;
        }
        for (feature, value) in Self::FEATURES {
            set(feature, Path::new(value))?;
        }
        for flag in self.flags() {
            rustix::mount::fsconfig_set_flag(&context, flag)?;
        }
        rustix::mount::fsconfig_create(&context)?;
        rustix::mount::fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
    }

    /// Mounts it on its topmost layer, of all places, and takes a copy of that mount. The
    /// directories are named by their descriptors, whose names are short and need no quoting.
    fn mount_the_old_way(&self) -> Result<OwnedFd, Errno> {
        let top = self.lower.first().ok_or(Errno::INVAL)?;
        let mut open = Vec::new();
        let mut name = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::open(path, flags, Mode::empty())?;
            let name = format!("/proc/self/fd/{}", dir.as_raw_fd());
            open.push(dir);
            Ok::<_, Errno>(name)
        };
        let layers: Result<Vec<_>, _> = self.lower.iter().map(|layer| name(layer)).collect();
        let mut data = format!("lowerdir={}", layers?.join(":"));
        if let Some((upper, work)) = self.change {
            data += &format!(",upperdir={},workdir={}", name(upper)?, name(work)?);
        }
        for (feature, value) in Self::FEATURES {
            data += &format!(",{feature}={value}");
        }
        for flag in self.flags() {
            data += &format!(",{flag}");
        }
        let data = CString::new(data).map_err(|_| Errno::INVAL)?;
        let flags = MountFlags::empty();
        rustix::mount::mount("overlay", top, "overlay", flags, data.as_c_str())?;
        clone_tree(top, Depth::One)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_get_their_layers_too() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root to mount");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let layers: Vec<_> = (0..100)
            .map(|number| dir.path().join(format!("a:b,c{number}")))
            .collect();
        for (number, layer) in layers.iter().enumerate() {
            std::fs::create_dir(layer).unwrap();
            std::fs::write(layer.join("top"), number.to_string()).unwrap();
            std::fs::write(layer.join(format!("file{number}")), "").unwrap();
        }
        let (upper, work) = (dir.path().join("upper"), dir.path().join("work"));
        std::fs::create_dir(&upper).unwrap();
        std::fs::create_dir(&work).unwrap();
        // A thread's mount namespace ends with it, and with that the mount on the first layer.
        let changed = std::thread::spawn(move || {
            sys::unshare(sys::NEWNS).unwrap();
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            let overlay = Overlay {
                lower: &layers,
                change: Some((&upper, &work)),
                volatile: true,
                mapped: false,
            };
            let root = Root::new(overlay.mount_the_old_way().unwrap());
            let read = |name: &str| {
                let file = root.open(Path::new(name), OFlags::RDONLY).unwrap();
                std::io::read_to_string(std::fs::File::from(file)).unwrap()
            };
            assert_eq!(read("top"), "0");
            assert_eq!(read("file99"), "");
            root.ensure_file(Path::new("new")).unwrap();
            upper.join("new")
        });
        assert!(changed.join().unwrap().exists());
    }

    #[test]
    fn propagations() {
        assert_eq!(
            parse_propagation("rshared"),
            Some((libc::MS_SHARED, Depth::Tree))
        );
        assert_eq!(
            parse_propagation("private"),
            Some((libc::MS_PRIVATE, Depth::One))
        );
        assert_eq!(parse_propagation("rather"), None);
    }
}
