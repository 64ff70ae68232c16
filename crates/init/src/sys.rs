//! The system calls that have no safe form elsewhere.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `RNDADDENTROPY`: `_IOW('R', 3, int[2])` (random(4)).
const RND_ADD_ENTROPY: libc::Ioctl = 0x4008_5203_u32 as libc::Ioctl;
/// `RNDRESEEDCRNG`: `_IO('R', 7)`.
const RND_RESEED: libc::Ioctl = 0x5207;
/// `FIFREEZE`, `FITHAW`: `_IOWR('X', 119, int)`, and 120 (linux/fs.h).
const FREEZE: libc::Ioctl = 0xc004_5877_u32 as libc::Ioctl;
const THAW: libc::Ioctl = 0xc004_5878_u32 as libc::Ioctl;
/// `FITRIM`: `_IOWR('X', 121, struct fstrim_range)`.
const TRIM: libc::Ioctl = 0xc018_5879_u32 as libc::Ioctl;

/// The most bytes that are given to the kernel's generator at once.
const MAX_ENTROPY: usize = 512;

/// `struct rand_pool_info` with room for its bytes.
#[repr(C)]
struct Pool {
    bits: libc::c_int,
    size: libc::c_int,
    bytes: [u8; MAX_ENTROPY],
}

/// Gives random bytes to the kernel's generator, and has it use them from now on.
pub(crate) fn add_entropy(random: BorrowedFd<'_>, entropy: &[u8]) -> io::Result<()> {
    let mut pool = Pool {
        bits: 0,
        size: 0,
        bytes: [0; MAX_ENTROPY],
    };
    let bytes = pool.bytes.get_mut(..entropy.len());
    bytes
        .ok_or(io::ErrorKind::InvalidInput)?
        .copy_from_slice(entropy);
    let length = entropy.len() as libc::c_int;
    (pool.bits, pool.size) = (length * 8, length);
    // SAFETY: the kernel reads the two numbers and `size` bytes after them, all of them in `pool`.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RND_ADD_ENTROPY, &raw const pool) })?;
    // SAFETY: this takes no argument.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RND_RESEED, 0) })
}

/// Stops all writing to a file system.
pub(crate) fn freeze(dir: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the kernel ignores the argument.
    check(unsafe { libc::ioctl(dir.as_raw_fd(), FREEZE, 0) })
}

/// Has it go on.
pub(crate) fn thaw(dir: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the kernel ignores the argument.
    check(unsafe { libc::ioctl(dir.as_raw_fd(), THAW, 0) })
}

/// Tells the disk which blocks are free; how many bytes.
pub(crate) fn trim(dir: BorrowedFd<'_>) -> io::Result<u64> {
    let mut range = [0, u64::MAX, 0];
    // SAFETY: `struct fstrim_range` is three numbers of 64 bits, which the kernel reads and writes.
    check(unsafe { libc::ioctl(dir.as_raw_fd(), TRIM, &raw mut range) })?;
    Ok(range[1])
}

/// Has this program's next, and all that come of it, find themselves at the same addresses each time
/// (`personality(2)`): the emulator has their code translated once then, not for each process anew.
/// Containers' processes are put right by the launcher.
pub(crate) fn fix_addresses() -> io::Result<()> {
    // SAFETY: this takes no memory.
    check(unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) }.min(0))
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Has `SIGIO` sent to this process when the descriptor's state changes, or no longer.
pub(crate) fn set_signalled(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    if on {
        // SAFETY: this takes a process id, our own.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETOWN, libc::getpid()) })?;
    }
    let flags = rustix::fs::fcntl_getfl(fd)?.bits();
    let signalled = libc::O_ASYNC as u32;
    let flags = if on {
        flags | signalled
    } else {
        flags & !signalled
    };
    // SAFETY: this takes flags.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) })
}
