//! A small synchronous client of the kernel's network configuration (rtnetlink(7)).
//!
//! Synchronous on purpose: the kernel does the work of a request within `sendmsg`, under its one
//! lock for all of them, and has the answer queued when the call returns. So there is nothing to
//! await, only a thread to keep busy: callers run this on the blocking pool, or in a thread that
//! has entered another namespace. Replies are read attribute by attribute and unknown ones skipped,
//! so that a newer kernel's longer messages can't break it.

pub(crate) mod address;
pub(crate) mod conntrack;
pub(crate) mod link;
pub(crate) mod wire;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

use wire::{Message, Reply};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Refuses when the object is there.
pub(crate) const NLM_F_EXCL: u16 = 0x200;
/// Changes the object when it is there.
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
/// Makes the object when it isn't there.
pub(crate) const NLM_F_CREATE: u16 = 0x400;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// More than any answer: the kernel fills dump buffers up to 32 KiB.
const BUFFER: usize = 64 * 1024;
/// A dump that changes under the reader is begun again, this often.
const DUMP_ATTEMPTS: usize = 8;

/// A socket of the namespace in which it was opened.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens one for interfaces, addresses and routes in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        // No protocol is protocol 0: NETLINK_ROUTE.
        Self::open_protocol(None)
    }

    fn open_protocol(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        // Answers are there at once; this only keeps a kernel that loses one from hanging us.
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(10)))?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// Makes one change.
    pub(crate) fn change(&mut self, message: Message) -> io::Result<()> {
        self.changes([message])
    }

    /// Makes changes in order with one system call; all are tried, the first error is returned.
    pub(crate) fn changes(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
    ) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        let mut request = Vec::new();
        let mut pending = 0;
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            request.extend(message.finish(NLM_F_REQUEST | NLM_F_ACK, self.sequence)?);
            pending += 1;
        }
        if pending == 0 {
            return Ok(());
        }
        self.send(&request)?;
        let (count, mut result) = (pending, Ok(()));
        while pending > 0 {
            let length = self.receive()?;
            for reply in wire::replies(&self.buffer[..length]) {
                let reply = reply?;
                if reply.kind != NLMSG_ERROR || reply.sequence.wrapping_sub(first) >= count {
                    continue;
                }
                pending -= 1;
                result = result.and(reply.error());
            }
        }
        result
    }

    /// Asks for one object; `None` if the kernel has none such.
    pub(crate) fn get<T>(
        &mut self,
        message: Message,
        read: impl Fn(&Reply<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = message.finish(NLM_F_REQUEST, self.sequence)?;
        self.send(&request)?;
        loop {
            let length = self.receive()?;
            for reply in wire::replies(&self.buffer[..length]) {
                let reply = reply?;
                if reply.sequence != self.sequence {
                    continue;
                }
                if reply.kind != NLMSG_ERROR {
                    return Ok(read(&reply));
                }
                return match reply.error() {
                    Err(e) if is_absent(&e) => Ok(None),
                    Err(e) => Err(e),
                    Ok(()) => Ok(None),
                };
            }
        }
    }

    /// Asks for all objects of a kind.
    pub(crate) fn dump<T>(
        &mut self,
        make: impl Fn() -> Message,
        read: impl Fn(&Reply<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(all) = self.try_dump(make(), &read)? {
                return Ok(all);
            }
        }
        Err(io::Error::other(
            "the kernel's tables keep changing while they are read",
        ))
    }

    fn try_dump<T>(
        &mut self,
        message: Message,
        read: impl Fn(&Reply<'_>) -> Option<T>,
    ) -> io::Result<Option<Vec<T>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = message.finish(NLM_F_REQUEST | NLM_F_DUMP, self.sequence)?;
        self.send(&request)?;
        let (mut all, mut interrupted) = (Vec::new(), false);
        loop {
            let length = self.receive()?;
            for reply in wire::replies(&self.buffer[..length]) {
                let reply = reply?;
                if reply.sequence != self.sequence {
                    continue;
                }
                interrupted |= reply.flags & NLM_F_DUMP_INTR != 0;
                match reply.kind {
                    NLMSG_DONE => return Ok((!interrupted).then_some(all)),
                    NLMSG_ERROR => reply.error()?,
                    _ => all.extend(read(&reply)),
                }
            }
        }
    }

    fn send(&self, request: &[u8]) -> io::Result<()> {
        let sent = rustix::net::send(&self.socket, request, SendFlags::empty())?;
        if sent != request.len() {
            return Err(io::Error::other(
                "the kernel took only a part of a netlink request",
            ));
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        loop {
            match rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC) {
                Ok((_, length)) if length > BUFFER => {
                    return Err(io::Error::other("a netlink answer is too long"));
                }
                Ok((length, _)) => return Ok(length),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the kernel didn't answer a netlink request",
                    ));
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Whether an error says that the object isn't there.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::NODEV, Errno::NOENT, Errno::SRCH, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|e| code == Some(e.raw_os_error()))
}
