//! Messages between the shims of a pod: a line of JSON each, with descriptors beside it.

use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use coracle_task::ErrorKind;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::vm::volumes::Mounted;
use crate::vm::volumes::Volume;

/// Changes with any message.
pub(super) const VERSION: u32 = 4;

/// The longest message in bytes; a shorter one is sent at once or not at all.
const MAX_MESSAGE: usize = 64 << 10;

/// The most descriptors with a message.
const MAX_FDS: usize = 2;

/// Who joins: with the image's and the layer's disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Join {
    pub(super) version: u32,
    pub(super) container: String,
    /// The container's memory limit in bytes, if it has one.
    pub(super) memory: Option<u64>,
    /// The disks of servers that it wants.
    pub(super) volumes: Vec<Volume>,
    /// The processors that its limit needs.
    #[serde(default)]
    pub(super) cpus: Option<u32>,
    /// It is in already, and is about to have these limits: nothing else counts, and [`Applied`] follows.
    #[serde(default)]
    pub(super) grows: bool,
}

/// What a member says that has asked for room: an end without it says that the limits are the old ones.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Applied {
    /// Whether the guest has the limits now.
    pub(super) is_applied: bool,
}

/// What the owner answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// With the stream to the agent.
    Welcome(Welcome),
    /// The machine has the room.
    Grown,
    Refused {
        kind: ErrorKind,
        message: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    /// The container whose machine it is.
    pub(super) owner: String,
    /// The VMM's process.
    pub(super) pid: i32,
    /// The serials of the disks that were passed.
    pub(super) image: String,
    pub(super) layer: String,
    /// Where the disks of servers are.
    pub(super) volumes: Vec<Mounted>,
}

/// Sends a message.
pub(super) async fn send<T: Serialize>(
    stream: &UnixStream,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    if line.len() > MAX_MESSAGE {
        return Err(io::Error::other("the message is too long"));
    }
    loop {
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::Error::other("too many descriptors"));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let line = [IoSlice::new(&line)];
            Ok(rustix::net::sendmsg(
                stream.as_fd(),
                &line,
                &mut control,
                flags,
            )?)
        });
        match sent {
            Ok(sent) if sent == line.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives a message, and the descriptors that came with it.
pub(super) async fn receive<T: DeserializeOwned>(
    stream: &UnixStream,
) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut line = Vec::new();
    let mut fds = Vec::new();
    let mut piece = vec![0; 4 << 10];
    while line.last() != Some(&b'\n') {
        if line.len() >= MAX_MESSAGE {
            return Err(io::Error::other("the message is too long"));
        }
        stream.readable().await?;
        let received = stream.try_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::net::recvmsg(
                stream.as_fd(),
                &mut [IoSliceMut::new(&mut piece)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
            )?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(passed) = message {
                    fds.extend(passed);
                }
            }
            Ok(received.bytes)
        });
        match received {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => line.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if fds.len() > MAX_FDS {
            return Err(io::Error::other("too many descriptors"));
        }
    }
    Ok((serde_json::from_slice(&line)?, fds))
}

/// Waits until the other side has closed its end, or says what it has no business to say.
pub(super) async fn closed(stream: &UnixStream) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_with_their_descriptors() {
        let (one, other) = UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let message = Join {
            version: VERSION,
            container: "x".into(),
            memory: None,
            volumes: Vec::new(),
            cpus: None,
            grows: false,
        };
        let fds = [file.as_fd(), file.as_fd()];
        send(&one, &message, &fds).await.unwrap();
        let (join, fds) = receive::<Join>(&other).await.unwrap();
        assert_eq!((join.container.as_str(), fds.len()), ("x", 2));
        drop(one);
        closed(&other).await;
        let gone = receive::<Join>(&other).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        for bytes in [&b"{}\n"[..], b"\xff\n", &[b'x'; 2 * MAX_MESSAGE]] {
            let (one, other) = UnixStream::pair().unwrap();
            assert_eq!(one.try_write(bytes).unwrap(), bytes.len());
            assert!(receive::<Join>(&other).await.is_err());
        }
    }
}
