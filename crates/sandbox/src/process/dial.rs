//! Connections to a container's unix sockets.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

use coracle_task::ErrorKind;
use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use tokio::net::UnixStream;

use crate::Input;
use crate::Output;
use crate::Process as _;
use crate::Result;
use crate::SandboxError;

use super::child::Child;

/// Connects to a socket in the root of a container's first process.
pub(super) async fn dial(init: &Child, path: &str) -> Result<(Output, Input)> {
    if !path.starts_with('/') || path.contains('\0') {
        let message = format!("{path:?} is not an absolute path");
        return Err(SandboxError::new(ErrorKind::InvalidArgument, message));
    }
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        };
        SandboxError::new(kind, format!("cannot connect to {path}: {error}"))
    };
    let socket = in_root(init.pid(), path).map_err(|error| failed(error.into()))?;
    // Nobody else has its process id as long as it can be signalled.
    if !init.is_there() {
        return Err(SandboxError::state("the container is not running"));
    }
    let address = format!("/proc/self/fd/{}", socket.as_raw_fd());
    let stream = UnixStream::connect(address).await.map_err(failed)?;
    let (output, input) = stream.into_split();
    Ok((Box::new(output), Box::new(input)))
}

/// A path in the root of a process, which it can't lead out of.
fn in_root(pid: i32, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve)
}
