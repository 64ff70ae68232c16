//! What a helper does to itself.
//!
//! A helper is a program that was executed again under another name, to make a container's process or
//! a machine's, and that ends, or becomes another program, as soon as it has. It has **one thread**,
//! from beginning to end: everything here counts on that.
//!
//! **Owns** the system calls for it that have no safe form elsewhere: new namespaces, mounts'
//! attributes, signals, descriptors, execve. **Must not know** what the helper is for.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_long, c_void};

/// A new time namespace, for children.
pub const NEWTIME: u32 = libc::CLONE_NEWTIME as u32;
/// A new mount namespace.
pub const NEWNS: u32 = libc::CLONE_NEWNS as u32;
/// A new cgroup namespace.
pub const NEWCGROUP: u32 = libc::CLONE_NEWCGROUP as u32;
/// A new namespace of host names.
pub const NEWUTS: u32 = libc::CLONE_NEWUTS as u32;
/// A new IPC namespace.
pub const NEWIPC: u32 = libc::CLONE_NEWIPC as u32;
/// A new user namespace.
pub const NEWUSER: u32 = libc::CLONE_NEWUSER as u32;
/// A new namespace of processes, for children.
pub const NEWPID: u32 = libc::CLONE_NEWPID as u32;
/// A new network namespace.
pub const NEWNET: u32 = libc::CLONE_NEWNET as u32;

/// The C library's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Forks into new namespaces, as a sibling of the calling process (`CLONE_PARENT`), optionally
/// straight into a version 2 control group. Returns `None` in the new process.
///
/// # Errors
/// Those of clone3(2).
pub fn clone_sibling(namespaces: u32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Option<i32>> {
    // SAFETY: `clone_args` is a plain struct of integers, for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(namespaces) | libc::CLONE_PARENT as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with no stack given this behaves as fork(2): the new process
    // runs on a copy of this memory. The helper that calls it has one thread, so that no lock can
    // be held by a thread that the copy lacks. The struct is as large as we say.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>(),
        )
    })?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Moves this thread into new namespaces.
///
/// # Errors
/// Those of unshare(2).
pub fn unshare(namespaces: u32) -> io::Result<()> {
    // SAFETY: only `CLONE_NEW*` bits are passed, never CLONE_FILES, so that the table of open files
    // stays what Rust's ownership of descriptors believes it to be.
    check(c_long::from(unsafe { libc::unshare(namespaces as c_int) })).map(drop)
}

/// Sets and clears attributes (`MOUNT_ATTR_*`), and the propagation, of one mount or a tree.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn mount_setattr(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a valid, terminated, empty string, and the struct is as large as we say;
    // the kernel only reads both.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Closes every descriptor from `first` up: where nothing owns one of them (a helper at its beginning
/// has none but the standard streams), or nothing that owns one will ever use or drop it.
///
/// # Errors
/// Those of close_range(2).
pub fn close_all_from(first: u32) -> io::Result<()> {
    // SAFETY: this breaks owners of open descriptors, of which the caller has none left.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Gives every signal its default action and an empty mask.
pub fn reset_signals() {
    /// At least as large as the kernel's `struct sigaction`, of which all zeroes means SIG_DFL
    /// without flags.
    static DEFAULT: [u64; 8] = [0; 8];
    const SET_SIZE: usize = 8;
    for signal in 1..=64 {
        // SAFETY: the kernel only reads the action, which installs no code of ours. The C library
        // is gone around because it hides two signals (32 and 33), which may be ignored as well.
        // SIGKILL and SIGSTOP are refused, which is no matter.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<c_void>(),
                SET_SIZE,
            )
        };
    }
    // SAFETY: the kernel only reads the set, of the size that is told.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            DEFAULT.as_ptr(),
            std::ptr::null_mut::<c_void>(),
            SET_SIZE,
        )
    };
}

/// Replaces this process; returns only the error.
pub fn execve(path: &CString, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        let mut list: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        list.push(std::ptr::null());
        list
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both lists end with a null pointer and point at terminated strings, which live in
    // our caller until the call is over.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Leaves at once, running no destructor and no exit handler.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}
