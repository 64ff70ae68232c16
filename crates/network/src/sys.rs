//! The calls that have no safe wrapper.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use rustix::thread::{UnshareFlags, unshare_unsafe};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Puts the calling thread, and no other, into a new network namespace.
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: unsafe only because of `FILES`, which would give this thread a file table of its
    // own; `NEWNET` leaves file descriptors as they are.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

/// Has the runtime tell when there is something to read.
pub(crate) fn readable(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, so it stays open and the same for as long as it is
    // registered: an `OwnedFd` neither closes nor replaces its descriptor before it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}
