//! `/dev/fuse` in the runtime's event loop.
#![allow(unsafe_code)]

use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::mount::Fuse;

/// What the relay waits for: a request, or the end, which is an error alone.
pub(crate) const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

/// Registers the device with the runtime that runs the caller.
pub(crate) fn register(fuse: Fuse) -> io::Result<AsyncFd<Fuse>> {
    // SAFETY: `Fuse` owns its descriptor, always names the same one, and gives nobody a way to
    // replace or close it while the `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fuse, INTEREST) }?)
}
