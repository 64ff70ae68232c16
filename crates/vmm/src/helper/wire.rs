//! Frames between the starter and its helper: a length (four bytes, little-endian), then JSON;
//! descriptors ride on a frame's first byte.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest frame: far above any VMM's command line.
const MAX_FRAME: usize = 1 << 20;
/// The most descriptors on a frame.
pub(crate) const MAX_FDS: usize = 64;

/// Sends one frame.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    value: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, value)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME || fds.len() > MAX_FDS {
        return Err(io::Error::other("the frame is too long"));
    }
    if let Some(head) = frame.first_chunk_mut::<4>() {
        *head = (length as u32).to_le_bytes();
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let mut rest = frame.as_slice();
    while !rest.is_empty() {
        match rustix::net::sendmsg(
            socket,
            &[IoSlice::new(rest)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Ok(count) => {
                rest = rest.get(count..).unwrap_or_default();
                control.clear();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Receives one frame and the descriptors on it; [`io::ErrorKind::UnexpectedEof`] if the other side
/// has hung up.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut head = [0; 4];
    let mut fds = Vec::new();
    fill(socket, &mut head, &mut fds)?;
    let length = u32::from_le_bytes(head) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::other("the frame is too long"));
    }
    let mut body = vec![0; length];
    fill(socket, &mut body, &mut fds)?;
    Ok((serde_json::from_slice(&body)?, fds))
}

fn fill(socket: BorrowedFd<'_>, mut buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<()> {
    while !buffer.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = match rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(message) => message,
            Err(Errno::INTR) => continue,
            Err(Errno::CONNRESET) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(errno) => return Err(errno.into()),
        };
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for control in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = control {
                fds.extend(rights);
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("descriptors were lost on their way"));
        }
        buffer = buffer.get_mut(message.bytes..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::os::fd::AsFd;

    #[test]
    fn frames_and_descriptors_arrive_and_long_ones_do_not() {
        let (a, b) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        send(a.as_fd(), &"text", &[a.as_fd(), b.as_fd()]).unwrap();
        let (text, fds) = receive::<String>(b.as_fd()).unwrap();
        assert_eq!((text.as_str(), fds.len()), ("text", 2));
        rustix::io::write(&a, &u32::MAX.to_le_bytes()).unwrap();
        assert!(receive::<String>(b.as_fd()).is_err());
        assert!(send(a.as_fd(), &"x".repeat(MAX_FRAME), &[]).is_err());
        drop(fds);
        drop(a);
        let error = receive::<String>(b.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
