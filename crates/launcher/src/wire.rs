//! Frames between caller and helper: a length (four bytes, little-endian), then JSON; descriptors
//! ride on a frame's first byte.
//!
//! A frame of the helper's is one write: for a moment two of its stages share the socket.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest frame: far above what a container's specification comes to.
const MAX_FRAME: usize = 32 << 20;
/// The most descriptors on a frame: three streams and a pidfd.
const MAX_FDS: usize = 4;

/// Why no frame came or went.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The other side is gone.
    #[error("the other side has hung up")]
    Closed,
    #[error("{0}")]
    System(#[from] Errno),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    #[error("a frame is not text")]
    NotText,
    #[error("descriptors were lost on their way")]
    Truncated,
}

/// Sends one frame.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    value: &T,
    fds: &[BorrowedFd<'_>],
) -> Result<(), WireError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, value)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(WireError::TooLong(length));
    }
    if let Some(head) = frame.first_chunk_mut::<4>() {
        *head = (length as u32).to_le_bytes();
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(WireError::Truncated);
    }
    let mut rest = frame.as_slice();
    while !rest.is_empty() {
        let sent = rustix::net::sendmsg(
            socket,
            &[IoSlice::new(rest)],
            &mut control,
            SendFlags::NOSIGNAL,
        );
        match sent {
            Ok(count) => {
                rest = rest.get(count..).unwrap_or_default();
                control.clear();
            }
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(WireError::Closed),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Receives one frame and the descriptors on it.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> Result<(T, Vec<OwnedFd>), WireError> {
    let mut head = [0; 4];
    let mut fds = Vec::new();
    fill(socket, &mut head, &mut fds)?;
    let length = u32::from_le_bytes(head) as usize;
    if length > MAX_FRAME {
        return Err(WireError::TooLong(length));
    }
    let mut body = vec![0; length];
    fill(socket, &mut body, &mut fds)?;
    // As text, which is how specifications are read elsewhere: so it is by the same code, which an
    // emulator then translates once.
    let text = str::from_utf8(&body).map_err(|_| WireError::NotText)?;
    Ok((serde_json::from_str(text)?, fds))
}

fn fill(
    socket: BorrowedFd<'_>,
    mut buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<(), WireError> {
    while !buffer.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            socket.as_fd(),
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        let message = match received {
            Ok(message) => message,
            Err(Errno::INTR) => continue,
            Err(Errno::CONNRESET) => return Err(WireError::Closed),
            Err(errno) => return Err(errno.into()),
        };
        if message.bytes == 0 {
            return Err(WireError::Closed);
        }
        for control in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = control {
                fds.extend(rights);
            }
        }
        if message.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
            return Err(WireError::Truncated);
        }
        buffer = buffer.get_mut(message.bytes..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn frames_and_descriptors_arrive() {
        let (a, b) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let large = "x".repeat(1 << 20);
        let sender = std::thread::spawn(move || {
            send(a.as_fd(), &large, &[a.as_fd(), a.as_fd()]).unwrap();
            send(a.as_fd(), &"two", &[]).unwrap();
        });
        let (text, fds) = receive::<String>(b.as_fd()).unwrap();
        assert_eq!((text.len(), fds.len()), (1 << 20, 2));
        drop(fds);
        assert_eq!(receive::<String>(b.as_fd()).unwrap().0, "two");
        sender.join().unwrap();
        assert!(matches!(
            receive::<String>(b.as_fd()),
            Err(WireError::Closed)
        ));
    }
}
