//! Overlays that are attached nowhere.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coracle_archive::OverlayAttrs;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::container::ContainerFs;
use crate::error::{Error, Result, failed};
use crate::legacy;

/// The longest value that `fsconfig` takes, without its NUL.
const MAX_VALUE: usize = 255;

/// Options that every container's overlay has, as `key=value` or a flag: nothing that changes how
/// layers are stored (inode index, metadata-only copies, redirects), and none of a layer's
/// redirects are followed.
pub fn overlay_options(attrs: OverlayAttrs) -> &'static [&'static str] {
    match attrs {
        OverlayAttrs::Trusted => &["index=off", "metacopy=off", "redirect_dir=nofollow"],
        OverlayAttrs::User => &[
            "index=off",
            "metacopy=off",
            "redirect_dir=nofollow",
            "userxattr",
        ],
    }
}

/// The directories of an overlay as the kernel gets them.
pub(crate) struct Stack {
    lower: Vec<PathBuf>,
    /// Upper and work directory.
    upper: Option<(PathBuf, PathBuf)>,
    attrs: OverlayAttrs,
    /// Descriptors that stand for paths that are too long.
    _open: Vec<OwnedFd>,
}

/// Mounts a container's file system without attaching it anywhere: it lives as long as the
/// descriptor, which is an `O_PATH` one of its root. Device nodes in it can't be opened by way of it, and setuid has no effect.
///
/// With `readonly` the container may be running, though what it writes meanwhile may or may not be
/// seen. Otherwise nobody else may have it mounted.
///
/// # Errors
/// [`Error::Mount`] with the kernel's own words, [`Error::Io`].
pub fn mount_detached(fs: &ContainerFs, readonly: bool) -> Result<OwnedFd> {
    let stack = Stack::of(fs, readonly, MAX_VALUE)?;
    let error = match by_layer(&stack, readonly) {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    // Linux before 6.7 wants all layers in one string, whose length fsconfig limits: that leaves
    // mount(2).
    if matches!(&error, Error::Mount { source, .. } if source.kind() == io::ErrorKind::InvalidInput)
    {
        return legacy::mount(fs, readonly).map_err(|_| error);
    }
    Err(error)
}

impl Stack {
    /// Paths longer than `max` are opened, and named by their descriptors.
    pub(crate) fn of(fs: &ContainerFs, readonly: bool, max: usize) -> Result<Stack> {
        let mut open = Vec::new();
        let mut short = |path: &Path| -> Result<PathBuf> {
            if path.as_os_str().len() <= max {
                return Ok(path.to_owned());
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed("open", path))?;
            let short = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            open.push(fd);
            Ok(short)
        };
        let mut lower = Vec::new();
        if readonly {
            lower.push(short(&fs.upper)?);
        }
        for path in &fs.lower {
            lower.push(short(path)?);
        }
        let upper = if readonly {
            None
        } else {
            Some((short(&fs.upper)?, short(&fs.work)?))
        };
        Ok(Stack {
            lower,
            upper,
            attrs: fs.attrs,
            _open: open,
        })
    }

    /// Everything as one string for `mount(2)`.
    pub(crate) fn joined(&self) -> Option<CString> {
        let mut data = b"lowerdir=".to_vec();
        for (i, path) in self.lower.iter().enumerate() {
            if i > 0 {
                data.push(b':');
            }
            escape(&mut data, path, b":,\\");
        }
        if let Some((upper, work)) = &self.upper {
            data.extend_from_slice(b",upperdir=");
            escape(&mut data, upper, b",\\");
            data.extend_from_slice(b",workdir=");
            escape(&mut data, work, b",\\");
        }
        for option in overlay_options(self.attrs) {
            data.push(b',');
            data.extend_from_slice(option.as_bytes());
        }
        CString::new(data).ok()
    }
}

fn escape(data: &mut Vec<u8>, path: &Path, special: &[u8]) {
    for b in path.as_os_str().as_bytes() {
        if special.contains(b) {
            data.push(b'\\');
        }
        data.push(*b);
    }
}

/// Attributes of all detached mounts.
fn attributes(readonly: bool) -> MountAttrFlags {
    let mut flags = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    if readonly {
        flags |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    flags
}

/// One `lowerdir+` after the other.
fn by_layer(stack: &Stack, readonly: bool) -> Result<OwnedFd> {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| {
        Error::Mount {
            log: String::new(),
            source: e.into(),
        }
    })?;
    configure(&fs, stack)
        .and_then(|()| rustix::mount::fsconfig_create(fs.as_fd()))
        .and_then(|()| {
            let flags = FsMountFlags::FSMOUNT_CLOEXEC;
            rustix::mount::fsmount(fs.as_fd(), flags, attributes(readonly))
        })
        .map_err(|e| Error::Mount {
            log: log_of(&fs),
            source: e.into(),
        })
}

fn configure(fs: &OwnedFd, stack: &Stack) -> rustix::io::Result<()> {
    let set = |key: &str, value: &Path| rustix::mount::fsconfig_set_string(fs.as_fd(), key, value);
    set("source", Path::new("overlay"))?;
    for path in &stack.lower {
        set("lowerdir+", path)?;
    }
    if let Some((upper, work)) = &stack.upper {
        set("upperdir", upper)?;
        set("workdir", work)?;
    }
    for option in overlay_options(stack.attrs) {
        match option.split_once('=') {
            Some((key, value)) => set(key, Path::new(value))?,
            None => rustix::mount::fsconfig_set_flag(fs.as_fd(), *option)?,
        }
    }
    Ok(())
}

/// What the kernel had to say: a message per read, each with a letter for its level in front.
fn log_of(fs: &OwnedFd) -> String {
    let mut lines = Vec::new();
    let mut buffer = [0u8; 1024];
    while let Ok(len @ 1..) = rustix::io::read(fs, &mut buffer[..]) {
        let line = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default());
        let line = line.trim();
        lines.push(line.get(2..).unwrap_or(line).to_owned());
    }
    lines.join("; ")
}

/// An error without the kernel's words.
pub(crate) fn mount_error(errno: Errno) -> Error {
    Error::Mount {
        log: String::new(),
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_options_are_escaped() {
        let stack = Stack {
            lower: vec!["/a:b".into(), "/c,d\\e".into()],
            upper: Some(("/u:p,p".into(), "/w".into())),
            attrs: OverlayAttrs::User,
            _open: Vec::new(),
        };
        let joined = stack.joined().unwrap().into_string().unwrap();
        assert_eq!(
            joined,
            "lowerdir=/a\\:b:/c\\,d\\\\e,upperdir=/u:p\\,p,workdir=/w,\
             index=off,metacopy=off,redirect_dir=nofollow,userxattr"
        );
    }
}
