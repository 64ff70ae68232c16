//! Addresses of interfaces and routes (`RTM_*ADDR`, `RTM_*ROUTE`).

use std::io;
use std::net::IpAddr;

use super::wire::{Message, Reply, read_u32};
use super::{NLM_F_CREATE, NLM_F_REPLACE, Netlink};
use crate::subnet::Subnet;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_LINK: u8 = 253;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;
/// `struct rtmsg`.
const RTMSG: usize = 12;

/// An address that an interface has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InterfaceAddress {
    pub(crate) index: u32,
    pub(crate) ip: IpAddr,
    pub(crate) prefix: u8,
    /// Not valid beyond the link (`fe80::…`), so made by the kernel.
    pub(crate) link_local: bool,
}

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: Subnet,
    pub(crate) interface: Option<u32>,
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn address(kind: u16, flags: u16, index: u32, ip: IpAddr, prefix: u8) -> Message {
    let mut fixed = [family(ip), prefix, 0, 0, 0, 0, 0, 0];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    Message::new(kind, flags, &fixed)
        .attribute(IFA_LOCAL, &octets(ip))
        .attribute(IFA_ADDRESS, &octets(ip))
}

/// Gives an interface an address; one that it has already is no error. Duplicate address detection
/// is off: who has which address is decided here, and a container can't wait a second for it.
pub(crate) fn add_address(index: u32, ip: IpAddr, subnet: Subnet) -> Message {
    let message = address(
        RTM_NEWADDR,
        NLM_F_CREATE | NLM_F_REPLACE,
        index,
        ip,
        subnet.prefix(),
    );
    match ip {
        IpAddr::V4(_) if subnet.prefix() < 31 => {
            message.attribute(IFA_BROADCAST, &octets(subnet.last()))
        }
        IpAddr::V4(_) => message,
        IpAddr::V6(_) => message.number(IFA_FLAGS, IFA_F_NODAD),
    }
}

/// Takes an address from an interface.
pub(crate) fn delete_address(index: u32, ip: IpAddr, prefix: u8) -> Message {
    address(RTM_DELADDR, 0, index, ip, prefix)
}

/// Sets the default route.
pub(crate) fn set_default_route(index: u32, gateway: IpAddr) -> Message {
    let fixed = [
        family(gateway),
        0,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_BOOT,
        0,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ];
    Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &fixed)
        .attribute(RTA_GATEWAY, &octets(gateway))
        .number(RTA_OIF, index)
}

impl Netlink {
    /// All addresses of all interfaces.
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<InterfaceAddress>> {
        let mut fixed = [0; IFADDRMSG];
        fixed[0] = AF_UNSPEC;
        self.dump(
            || Message::new(RTM_GETADDR, 0, &fixed),
            |reply| {
                let fixed = reply.fixed(IFADDRMSG)?;
                let attributes = reply.attributes(IFADDRMSG);
                let ip = attributes
                    .value(IFA_LOCAL)
                    .or_else(|| attributes.value(IFA_ADDRESS))?;
                Some(InterfaceAddress {
                    index: read_u32(fixed, 4)?,
                    ip: read_ip(ip)?,
                    prefix: *fixed.get(1)?,
                    link_local: *fixed.get(3)? == RT_SCOPE_LINK,
                })
            },
        )
    }

    /// The routes of the main table, without default routes.
    pub(crate) fn routes(&mut self) -> io::Result<Vec<Route>> {
        let read = |reply: &Reply<'_>| {
            let fixed = reply.fixed(RTMSG)?;
            let attributes = reply.attributes(RTMSG);
            let table = attributes
                .number(RTA_TABLE)
                .unwrap_or(u32::from(*fixed.get(4)?));
            if table != u32::from(RT_TABLE_MAIN) || *fixed.get(7)? != RTN_UNICAST {
                return None;
            }
            let destination = read_ip(attributes.value(RTA_DST)?)?;
            let destination = Subnet::containing(destination, *fixed.get(1)?).ok()?;
            let link_local = match destination.network() {
                IpAddr::V4(ip) => ip.is_link_local(),
                IpAddr::V6(ip) => ip.is_unicast_link_local(),
            };
            let useful = destination.prefix() > 0 && !link_local;
            useful.then(|| Route {
                destination,
                interface: attributes.number(RTA_OIF),
            })
        };
        let mut all = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let mut fixed = [0; RTMSG];
            fixed[0] = family;
            match self.dump(|| Message::new(RTM_GETROUTE, 0, &fixed), read) {
                Ok(routes) => all.extend(routes),
                // A kernel without IPv6.
                Err(e) if family == AF_INET6 && !matches!(e.kind(), io::ErrorKind::TimedOut) => {
                    tracing::debug!("no IPv6 routes: {e}");
                }
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }
}
