//! The system calls that rustix has no safe function for: the only module with `unsafe` in it.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_long, c_void};
use tokio::io::unix::AsyncFd;

pub(crate) const NEWNS: u32 = libc::CLONE_NEWNS as u32;
pub(crate) const NEWUTS: u32 = libc::CLONE_NEWUTS as u32;
pub(crate) const NEWIPC: u32 = libc::CLONE_NEWIPC as u32;
pub(crate) const NEWUSER: u32 = libc::CLONE_NEWUSER as u32;
pub(crate) const NEWPID: u32 = libc::CLONE_NEWPID as u32;
pub(crate) const NEWNET: u32 = libc::CLONE_NEWNET as u32;

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Forks into new namespaces, as a sibling of the calling process (`CLONE_PARENT`). Returns `None`
/// in the new process. Only for a process with one thread.
pub(crate) fn clone_sibling(namespaces: u32) -> io::Result<Option<i32>> {
    // SAFETY: `clone_args` is a plain struct of integers, for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(namespaces) | libc::CLONE_PARENT as u64;
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
pub(crate) fn unshare(namespaces: u32) -> io::Result<()> {
    // SAFETY: only `CLONE_NEW*` bits are passed, never CLONE_FILES, so that the table of open files
    // stays what Rust's ownership of descriptors believes it to be.
    check(c_long::from(unsafe { libc::unshare(namespaces as i32) })).map(drop)
}

/// Makes a detached tree of mounts read-only, without devices and set-user-id programs.
pub(crate) fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: the path is a valid, terminated, empty string, and the struct is as large as we say;
    // the kernel only reads both.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Closes every descriptor from `first` up: for the helper at its beginning, when nothing in it
/// owns one.
pub(crate) fn close_all_from(first: RawFd) -> io::Result<()> {
    // SAFETY: this breaks owners of open descriptors; the helper has none yet but the standard
    // streams, which stay.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Puts a copy of a descriptor at a number, to be inherited by the program that this process is
/// about to become. What was there is closed: nothing here may own it.
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: the caller vouches that no owner of `number` exists in this process.
    check(c_long::from(unsafe { libc::dup2(fd.as_raw_fd(), number) })).map(drop)
}

/// Gives every signal its default action and an empty mask.
pub(crate) fn reset_signals() {
    /// At least as large as the kernel's `struct sigaction`, of which all zeroes means SIG_DFL
    /// without flags.
    static DEFAULT: [u64; 8] = [0; 8];
    const SET_SIZE: usize = 8;
    for signal in 1..=64 {
        // SAFETY: the kernel only reads the action, which installs no code of ours. SIGKILL and
        // SIGSTOP are refused, which is no matter.
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

/// Leaves at once, running no destructor and no exit handler.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Installs a system call filter on this thread and what it becomes; the descriptor on which the
/// filter's questions are answered. Needs `no_new_privs`.
pub(crate) fn install_filter(program: &mut [libc::sock_filter]) -> io::Result<OwnedFd> {
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel reads `len` instructions from the slice, which outlives the call, and
    // verifies them.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// A system call that waits for its answer.
pub(crate) struct Question {
    id: u64,
    /// Who asks.
    pub(crate) pid: u32,
    /// Which call.
    pub(crate) number: i32,
    /// Its arguments.
    pub(crate) args: [u64; 6],
}

/// Takes the next question; [`io::ErrorKind::NotFound`] if the asker has died meanwhile.
pub(crate) fn next_question(listener: BorrowedFd<'_>) -> io::Result<Question> {
    // SAFETY: plain integers, for which all zeroes is a valid value; the kernel wants zeroes.
    let mut notif: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: this request writes one `seccomp_notif`, which `notif` is.
    check(c_long::from(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV as _,
            &raw mut notif,
        )
    }))?;
    Ok(Question {
        id: notif.id,
        pid: notif.pid,
        number: notif.data.nr,
        args: notif.data.args,
    })
}

/// Lets the call go on as if nobody had asked.
pub(crate) fn answer_continue(listener: BorrowedFd<'_>, question: &Question) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp {
        id: question.id,
        val: 0,
        error: 0,
        flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    };
    // SAFETY: this request reads one `seccomp_notif_resp`, which `answer` is.
    check(c_long::from(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND as _,
            &raw mut answer,
        )
    }))
    .map(drop)
}

/// Gives the asker a copy of `fd` at `number`, which is what its call returns.
pub(crate) fn answer_with(
    listener: BorrowedFd<'_>,
    question: &Question,
    fd: BorrowedFd<'_>,
    number: RawFd,
) -> io::Result<()> {
    let added = libc::seccomp_notif_addfd {
        id: question.id,
        flags: (libc::SECCOMP_ADDFD_FLAG_SETFD | libc::SECCOMP_ADDFD_FLAG_SEND) as u32,
        srcfd: fd.as_raw_fd() as u32,
        newfd: number as u32,
        newfd_flags: libc::O_CLOEXEC as u32,
    };
    // SAFETY: this request reads one `seccomp_notif_addfd`, which `added` is.
    check(c_long::from(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ADDFD as _,
            &raw const added,
        )
    }))
    .map(drop)
}

/// Watches a descriptor by the async runtime.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` that nothing else owns stays open, and the same, until it is dropped, and
    // the returned value gives no mutable access by which it could be exchanged here.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// Makes a tap in this thread's network namespace, as machines want them.
#[cfg(feature = "conformance")]
pub(crate) fn make_tap(name: &str) -> io::Result<OwnedFd> {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: `ifreq` is a plain struct of integers, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags =
        (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: this request reads and writes the one `ifreq` that it is given.
    check(c_long::from(unsafe {
        libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request)
    }))?;
    Ok(file.into())
}
