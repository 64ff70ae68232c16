//! Descriptors in the event loop.
//!
//! **Owns** how a descriptor of any kind is watched, and how one that doesn't block is read and written
//! as a stream. **Must not know** what a descriptor is of.
//!
//! **Invariants**
//! - What is watched is owned by what watches it: it stays open, and the same, until both are dropped.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};

/// Puts a descriptor into the event loop that runs the caller.
///
/// # Errors
/// Those of epoll_ctl(2): it is of a kind that can't be waited for.
///
/// # Panics
/// Outside of an event loop.
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays the same open descriptor until it is dropped, and it is dropped with
    // the `AsyncFd`, which lends it out unchangeably only.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest)? })
}

/// Reads what there is, or has the task woken when there is something. Nothing read is the end.
///
/// # Errors
/// Those of read(2).
pub fn poll_read(
    fd: &AsyncFd<OwnedFd>,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let mut guard = ready!(fd.poll_read_ready(cx))?;
        // SAFETY: nothing that is initialised is made uninitialised: the kernel only writes to it.
        let space = unsafe { buf.unfilled_mut() };
        match rustix::io::read(fd.get_ref(), space) {
            Ok((read, _)) => {
                let length = read.len();
                // SAFETY: the kernel wrote so many bytes.
                unsafe { buf.assume_init(length) };
                buf.advance(length);
                return Poll::Ready(Ok(()));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => guard.clear_ready(),
            Err(errno) => return Poll::Ready(Err(errno.into())),
        }
    }
}

/// Writes what there is room for, or has the task woken when there is room.
///
/// # Errors
/// Those of write(2).
pub fn poll_write(
    fd: &AsyncFd<OwnedFd>,
    cx: &mut Context<'_>,
    buf: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        let mut guard = ready!(fd.poll_write_ready(cx))?;
        match rustix::io::write(fd.get_ref(), buf) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => guard.clear_ready(),
            result => return Poll::Ready(result.map_err(Into::into)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    #[tokio::test]
    async fn a_pipe_is_a_stream() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let read = watch(read, Interest::READABLE).unwrap();
        let write = watch(write, Interest::WRITABLE).unwrap();
        let reader = async {
            let mut all = Vec::new();
            loop {
                let mut space = [0; 1000];
                let mut buf = ReadBuf::new(&mut space);
                poll_fn(|cx| poll_read(&read, cx, &mut buf)).await.unwrap();
                if buf.filled().is_empty() {
                    return all;
                }
                all.extend_from_slice(buf.filled());
            }
        };
        // More than a pipe holds.
        let sent: Vec<u8> = (0..1 << 20).map(|n| (n % 251) as u8).collect();
        let mut rest = sent.as_slice();
        let writer = async move {
            while !rest.is_empty() {
                let written = poll_fn(|cx| poll_write(&write, cx, rest)).await.unwrap();
                rest = &rest[written..];
            }
        };
        let (all, ()) = tokio::join!(reader, writer);
        assert!(all == sent, "{} bytes", all.len());
    }
}
