//! Loop devices: the one of a file, or a free one.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result, failed};
use crate::sys;

const CONTROL: &str = "/dev/loop-control";
const ALL: &str = "/sys/block";

/// Bytes of a device's block, those of a file system's: with smaller ones the kernel couldn't go past the
/// cache of the file's pages, and would keep all twice.
const BLOCK: u32 = 4096;

/// How often a device is asked for that others are quicker to take.
const TRIES: u32 = 64;

/// A loop device with a file, which keeps it as long as this is open.
#[derive(Debug)]
pub(crate) struct Device {
    fd: OwnedFd,
    pub(crate) path: PathBuf,
}

/// Whether there are loop devices.
///
/// # Errors
/// [`Error::NoLoop`], which says what to do.
pub fn check() -> Result<()> {
    open(Path::new(CONTROL), OFlags::RDWR).map(drop)
}

impl Device {
    /// The device that a file has.
    pub(crate) fn find(file: &File) -> Result<Option<Self>> {
        let about = file
            .metadata()
            .map_err(failed("look at", Path::new("the image")))?;
        let wanted = sys::File {
            device: about.dev(),
            inode: about.ino(),
        };
        let all = Path::new(ALL);
        for entry in fs::read_dir(all).map_err(failed("read", all))? {
            let entry = entry.map_err(failed("read", all))?;
            let name = entry.file_name();
            let has_file = || entry.path().join("loop/backing_file").exists();
            if !name.as_bytes().starts_with(b"loop") || !has_file() {
                continue;
            }
            let path = Path::new("/dev").join(&name);
            // It may go at any moment. Opened, it stays.
            let Ok(fd) = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            else {
                continue;
            };
            if sys::file(&fd).map_err(failed("ask", &path))? == Some(wanted) {
                return Ok(Some(Self { fd, path }));
            }
        }
        Ok(None)
    }

    /// The device that a file has, or a new one. `file` has to be open for writing.
    pub(crate) fn of(file: &File, name: &Path) -> Result<Self> {
        if let Some(found) = Self::find(file)? {
            return Ok(found);
        }
        let control = open(Path::new(CONTROL), OFlags::RDWR)?;
        for _ in 0..TRIES {
            let number = sys::free(&control).map_err(failed("ask", Path::new(CONTROL)))?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let fd = open(&path, OFlags::RDWR)?;
            match sys::configure(&fd, file.as_fd(), BLOCK, name.as_os_str().as_bytes()) {
                Ok(()) => return Ok(Self { fd, path }),
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(failed("set up", &path)(errno)),
            }
        }
        Err(Error::Busy)
    }

    /// Its number, as in `st_dev` of what is mounted by it.
    pub(crate) fn number(&self) -> Result<u64> {
        let about = rustix::fs::fstat(&self.fd).map_err(failed("look at", &self.path))?;
        Ok(about.st_rdev)
    }
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| Error::NoLoop {
        path: path.to_owned(),
        source: errno.into(),
    })
}
