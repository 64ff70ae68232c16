//! Interfaces: found and set (`RTM_*LINK`).

use std::io;

use super::Netlink;
use super::wire::{Message, Reply, read_u32};
use crate::mac::MacAddr;

pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
pub(super) const IFLA_INFO_KIND: u16 = 1;

pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const IFF_UP: u32 = 1;

/// `struct ifinfomsg`.
pub(super) const IFINFOMSG: usize = 16;

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
    /// Its Ethernet address, if it has one.
    pub(crate) mac: Option<MacAddr>,
}

/// The first counters of `struct rtnl_link_stats64`, in its order.
pub(crate) type Counters = [u64; 8];

pub(super) fn ifinfomsg(family: u8, index: u32, flags: u32, change: u32) -> [u8; IFINFOMSG] {
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
        mac: attributes
            .value(IFLA_ADDRESS)
            .and_then(|bytes| bytes.try_into().ok())
            .map(MacAddr),
    })
}

fn read_counters(reply: &Reply<'_>) -> Option<Counters> {
    let value = reply.attributes(IFINFOMSG).value(IFLA_STATS64)?;
    let mut counters = Counters::default();
    for (counter, bytes) in counters.iter_mut().zip(value.chunks_exact(8)) {
        *counter = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(counters)
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
            || {
                Message::new(RTM_GETLINK, 0, &ifinfomsg(AF_UNSPEC, 0, 0, 0))
                    .number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
            },
            read_link,
        )
    }

    /// All interfaces with what went through them.
    pub(crate) fn counters(&mut self) -> io::Result<Vec<(Link, Counters)>> {
        self.dump(
            || Message::new(RTM_GETLINK, 0, &ifinfomsg(AF_UNSPEC, 0, 0, 0)),
            |reply| Some((read_link(reply)?, read_counters(reply).unwrap_or_default())),
        )
    }
}

/// Raises an interface.
pub(crate) fn set_up(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, index, IFF_UP, IFF_UP))
}

/// Lowers an interface.
pub(crate) fn set_down(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, index, 0, IFF_UP))
}

/// Renames an interface.
pub(crate) fn set_name(index: u32, name: &str) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, index, 0, 0)).text(IFLA_IFNAME, name)
}

/// Sets the largest packet of an interface.
pub(crate) fn set_mtu(index: u32, mtu: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, index, 0, 0)).number(IFLA_MTU, mtu)
}
