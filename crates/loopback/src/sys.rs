//! The requests that loop devices understand (linux/loop.h).

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use linux_raw_sys::loop_device::{
    LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO, LOOP_CONFIGURE, LOOP_CTL_GET_FREE, LOOP_GET_STATUS64,
    loop_config, loop_info64,
};
use rustix::io::{Errno, Result};
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, Opcode, Setter, ioctl};

/// What a device is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct File {
    /// The file system that the file is in, as in `st_dev`.
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// A device's number is the answer itself.
struct GetFree;

// SAFETY: the request takes no argument, and the kernel writes to no memory for it.
unsafe impl Ioctl for GetFree {
    type Output = u32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> Result<u32> {
        u32::try_from(out).map_err(|_| Errno::RANGE)
    }
}

/// The number of a device that has no file yet; made where there is none. `/dev/loop-control` is asked.
pub(crate) fn free(control: impl AsFd) -> Result<u32> {
    // SAFETY: it takes no argument.
    unsafe { ioctl(control, GetFree) }
}

/// The file behind a device; none where it has none.
pub(crate) fn file(device: impl AsFd) -> Result<Option<File>> {
    // SAFETY: the kernel writes a `struct loop_info64`, of which all patterns of bits are valid.
    let info = unsafe { ioctl(device, Getter::<LOOP_GET_STATUS64, loop_info64>::new()) };
    match info {
        Ok(info) => Ok(Some(File {
            device: info.lo_device,
            inode: info.lo_inode,
        })),
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Puts a file behind a device, which is freed with its last user.
///
/// # Errors
/// `EBUSY` where it has one.
pub(crate) fn configure(
    device: impl AsFd,
    file: BorrowedFd<'_>,
    block: u32,
    name: &[u8],
) -> Result<()> {
    // SAFETY: both are plain numbers, of which zeros are valid ones.
    let mut config: loop_config = unsafe { std::mem::zeroed() };
    config.fd = u32::try_from(file.as_raw_fd()).map_err(|_| Errno::BADF)?;
    config.block_size = block;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR as u32 | LO_FLAGS_DIRECT_IO as u32;
    // With a NUL at its end.
    let room = config.info.lo_file_name.len() - 1;
    for (to, from) in config.info.lo_file_name.iter_mut().take(room).zip(name) {
        *to = *from;
    }
    // SAFETY: the kernel reads a `struct loop_config`; the descriptor in it is open, and the kernel takes a
    // reference of its own.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, loop_config>::new(config)) }
}
