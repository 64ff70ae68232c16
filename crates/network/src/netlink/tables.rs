//! What the host has: all its addresses and routes.

use std::io;
use std::net::IpAddr;

use super::Netlink;
use super::address::{AF_INET, AF_INET6, IFA_ADDRESS, IFA_LOCAL};
use super::route::{RT_SCOPE_LINK, RT_TABLE_MAIN, RTA_DST, RTA_OIF, RTMSG, RTN_UNICAST};
use super::wire::{Attributes, Message, Reply, read_u32};
use crate::subnet::Subnet;

const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const RTA_TABLE: u16 = 15;
const AF_UNSPEC: u8 = 0;

/// `struct ifaddrmsg`.
pub(super) const IFADDRMSG: usize = 8;

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

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The address of an `RTM_*ADDR`.
pub(super) fn read_address(attributes: Attributes<'_>) -> Option<IpAddr> {
    let local = attributes.value(IFA_LOCAL);
    read_ip(local.or_else(|| attributes.value(IFA_ADDRESS))?)
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
                Some(InterfaceAddress {
                    index: read_u32(fixed, 4)?,
                    ip: read_address(reply.attributes(IFADDRMSG))?,
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
