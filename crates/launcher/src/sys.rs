//! The system calls that rustix has no safe function for: the only module with `unsafe` in it.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{c_int, c_long, c_ulong, c_void};

pub(crate) const NEWTIME: u32 = libc::CLONE_NEWTIME as u32;
pub(crate) const NEWNS: u32 = libc::CLONE_NEWNS as u32;
pub(crate) const NEWCGROUP: u32 = libc::CLONE_NEWCGROUP as u32;
pub(crate) const NEWUTS: u32 = libc::CLONE_NEWUTS as u32;
pub(crate) const NEWIPC: u32 = libc::CLONE_NEWIPC as u32;
pub(crate) const NEWUSER: u32 = libc::CLONE_NEWUSER as u32;
pub(crate) const NEWPID: u32 = libc::CLONE_NEWPID as u32;
pub(crate) const NEWNET: u32 = libc::CLONE_NEWNET as u32;

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
/// Must only be called in a process with one thread: see the argument below.
pub(crate) fn clone_sibling(
    namespaces: u32,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Option<i32>> {
    // SAFETY: `clone_args` is a plain struct of integers, for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(namespaces) | libc::CLONE_PARENT as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with no stack given this behaves as fork(2): the new process
    // runs on a copy of this memory. The launch helper that calls it has one thread, so that no
    // lock can be held by a thread that the copy lacks. The struct is as large as we say.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>(),
        )
    })?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Forks; returns `None` in the child. Only for a process with one thread.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the launch helper that calls it has one thread, so that the child's copy of the
    // memory is consistent.
    let pid = unsafe { libc::fork() };
    check(c_long::from(pid))?;
    Ok((pid != 0).then_some(pid))
}

/// Moves this thread into new namespaces.
pub(crate) fn unshare(namespaces: u32) -> io::Result<()> {
    // SAFETY: only `CLONE_NEW*` bits are passed by our callers, never CLONE_FILES, so that the
    // table of open files stays what Rust's ownership of descriptors believes it to be.
    check(c_long::from(unsafe { libc::unshare(namespaces as c_int) })).map(drop)
}

/// `mount_setattr(2)`: sets and clears attributes, and the propagation, of one mount or a tree.
pub(crate) fn mount_setattr(
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

/// Marks every descriptor from `first` up close-on-exec.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;
    // SAFETY: descriptors are only marked, none is closed, so that no owner is left with a stale
    // number.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) })
        .map(drop)
}

/// Closes every descriptor from `first` up.
///
/// For a process in which nothing owns one of them (the helper at its beginning), or nothing that
/// owns one will ever use or drop it (the reaper).
pub(crate) fn close_all_from(first: u32) -> io::Result<()> {
    // SAFETY: this breaks owners of open descriptors. The helper has none when it begins but the
    // standard streams, which stay; the reaper runs on without touching any, and leaves by `exit`
    // without running destructors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Gives every signal its default action and an empty mask.
pub(crate) fn reset_signals() {
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

/// Blocks every signal that can be blocked, to take them by [`wait_signal`].
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by sigfillset before it is read.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Waits for the next blocked signal and takes it; its number.
pub(crate) fn wait_signal() -> io::Result<i32> {
    // SAFETY: the set is initialised by sigfillset before it is read; no siginfo is asked for.
    let signal = unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        libc::sigwaitinfo(&raw const set, std::ptr::null_mut())
    };
    check(c_long::from(signal)).map(|signal| signal as i32)
}

/// Sends `signal` to a process, or to a group if `group`.
///
/// Any number goes, the real-time ones included, which rustix has no names for.
pub(crate) fn kill(pid: i32, group: bool, signal: i32) {
    // SAFETY: kill(2) touches no memory of ours. A failure means that the process is gone.
    unsafe { libc::kill(if group { -pid } else { pid }, signal) };
}

/// Replaces this process; returns only the error.
pub(crate) fn execve(path: &CString, args: &[CString], env: &[CString]) -> io::Error {
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

/// Gives this process a session keyring of its own, so that it can't use its starter's keys.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory of ours is read or written.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<c_void>(),
        )
    })
    .map(drop)
}

/// Sets the execution domain: `personality(2)`.
pub(crate) fn personality(domain: c_ulong) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(c_long::from(unsafe { libc::personality(domain) })).map(drop)
}

/// Has the next program's addresses randomized, if they would not be: `personality(2)`.
pub(crate) fn randomize_addresses() -> io::Result<()> {
    const ASK: c_ulong = 0xffff_ffff;
    const FIXED: c_ulong = libc::ADDR_NO_RANDOMIZE as c_ulong;
    // SAFETY: no memory is passed.
    let now = unsafe { libc::personality(ASK) } as c_ulong;
    match now & FIXED {
        0 => Ok(()),
        _ => personality(now & !FIXED),
    }
}

/// Sets this process's input and output priority: `ioprio_set(2)`.
pub(crate) fn io_priority(class: u32, level: u32) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: c_int = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    let value = (class << IOPRIO_CLASS_SHIFT) | level;
    // SAFETY: no memory is passed; 0 means the calling process.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) }).map(drop)
}

/// What `sched_setattr(2)` takes.
#[derive(Default)]
pub(crate) struct Scheduling {
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

/// Sets this process's scheduling policy.
pub(crate) fn set_scheduling(scheduling: &Scheduling) -> io::Result<()> {
    /// The first version of `struct sched_attr`, which every kernel takes.
    #[repr(C)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: scheduling.policy,
        flags: scheduling.flags,
        nice: scheduling.nice,
        priority: scheduling.priority,
        runtime: scheduling.runtime,
        deadline: scheduling.deadline,
        period: scheduling.period,
    };
    // SAFETY: the struct has the kernel's layout and tells its own size; 0 is the calling process.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: `ifreq` is a plain struct of integers, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    // SAFETY: SIOCGIFFLAGS writes an `ifreq` to the one that it is given, and nothing else.
    check(c_long::from(unsafe {
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCGIFFLAGS as _,
            &raw mut request,
        )
    }))?;
    // SAFETY: SIOCGIFFLAGS has just filled in the flags member of the union.
    unsafe {
        request.ifr_ifru.ifru_flags |= (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    }
    // SAFETY: SIOCSIFFLAGS reads an `ifreq` and nothing else.
    check(c_long::from(unsafe {
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    }))
    .map(drop)
}

/// Leaves at once, running no destructor and no exit handler.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}
