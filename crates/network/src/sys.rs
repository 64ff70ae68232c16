//! The call that has no safe wrapper.
#![allow(unsafe_code)]

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Puts the calling thread, and no other, into a new network namespace.
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: unsafe only because of `FILES`, which would give this thread a file table of its
    // own; `NEWNET` leaves file descriptors as they are.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}
