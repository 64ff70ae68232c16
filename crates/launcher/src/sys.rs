//! The system calls that neither rustix nor `helper` has a safe function for: the only module with
//! `unsafe` in it.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, c_long, c_ulong, c_void};

pub(crate) use coracle_helper::{
    NEWCGROUP, NEWIPC, NEWNET, NEWNS, NEWPID, NEWTIME, NEWUSER, NEWUTS, clone_sibling,
    close_all_from, execve, exit, mount_setattr, reset_signals, unshare,
};

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Forks; returns `None` in the child. Only for a process with one thread.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the launch helper that calls it has one thread, so that the child's copy of the
    // memory is consistent.
    let pid = unsafe { libc::fork() };
    check(c_long::from(pid))?;
    Ok((pid != 0).then_some(pid))
}

/// Marks every descriptor from `first` up close-on-exec.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;
    // SAFETY: descriptors are only marked, none is closed, so that no owner is left with a stale
    // number.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) })
        .map(drop)
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
