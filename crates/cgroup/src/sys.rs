//! `bpf(2)` for device programs: the only unsafe code of this crate.

use std::ffi::c_int;
use std::ffi::c_long;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// Source in the upper half, destination in the lower one. (Bit fields: this is their order on
    /// little endian machines.)
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) operand: u32,
}

// linux/bpf.h
const PROG_LOAD: c_int = 5;
const PROG_ATTACH: c_int = 8;
const PROG_DETACH: c_int = 9;
const PROG_GET_FD_BY_ID: c_int = 13;
const PROG_QUERY: c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// How many programs of one cgroup are looked at; the kernel allows 64.
const MAX_PROGRAMS: usize = 64;

#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
struct GetId {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Loads a program that decides about devices.
pub(crate) fn load_device_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut attr = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        insns: address(program.as_ptr()),
        license: address(license.as_ptr()),
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"coracle_devices\0",
    };
    // SAFETY: `attr` has the layout of the command's attributes; `insns` points to `insn_cnt`
    // instructions and `license` to a C string, both alive during the call and only read.
    let fd = unsafe { bpf(PROG_LOAD, &mut attr) }?;
    // SAFETY: the command answers a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program beside those that are there.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> io::Result<()> {
    // SAFETY: `attr` has the layout of the command's attributes, and no pointers.
    unsafe { bpf(PROG_ATTACH, &mut attach(cgroup, program, ALLOW_MULTI)) }.map(drop)
}

/// The ids of the attached programs.
pub(crate) fn attached_device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; MAX_PROGRAMS];
    let mut attr = Query {
        target_fd: number(cgroup),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: MAX_PROGRAMS as u32,
        padding: 0,
    };
    // SAFETY: `attr` has the layout of the command's attributes; `prog_ids` points to `prog_cnt`
    // integers that nothing else uses, and the kernel writes at most so many.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    ids.truncate(attr.prog_cnt as usize);
    Ok(ids)
}

/// Detaches a program; one that is gone is fine.
pub(crate) fn detach_device_program(cgroup: BorrowedFd<'_>, id: u32) -> io::Result<()> {
    let mut attr = GetId {
        id,
        next_id: 0,
        open_flags: 0,
    };
    // SAFETY: `attr` has the layout of the command's attributes, and no pointers.
    let fd = match unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) } {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        result => result?,
    };
    // SAFETY: the command answers a new descriptor, which nothing else owns.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: `attr` has the layout of the command's attributes, and no pointers.
    match unsafe { bpf(PROG_DETACH, &mut attach(cgroup, program.as_fd(), 0)) } {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result.map(drop),
    }
}

fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, flags: u32) -> Attach {
    Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: 0,
    }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // A descriptor is never negative.
    fd.as_raw_fd().unsigned_abs()
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// `bpf(2)`.
///
/// # Safety
/// `attr` must be of the type of `command`'s attributes, and its pointers good for what the command
/// does with them.
unsafe fn bpf<T>(command: c_int, attr: &mut T) -> io::Result<RawFd> {
    let size = size_of::<T>() as c_long;
    // SAFETY: `attr` is `size` bytes long and exclusive; the rest is what the caller promises.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            c_long::from(command),
            std::ptr::from_mut(attr),
            size,
        )
    };
    match result {
        ..0 => Err(io::Error::last_os_error()),
        result => RawFd::try_from(result).map_err(|_| io::ErrorKind::InvalidData.into()),
    }
}
