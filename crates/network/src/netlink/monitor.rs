//! What the kernel tells of changes, whoever makes them (netlink(7), "multicast groups").

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::link::{IFF_UP, IFINFOMSG, IFLA_IFNAME, RTM_NEWLINK};
use super::make::RTM_DELLINK;
use super::tables::{IFADDRMSG, read_address};
use super::wire::{self, Reply, read_u32};
use super::{BUFFER, GROUP_LINK};

// Groups, as bits.
const IPV4_ADDRESS: u32 = 1 << 4;
const IPV6_ADDRESS: u32 = 1 << 8;
const NFTABLES: u32 = 1 << 6;

const RTM_DELADDR: u16 = 21;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// `NFT_MSG_DELTABLE`, `…CHAIN`, `…RULE`, `…SET`, `…SETELEM`.
const NFT_DELETIONS: [u16; 5] = [2, 5, 8, 11, 14];
const NFPROTO_INET: u8 = 1;
/// `struct nfgenmsg`.
const NFGENMSG: usize = 4;
/// The table's name, in the messages of all these kinds.
const NFTA_TABLE: u16 = 1;

/// Room for what comes while nobody reads: tens of thousands of published ports at once.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A socket that the kernel tells changes of its namespace to.
pub(crate) struct Monitor {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

/// A loss among interfaces.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// The interface of this name was removed, or left its bridge, or was lowered.
    Link(String),
    /// An interface lost this address.
    Address(IpAddr),
}

impl Monitor {
    /// Opens one for interfaces and their addresses. Must be called within a tokio runtime.
    pub(crate) fn links() -> io::Result<Self> {
        Self::open(None, GROUP_LINK | IPV4_ADDRESS | IPV6_ADDRESS)
    }

    /// Opens one for the firewall. Must be called within a tokio runtime.
    pub(crate) fn firewall() -> io::Result<Self> {
        Self::open(Some(NETFILTER), NFTABLES)
    }

    fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            protocol,
        )?;
        // A short one only makes losses likelier, and those are told.
        let _ = set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self {
            socket: coracle_descriptor::watch(socket, Interest::READABLE)?,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Waits for changes, and has each read.
    ///
    /// # Errors
    /// `ENOBUFS` if some were lost, and others that don't end by themselves.
    pub(crate) async fn next(&mut self, mut read: impl FnMut(&Reply<'_>)) -> io::Result<()> {
        let mut ready = self.socket.readable().await?;
        let buffer = &mut self.buffer;
        buffer.clear();
        let received = ready.try_io(|socket| {
            let buffer = spare_capacity(buffer);
            Ok(rustix::net::recv(
                socket.get_ref(),
                buffer,
                RecvFlags::empty(),
            )?)
        });
        match received {
            // Nothing came, after all.
            Err(_) => return Ok(()),
            Ok(result) => drop(result?),
        }
        for reply in wire::replies(buffer) {
            read(&reply?);
        }
        Ok(())
    }
}

/// The loss that a message of [`Monitor::links`] tells of.
pub(crate) fn loss(reply: &Reply<'_>) -> Option<Loss> {
    match reply.kind {
        RTM_NEWLINK if read_u32(reply.fixed(IFINFOMSG)?, 8)? & IFF_UP != 0 => None,
        RTM_NEWLINK | RTM_DELLINK => {
            let attributes = reply.attributes(IFINFOMSG);
            attributes.text(IFLA_IFNAME).map(Loss::Link)
        }
        RTM_DELADDR => read_address(reply.attributes(IFADDRMSG)).map(Loss::Address),
        _ => None,
    }
}

/// Whether a message of [`Monitor::firewall`] tells that something of a table was deleted, and by
/// which process (by its first netlink socket, which has the number of its process).
pub(crate) fn deletion(reply: &Reply<'_>, table: &str) -> Option<u32> {
    let [subsystem, kind] = [reply.kind >> 8, reply.kind & 0xff];
    let ours = subsystem == NFNL_SUBSYS_NFTABLES
        && NFT_DELETIONS.contains(&kind)
        && reply.fixed(NFGENMSG)?.first() == Some(&NFPROTO_INET)
        && reply.attributes(NFGENMSG).text(NFTA_TABLE)? == table;
    ours.then_some(reply.port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::link::{ifinfomsg, set_down, set_up};
    use crate::netlink::wire::Message;

    fn read<T>(message: Message, read: impl Fn(&Reply<'_>) -> Option<T>) -> Option<T> {
        let bytes = message.finish(0, 1).unwrap();
        let mut replies = wire::replies(&bytes);
        read(&replies.next().unwrap().unwrap())
    }

    #[test]
    fn losses_are_told_from_gains() {
        let named = |m: Message| m.text(IFLA_IFNAME, "br0");
        let link = Some(Loss::Link("br0".into()));
        assert_eq!(read(named(set_down(2)), loss), link);
        assert_eq!(read(named(set_up(2)), loss), None);
        // Also of a port that leaves a bridge.
        let left = Message::new(RTM_DELLINK, 0, &ifinfomsg(7, 2, 1, 0));
        assert_eq!(read(named(left), loss), link);
        let ip = "10.0.0.1".parse().unwrap();
        let gone = crate::netlink::address::delete_address(2, ip, 24);
        assert_eq!(read(gone, loss), Some(Loss::Address(ip)));
    }

    #[test]
    fn only_deletions_of_our_table_count() {
        let message = |kind: u16, family: u8, table: &str| {
            let fixed = [family, 0, 0, 0];
            Message::new(NFNL_SUBSYS_NFTABLES << 8 | kind, 0, &fixed).text(NFTA_TABLE, table)
        };
        let counts = |message| read(message, |reply| deletion(reply, "ours")).is_some();
        assert!(counts(message(2, 1, "ours")) && counts(message(14, 1, "ours")));
        assert!(!counts(message(0, 1, "ours")) && !counts(message(2, 2, "ours")));
        assert!(!counts(message(2, 1, "others")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_skipped(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for reply in wire::replies(&bytes).map_while(Result::ok) {
                let _ = (loss(&reply), deletion(&reply, "ours"));
            }
        }
    }
}
