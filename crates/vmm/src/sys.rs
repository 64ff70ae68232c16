//! The system calls that neither rustix nor `helper` has a safe function for. Beside it only
//! [`crate::trace`] has `unsafe` in it.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::c_long;

pub(crate) use coracle_helper::{
    NEWIPC, NEWNET, NEWNS, NEWPID, NEWUSER, NEWUTS, clone_sibling, close_all_from, execve, exit,
    reset_signals, unshare,
};

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Puts a copy of a descriptor at a number, to be inherited by the program that this process is
/// about to become. What was there is closed: nothing here may own it.
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: the caller vouches that no owner of `number` exists in this process.
    check(c_long::from(unsafe { libc::dup2(fd.as_raw_fd(), number) })).map(drop)
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
