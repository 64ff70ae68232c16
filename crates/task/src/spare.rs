//! Spare machines: shims that were started before there was a container for them.
//!
//! ```text
//!   daemon                                      shim
//!   Prepare, disks, tap ─────────────────────▶  starts a machine, and tries everything out
//!          ◀───────────────────────────── Ready
//!   Take, log, listening socket, … ──────────▶  reads the container's task
//!          ◀───────────────────────────── Taken
//!   Go ──────────────────────────────────────▶  is that container's shim
//! ```
//! Until `Go`, the end of the connection is the end of the spare; afterwards it is a shim like any
//! other, and has nothing left of it. So there are never two shims of one container: a daemon that does
//! not wait for `Taken` any more does not send `Go`.

use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::fd::BorrowedFd;
use rustix::fd::OwnedFd;
use rustix::net::AddressFamily;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::ReturnFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::sockopt;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::TaskConfig;

/// The longest message: a task with a long system call filter.
const MAX_MESSAGE: usize = 256 << 10;

/// The most descriptors on a message: fewer than the kernel's 253.
const MAX_FDS: usize = 240;

/// The most descriptors that a spare can be given beside its log and its listening socket.
pub const MAX_SOCKETS: usize = MAX_FDS - 2;

/// How long sending may take: the other side reads little and often.
const SENDING: Duration = Duration::from_secs(5);

/// What the daemon says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Get ready for containers on machines like this one's. The container itself is only tried out.
    /// With it come the disk of its image, read-only, its writable disk, and the tap of each interface.
    Prepare(Box<TaskConfig>),
    /// Be the shim of this bundle. With it come the shim's log, its listening socket, and what else
    /// [`spawn_shim`](crate::spawn_shim) passes on.
    Take {
        /// The bundle's directory.
        bundle: PathBuf,
    },
    /// It is so.
    Go,
}

/// What the shim says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The machine waits for a container.
    Ready,
    /// The task is understood.
    Taken,
    /// It won't do, and ends.
    Failed(String),
}

/// One end of the connection between a daemon and a spare shim.
#[derive(Debug)]
pub struct Link(UnixStream);

impl Link {
    /// Both ends: the daemon's, and the shim's, which is to be [`Self::inherited`].
    ///
    /// # Errors
    /// For want of descriptors.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::new(ours)?, theirs))
    }

    /// The shim's end, as it was passed on.
    ///
    /// # Errors
    /// If it is no such socket.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_type(&socket)? != SocketType::SEQPACKET {
            return Err(io::Error::other("it is no socket of a daemon"));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        Self::new(socket)
    }

    fn new(socket: OwnedFd) -> io::Result<Self> {
        // A message has to fit as a whole. Less may be allowed, and enough.
        let _ = sockopt::set_socket_send_buffer_size(&socket, 2 * MAX_MESSAGE);
        UnixStream::from_std(socket.into()).map(Self)
    }

    /// Sends a message with descriptors, all or nothing.
    ///
    /// # Errors
    /// If the other side is gone or does not listen.
    pub async fn send<T: Serialize>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MAX_MESSAGE || fds.len() > MAX_FDS {
            return Err(io::Error::other("the message is too long"));
        }
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::Error::other("there are too many descriptors"));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let parts = [IoSlice::new(&bytes)];
            Ok(rustix::net::sendmsg(
                self.0.as_fd(),
                &parts,
                &mut control,
                flags,
            )?)
        };
        let sent = self.0.async_io(Interest::WRITABLE, send);
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(SENDING, sent)
            .await
            .map_err(timed_out)?
            .map(drop)
    }

    /// Waits for a message; nothing when the other side is gone. Cancel safe.
    ///
    /// # Errors
    /// If it is no such message, or too long.
    pub async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let received = self.0.async_io(Interest::READABLE, || {
            // Not held while nothing comes.
            let mut buffer = vec![0; MAX_MESSAGE];
            let (length, fds) = self.take(&mut buffer)?;
            buffer.truncate(length);
            Ok((buffer, fds))
        });
        match received.await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
            Ok((message, _)) if message.is_empty() => Ok(None),
            Ok((message, fds)) => Ok(Some((serde_json::from_slice(&message)?, fds))),
        }
    }

    fn take(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let mut parts = [IoSliceMut::new(buffer)];
        let message = rustix::net::recvmsg(self.0.as_fd(), &mut parts, &mut control, flags)?;
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                fds.extend(rights);
            }
        }
        if (message.flags).intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC) {
            return Err(io::Error::other("a part of the message was lost"));
        }
        Ok((message.bytes, fds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_whole_and_with_their_descriptors() {
        let (daemon, shim) = Link::pair().unwrap();
        let shim = Link::inherited(shim).unwrap();
        let (one, other) = rustix::pipe::pipe().unwrap();
        let bundle = PathBuf::from("/b".repeat(50_000));
        let order = Order::Take { bundle };
        daemon
            .send(&order, &[one.as_fd(), other.as_fd()])
            .await
            .unwrap();
        daemon.send(&Order::Go, &[]).await.unwrap();
        let (order, fds) = shim.receive::<Order>().await.unwrap().unwrap();
        assert!(
            matches!(order, Order::Take { bundle } if bundle.as_os_str().len() == 100_000),
            "{fds:?}"
        );
        assert_eq!(fds.len(), 2);
        let next = shim.receive::<Order>().await.unwrap().unwrap();
        assert!(matches!(next, (Order::Go, fds) if fds.is_empty()));
        shim.send(&Answer::Failed("why".into()), &[]).await.unwrap();
        drop(shim);
        let said = daemon.receive::<Answer>().await.unwrap().unwrap();
        assert!(matches!(said.0, Answer::Failed(why) if why == "why"));
        assert!(daemon.receive::<Answer>().await.unwrap().is_none());
        assert!(daemon.send(&Order::Go, &[]).await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        let (daemon, shim) = Link::pair().unwrap();
        rustix::net::send(&shim, b"{\"Ready\":", SendFlags::empty()).unwrap();
        assert!(daemon.receive::<Answer>().await.is_err());
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        assert!(Link::inherited(pipe).is_err());
        let long = Answer::Failed("x".repeat(MAX_MESSAGE));
        assert!(daemon.send(&long, &[]).await.is_err());
    }
}
