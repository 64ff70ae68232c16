//! What the shim makes of itself before it serves: its descriptors, and its place among the
//! host's processes.

#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use coracle_task::LISTEN_FD;
use coracle_task::TASK_FILE;
use coracle_task::TaskConfig;
use rustix::io::FdFlags;

/// The largest `task.json` that is read.
const MAX_CONFIG: u64 = 16 << 20;

/// The most published ports.
const MAX_PORTS: usize = 65_536;

/// The least likely of all to be killed for want of memory, but for those that never are.
const OOM_SCORE_ADJ: i32 = -999;

/// Reads the container's configuration.
pub(crate) fn read_config(bundle: &Path) -> io::Result<TaskConfig> {
    let path = bundle.join(TASK_FILE);
    let read = || {
        let mut text = Vec::new();
        fs::File::open(&path)?
            .take(MAX_CONFIG + 1)
            .read_to_end(&mut text)?;
        if text.len() as u64 > MAX_CONFIG {
            return Err(io::Error::other(format!("it is over {MAX_CONFIG} bytes")));
        }
        Ok(serde_json::from_slice(&text)?)
    };
    read().map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// How many sockets of published ports there are.
pub(crate) fn port_count(config: &TaskConfig) -> io::Result<usize> {
    let ports = config.ports.iter().map(|port| port.fd_index);
    let published = config.published.iter().map(|socket| socket.fd_index);
    let served = ports
        .chain(published)
        .map(|index| index.saturating_add(1))
        .max();
    match served.unwrap_or(0).max(config.sockets) {
        count @ 0..=MAX_PORTS => Ok(count),
        _ => Err(io::Error::other("a port's fd_index is out of range")),
    }
}

/// Takes the connection that a spare shim was started with, and closes all others but the standard
/// streams; as [`inherit`].
pub(crate) fn inherit_link() -> io::Result<OwnedFd> {
    close_from(LISTEN_FD + 1)?;
    take(LISTEN_FD)
}

/// The descriptors that the shim was started with.
pub(crate) struct Inherited {
    pub(crate) listener: UnixListener,
    pub(crate) ports: Vec<OwnedFd>,
    /// The file system of the container's secrets.
    pub(crate) handed: Option<OwnedFd>,
}

/// Takes the listening socket, those of `ports` published ports and, if it is `handed` over, a file
/// system, and closes all others but the standard streams.
///
/// To be called once, while nothing else is open.
pub(crate) fn inherit(ports: usize, handed: bool) -> io::Result<Inherited> {
    let first = LISTEN_FD + 1;
    let end = RawFd::try_from(ports + usize::from(handed))
        .ok()
        .and_then(|count| first.checked_add(count));
    let end = end.ok_or(io::ErrorKind::InvalidInput)?;
    close_from(end)?;
    let socket = take(LISTEN_FD)?;
    let more = (first..end).map(take).collect::<io::Result<_>>()?;
    Inherited::new(socket, more, handed)
}

impl Inherited {
    /// With the socket that listens, and those of ports, which `handed` says one more follows.
    pub(crate) fn new(socket: OwnedFd, mut ports: Vec<OwnedFd>, handed: bool) -> io::Result<Self> {
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::other("the socket does not listen"));
        }
        let listener = UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        let handed = if handed { ports.pop() } else { None };
        Ok(Self {
            listener,
            ports,
            handed,
        })
    }
}

/// Closes this descriptor and all above, which nothing in this process may own.
fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: none of them is owned by anything in this process: it has only those that it was
    // started with, and the standard library holds none but the standard streams.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    match closed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes ownership of an inherited descriptor, which programs started from here don't get.
fn take(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only asked whether it is open, while nobody closes anything.
    rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) })
        .map_err(|error| io::Error::other(format!("descriptor {fd} was not passed on: {error}")))?;
    // SAFETY: it is open, and `inherit` is the only one to take it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Makes this process independent of the one that started it. What only matters to others may
/// fail: a session of its own it may have already, and a user who isn't root can't lower
/// `oom_score_adj`.
///
/// Returns the `oom_score_adj` that it had.
pub(crate) fn detach() -> io::Result<Option<i32>> {
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let path = "/proc/self/oom_score_adj";
    let inherited = fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let _ = fs::write(path, OOM_SCORE_ADJ.to_string());
    Ok(inherited)
}

/// Has a container that says nothing else get the `oom_score_adj` that the shim had at first.
pub(crate) fn pass_on(config: &mut TaskConfig, inherited: Option<i32>) {
    if let Some(process) = config.spec.process_mut()
        && process.oom_score_adj().is_none()
    {
        process.set_oom_score_adj(inherited);
    }
}
