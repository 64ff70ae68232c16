//! Interfaces made and removed: bridges, their ports, veth pairs (`RTM_*LINK`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::link::{
    AF_UNSPEC, IFF_UP, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MASTER,
    IFLA_MTU, RTM_NEWLINK, ifinfomsg,
};
use super::wire::Message;
use super::{NLM_F_CREATE, NLM_F_EXCL, Netlink};
use crate::driver::{Flag, Mode};
use crate::mac::MacAddr;

pub(super) const RTM_DELLINK: u16 = 17;
const RTM_SETLINK: u16 = 19;

const IFLA_LINK: u16 = 5;
const IFLA_PROTINFO: u16 = 12;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const AF_BRIDGE: u8 = 7;

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

/// A part of an interface that is to be made.
pub(crate) struct Child<'a> {
    /// Index of the interface.
    pub(crate) parent: u32,
    /// Name of the part.
    pub(crate) name: &'a str,
    /// Its own Ethernet address, if it has one.
    pub(crate) mac: Option<MacAddr>,
    pub(crate) netns: BorrowedFd<'a>,
    pub(crate) mtu: u32,
    pub(crate) mode: Mode,
    /// Of an ipvlan only.
    pub(crate) flag: Flag,
}

impl Netlink {
    /// Makes a bridge, down. Its MAC is fixed: else it would be that of its lowest port, and
    /// change under the containers' ARP caches as ports come and go.
    pub(crate) fn add_bridge(&mut self, name: &str, mac: MacAddr, mtu: u32) -> io::Result<()> {
        let message = new_link(name)
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

    /// Makes an interface that leads nowhere, down.
    pub(crate) fn add_dummy(&mut self, name: &str, mtu: u32) -> io::Result<()> {
        let message = new_link(name)
            .number(IFLA_MTU, mtu)
            .nest(IFLA_LINKINFO, &[], |m| m.text(IFLA_INFO_KIND, "dummy"));
        self.change(message)
    }

    /// Makes an interface of what is tagged with a VLAN on another one, down.
    pub(crate) fn add_vlan(&mut self, name: &str, base: u32, id: u16) -> io::Result<()> {
        let message = new_link(name)
            .number(IFLA_LINK, base)
            .nest(IFLA_LINKINFO, &[], |m| {
                m.text(IFLA_INFO_KIND, "vlan")
                    .nest(IFLA_INFO_DATA, &[], |m| {
                        m.attribute(IFLA_VLAN_ID, &id.to_ne_bytes())
                    })
            });
        self.change(message)
    }

    /// Makes a part of an interface in another namespace, down.
    pub(crate) fn add_child(&mut self, child: &Child<'_>) -> io::Result<()> {
        // <linux/if_link.h>: MACVLAN_MODE_*, IPVLAN_MODE_*
        let (kind, mode) = match child.mode {
            Mode::Private => ("macvlan", 1),
            Mode::Vepa => ("macvlan", 2),
            Mode::Bridge => ("macvlan", 4),
            Mode::Passthru => ("macvlan", 8),
            Mode::L2 => ("ipvlan", 0),
            Mode::L3 => ("ipvlan", 1),
            Mode::L3s => ("ipvlan", 2),
        };
        let flag: u16 = match child.flag {
            Flag::Bridge => 0,
            Flag::Private => 1,
            Flag::Vepa => 2,
        };
        let mut message = new_link(child.name)
            .number(IFLA_LINK, child.parent)
            .number(IFLA_MTU, child.mtu)
            .attribute(IFLA_NET_NS_FD, &child.netns.as_raw_fd().to_ne_bytes());
        if let Some(mac) = child.mac {
            message = message.attribute(IFLA_ADDRESS, &mac.0);
        }
        let message = message.nest(IFLA_LINKINFO, &[], |m| {
            m.text(IFLA_INFO_KIND, kind)
                .nest(IFLA_INFO_DATA, &[], |m| match kind {
                    "macvlan" => m.number(IFLA_MACVLAN_MODE, u32::from(mode)),
                    _ => m
                        .attribute(IFLA_IPVLAN_MODE, &u16::to_ne_bytes(mode))
                        .attribute(IFLA_IPVLAN_FLAGS, &flag.to_ne_bytes()),
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

fn new_link(name: &str) -> Message {
    let fixed = ifinfomsg(AF_UNSPEC, 0, 0, 0);
    Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &fixed).text(IFLA_IFNAME, name)
}

/// Makes a new interface, found by its name, a port of a bridge, and raises it.
pub(crate) fn plug_in(name: &str, bridge: u32, mtu: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, 0, IFF_UP, IFF_UP))
        .text(IFLA_IFNAME, name)
        .number(IFLA_MTU, mtu)
        .number(IFLA_MASTER, bridge)
}

/// Makes an interface a port of a bridge.
pub(crate) fn set_master(index: u32, bridge: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, index, 0, 0)).number(IFLA_MASTER, bridge)
}

/// Sets how a bridge port treats frames: `hairpin` lets one go out where it came in, `isolated`
/// keeps it from all other isolated ports.
pub(crate) fn set_port(index: u32, hairpin: bool, isolated: bool) -> Message {
    Message::new(RTM_SETLINK, 0, &ifinfomsg(AF_BRIDGE, index, 0, 0)).nest(IFLA_PROTINFO, &[], |m| {
        m.attribute(IFLA_BRPORT_MODE, &[u8::from(hairpin)])
            .attribute(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)])
    })
}
