//! Interfaces: bridges, veth pairs, their state (`RTM_*LINK`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::wire::{Message, Reply, read_u32};
use super::{NLM_F_CREATE, NLM_F_EXCL, Netlink};
use crate::mac::MacAddr;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;

const AF_UNSPEC: u8 = 0;
const AF_BRIDGE: u8 = 7;
const IFF_UP: u32 = 1;

/// `struct ifinfomsg`.
const IFINFOMSG: usize = 16;

/// An interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// `bridge`, `veth` …; empty for a physical one.
    pub(crate) kind: String,
    pub(crate) master: Option<u32>,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
}

/// A veth pair to be made.
pub(crate) struct VethPair<'a> {
    /// Name of the end in our namespace.
    pub(crate) host: &'a str,
    /// Index of the bridge which that end becomes a port of.
    pub(crate) bridge: u32,
    /// Name of the end in the other namespace.
    pub(crate) peer: &'a str,
    pub(crate) peer_mac: MacAddr,
    pub(crate) peer_netns: BorrowedFd<'a>,
    pub(crate) mtu: u32,
}

fn ifinfomsg(family: u8, index: u32, flags: u32, change: u32) -> [u8; IFINFOMSG] {
    let mut bytes = [0; IFINFOMSG];
    bytes[0] = family;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn read_link(reply: &Reply<'_>) -> Option<Link> {
    let fixed = reply.fixed(IFINFOMSG)?;
    let attributes = reply.attributes(IFINFOMSG);
    Some(Link {
        index: read_u32(fixed, 4)?,
        name: attributes.text(IFLA_IFNAME)?,
        kind: attributes
            .nested(IFLA_LINKINFO)
            .and_then(|info| info.text(IFLA_INFO_KIND))
            .unwrap_or_default(),
        master: attributes.number(IFLA_MASTER),
        mtu: attributes.number(IFLA_MTU).unwrap_or_default(),
        up: read_u32(fixed, 8)? & IFF_UP != 0,
    })
}

impl Netlink {
    /// The interface of this name.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let message =
            Message::new(RTM_GETLINK, 0, &ifinfomsg(AF_UNSPEC, 0, 0, 0)).text(IFLA_IFNAME, name);
        self.get(message, read_link)
    }

    /// All interfaces.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        self.dump(
            || Message::new(RTM_GETLINK, 0, &ifinfomsg(AF_UNSPEC, 0, 0, 0)),
            read_link,
        )
    }

    /// Makes a bridge, down. Its MAC is fixed: else it would be that of its lowest port, and
    /// change under the containers' ARP caches as ports come and go.
    pub(crate) fn add_bridge(&mut self, name: &str, mac: MacAddr, mtu: u32) -> io::Result<()> {
        let message = Message::new(
            RTM_NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL,
            &ifinfomsg(AF_UNSPEC, 0, 0, 0),
        )
        .text(IFLA_IFNAME, name)
        .attribute(IFLA_ADDRESS, &mac.0)
        .number(IFLA_MTU, mtu)
        .nest(IFLA_LINKINFO, &[], |m| m.text(IFLA_INFO_KIND, "bridge"));
        self.change(message)
    }

    /// Makes a veth pair: our end up and on the bridge, the other one in its namespace with its
    /// final name and address, still down (the kernel can't raise it before the pair is joined).
    pub(crate) fn add_veth(&mut self, pair: &VethPair<'_>) -> io::Result<()> {
        let netns = pair.peer_netns.as_raw_fd().to_ne_bytes();
        let message = Message::new(
            RTM_NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL,
            &ifinfomsg(AF_UNSPEC, 0, IFF_UP, IFF_UP),
        )
        .text(IFLA_IFNAME, pair.host)
        .number(IFLA_MTU, pair.mtu)
        .number(IFLA_MASTER, pair.bridge)
        .nest(IFLA_LINKINFO, &[], |m| {
            m.text(IFLA_INFO_KIND, "veth")
                .nest(IFLA_INFO_DATA, &[], |m| {
                    m.nest(VETH_INFO_PEER, &ifinfomsg(AF_UNSPEC, 0, 0, 0), |m| {
                        m.text(IFLA_IFNAME, pair.peer)
                            .number(IFLA_MTU, pair.mtu)
                            .attribute(IFLA_ADDRESS, &pair.peer_mac.0)
                            .attribute(IFLA_NET_NS_FD, &netns)
                    })
                })
        });
        self.change(message)
    }

    /// Removes an interface; one that isn't there is no error.
    pub(crate) fn delete_link(&mut self, name: &str) -> io::Result<()> {
        let message =
            Message::new(RTM_DELLINK, 0, &ifinfomsg(AF_UNSPEC, 0, 0, 0)).text(IFLA_IFNAME, name);
        match self.change(message) {
            Err(e) if super::is_absent(&e) => Ok(()),
            result => result,
        }
    }
}

/// Raises an interface.
pub(crate) fn set_up(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, index, IFF_UP, IFF_UP))
}

/// Makes an interface a port of a bridge.
pub(crate) fn set_master(index: u32, bridge: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, index, 0, 0)).number(IFLA_MASTER, bridge)
}

/// Sets the largest packet of an interface.
pub(crate) fn set_mtu(index: u32, mtu: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, index, 0, 0)).number(IFLA_MTU, mtu)
}

/// Sets how a bridge port treats frames: `hairpin` lets one go out where it came in, `isolated`
/// keeps it from all other isolated ports.
pub(crate) fn set_port(index: u32, hairpin: bool, isolated: bool) -> Message {
    Message::new(RTM_SETLINK, 0, &ifinfomsg(AF_BRIDGE, index, 0, 0)).nest(IFLA_PROTINFO, &[], |m| {
        m.attribute(IFLA_BRPORT_MODE, &[u8::from(hairpin)])
            .attribute(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)])
    })
}
