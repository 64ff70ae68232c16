//! A small synchronous client of the kernel's network configuration (rtnetlink(7)).
//!
//! Synchronous on purpose: the kernel does the work of a request within `sendmsg`, under its one
//! lock for all of them, and has the answer queued when the call returns. So there is nothing to
//! await, only a thread to keep busy: callers run this on the blocking pool, or in a thread that
//! has entered another namespace. Replies are read attribute by attribute and unknown ones skipped,
//! so that a newer kernel's longer messages can't break it.

pub(crate) mod address;
#[cfg(feature = "manage")]
pub(crate) mod conntrack;
pub(crate) mod link;
#[cfg(feature = "manage")]
pub(crate) mod make;
#[cfg(feature = "manage")]
pub(crate) mod monitor;
pub(crate) mod route;
#[cfg(feature = "manage")]
pub(crate) mod tables;
pub(crate) mod wire;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
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

/// `RTNLGRP_LINK`, as a bit.
const GROUP_LINK: u32 = 1;

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

    /// Opens one that is told of changes of interfaces: see [`Netlink::await_change`].
    pub(crate) fn open_links() -> io::Result<Self> {
        let netlink = Self::open()?;
        rustix::net::bind(&netlink.socket, &SocketAddrNetlink::new(0, GROUP_LINK))?;
        Ok(netlink)
    }

    /// Waits until an interface changes, at most this long; whether one has.
    pub(crate) fn await_change(&mut self, patience: Duration) -> io::Result<bool> {
        if patience.is_zero() {
            // As a time limit, it would be none.
            return Ok(false);
        }
        set_socket_timeout(&self.socket, Timeout::Recv, Some(patience))?;
        match self.receive() {
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Ok(false),
            // So many that some were lost.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                Ok(true)
            }
            result => result.map(|()| true),
        }
    }

    fn open_protocol(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        // Answers are there at once; this only keeps a kernel that loses one from hanging us.
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(10)))?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Makes one change.
    pub(crate) fn change(&mut self, message: Message) -> io::Result<()> {
        self.changes(vec![message])
    }

    /// Makes changes in order with one system call; all are tried, the first error is returned.
    pub(crate) fn changes(&mut self, messages: Vec<Message>) -> io::Result<()> {
        self.changes_unless(messages, |_| false)
    }

    /// As [`Netlink::changes`], but for removals: what isn't there is no error.
    pub(crate) fn removals(&mut self, messages: Vec<Message>) -> io::Result<()> {
        self.changes_unless(messages, is_absent)
    }

    /// Only the last change is acknowledged, the others only if they fail: the kernel answers in
    /// order, so one answer says it all when nothing fails.
    fn changes_unless(
        &mut self,
        messages: Vec<Message>,
        harmless: impl Fn(&io::Error) -> bool,
    ) -> io::Result<()> {
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let first = self.sequence.wrapping_add(1);
        let mut request = Vec::new();
        for (message, rest) in messages.into_iter().zip((0..count).rev()) {
            self.sequence = self.sequence.wrapping_add(1);
            let ack = if rest == 0 { NLM_F_ACK } else { 0 };
            request.extend(message.finish(NLM_F_REQUEST | ack, self.sequence)?);
        }
        if count == 0 {
            return Ok(());
        }
        self.send(&request)?;
        let mut result = Ok(());
        loop {
            self.receive()?;
            for reply in wire::replies(&self.buffer) {
                let reply = reply?;
                if reply.kind != NLMSG_ERROR || reply.sequence.wrapping_sub(first) >= count {
                    continue;
                }
                match reply.error() {
                    Err(e) if harmless(&e) => {}
                    answer => result = result.and(answer),
                }
                if reply.sequence == self.sequence {
                    return result;
                }
            }
        }
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
            self.receive()?;
            for reply in wire::replies(&self.buffer) {
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
            self.receive()?;
            for reply in wire::replies(&self.buffer) {
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

    /// Fills the buffer with the next answers.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            let buffer = spare_capacity(&mut self.buffer);
            match rustix::net::recv(&self.socket, buffer, RecvFlags::TRUNC) {
                Ok((read, length)) if length > read => {
                    return Err(io::Error::other("a netlink answer is too long"));
                }
                Ok(_) => return Ok(()),
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
