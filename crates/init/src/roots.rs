//! The root file systems of containers, from disks.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coracle_archive::OverlayAttrs;
use coracle_guest::Root;
use coracle_snapshot::ContainerFs;
use coracle_task::{Rootfs, TaskConfig};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::RUN;
use crate::disks;
use crate::error::{During, Result, invalid};

/// A container's directory.
pub(crate) fn dir(id: &str) -> Result<PathBuf> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if id.is_empty() || id.len() > 128 || id.starts_with('.') || !id.bytes().all(is_plain) {
        return Err(invalid(format!("{id:?} is no container's id")));
    }
    Ok(Path::new(RUN).join(id))
}

/// Mounts a container's root file system.
pub(crate) fn add(root: &Root) -> Result<()> {
    let dir = dir(&root.container)?;
    let (image, layer) = (dir.join("image"), dir.join("layer"));
    for dir in [&dir, &image, &layer] {
        make(dir)?;
    }
    let disk = disks::find(&root.image)?;
    let flags = MountFlags::RDONLY;
    rustix::mount::mount(&*disk, &image, "erofs", flags, None)
        .during(|| format!("mount the image from disk {}", root.image))?;
    let mounted = match &root.layer {
        Some(serial) => {
            let disk = disks::find(serial)?;
            let options = layer_options(root.journal.as_deref())?;
            rustix::mount::mount(&*disk, &layer, "ext4", MountFlags::empty(), options)
                .during(|| format!("mount the layer from disk {serial}"))
        }
        None => rustix::mount::mount("layer", &layer, "tmpfs", MountFlags::empty(), c"mode=0755")
            .during(|| "mount a layer in memory"),
    };
    let made = mounted
        .and_then(|()| make(&layer.join("upper")))
        .and_then(|()| make(&layer.join("work")));
    if made.is_err() {
        let _the_first_failure_counts = remove(&root.container);
    }
    made
}

/// What is deleted gives its space back to the host.
fn layer_options(journal: Option<&str>) -> Result<&'static CStr> {
    match journal {
        None => Ok(c"discard"),
        Some("ordered") => Ok(c"discard,data=ordered"),
        Some("writeback") => Ok(c"discard,data=writeback"),
        Some("journal") => Ok(c"discard,data=journal"),
        Some(other) => Err(invalid(format!("{other:?} is no mode of a journal"))),
    }
}

fn make(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.during(|| format!("make {}", dir.display())),
    }
}

/// Unmounts it; nothing if it isn't there.
pub(crate) fn remove(id: &str) -> Result<()> {
    let dir = dir(id)?;
    for name in ["layer", "image"] {
        let path = dir.join(name);
        match rustix::mount::unmount(&path, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => return Err(errno).during(|| format!("unmount {}", path.display())),
        }
        let _may_hold_other_things = fs::remove_dir(&path);
    }
    let _may_hold_other_things = fs::remove_dir(&dir);
    Ok(())
}

/// What a container's overlay is made of: as it was created with, or by the paths of its root.
pub(crate) fn overlay(id: &str, config: Option<&TaskConfig>) -> Result<ContainerFs> {
    let dir = dir(id)?;
    let (lower, upper, work) = match config.map(|config| &config.rootfs) {
        Some(Rootfs::Overlay { lower, upper, work }) => {
            (lower.clone(), upper.clone(), work.clone())
        }
        Some(Rootfs::Bind(_)) => {
            return Err(invalid(
                "the container's root file system is a plain directory",
            ));
        }
        Some(Rootfs::Disks) | None => (
            vec![dir.join("image")],
            dir.join("layer/upper"),
            dir.join("layer/work"),
        ),
    };
    Ok(ContainerFs {
        id: id.to_owned(),
        lower,
        upper,
        work,
        attrs: OverlayAttrs::Trusted,
    })
}
