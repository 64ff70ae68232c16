//! What is mounted where.

use std::ffi::CStr;
use std::fs::File;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::device::Device;
use crate::error::{Error, Result, failed};

/// Mounts the file system in a file at a directory, unless it is there already. With other mounts of the same
/// file it is one file system.
///
/// `kind` is the file system's type, `options` are its own (mount(8)).
///
/// # Errors
/// [`Error::NoLoop`], [`Error::Taken`] where another file system is mounted at that directory, [`Error::Io`].
pub fn mount(image: &Path, kind: &str, target: &Path, options: &CStr) -> Result<()> {
    let file = File::options().read(true).write(true).open(image);
    let file = file.map_err(failed("open", image))?;
    let device = Device::of(&file, image)?;
    match mounted(target)? {
        Some(number) if number == device.number()? => Ok(()),
        Some(_) => Err(Error::Taken(target.to_owned())),
        None => rustix::mount::mount(&device.path, target, kind, MountFlags::empty(), options)
            .map_err(failed("mount its image at", target)),
    }
}

/// Whether the file system in a file is mounted at a directory.
///
/// # Errors
/// [`Error::Io`].
pub fn is_mounted(image: &Path, target: &Path) -> Result<bool> {
    let Some(number) = mounted(target)? else {
        return Ok(false);
    };
    let file = File::open(image).map_err(failed("open", image))?;
    match Device::find(&file)? {
        Some(device) => Ok(device.number()? == number),
        None => Ok(false),
    }
}

/// Takes what is mounted at a directory from there; false where there is nothing. Who has it open, or mounted
/// elsewhere, keeps it. With the last of all it is written, which may take its time.
///
/// # Errors
/// [`Error::Io`].
pub fn unmount(target: &Path) -> Result<bool> {
    match rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOENT) => Ok(false),
        Err(errno) => Err(failed("unmount", target)(errno)),
    }
}

/// The number of the file system that is mounted at a directory.
fn mounted(target: &Path) -> Result<Option<u64>> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let about = rustix::fs::statx(CWD, target, flags, StatxFlags::TYPE)
        .map_err(failed("look at", target))?;
    let is_root = about.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    Ok(is_root.then(|| rustix::fs::makedev(about.stx_dev_major, about.stx_dev_minor)))
}
