//! Routes of interfaces (`RTM_*ROUTE`).

use std::net::IpAddr;

use super::address::{family, octets};
use super::wire::Message;
use super::{NLM_F_CREATE, NLM_F_REPLACE};
use crate::subnet::Subnet;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
pub(super) const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
pub(super) const RTN_UNICAST: u8 = 1;
const RT_SCOPE_UNIVERSE: u8 = 0;
pub(super) const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_NOWHERE: u8 = 255;

/// `struct rtmsg`.
pub(super) const RTMSG: usize = 12;

fn route(
    (kind, flags, protocol, scope): (u16, u16, u8, u8),
    index: u32,
    destination: Subnet,
    gateway: Option<IpAddr>,
) -> Message {
    let mut fixed = [0; RTMSG];
    fixed[0] = family(destination.network());
    fixed[1] = destination.prefix();
    fixed[4] = RT_TABLE_MAIN;
    fixed[5] = protocol;
    fixed[6] = scope;
    fixed[7] = RTN_UNICAST;
    let message = Message::new(kind, flags, &fixed).number(RTA_OIF, index);
    let message = match destination.prefix() {
        // A default route has none.
        0 => message,
        _ => message.attribute(RTA_DST, &octets(destination.network())),
    };
    match gateway {
        Some(gateway) => message.attribute(RTA_GATEWAY, &octets(gateway)),
        None => message,
    }
}

/// Sets the route to a subnet: by a gateway, or right at the link.
pub(crate) fn set_route(index: u32, destination: Subnet, gateway: Option<IpAddr>) -> Message {
    let scope = match gateway {
        None if destination.is_ipv4() => RT_SCOPE_LINK,
        _ => RT_SCOPE_UNIVERSE,
    };
    let how = (
        RTM_NEWROUTE,
        NLM_F_CREATE | NLM_F_REPLACE,
        RTPROT_BOOT,
        scope,
    );
    route(how, index, destination, gateway)
}

/// Removes a route, whoever made it.
pub(crate) fn delete_route(index: u32, destination: Subnet, gateway: Option<IpAddr>) -> Message {
    route(
        (RTM_DELROUTE, 0, 0, RT_SCOPE_NOWHERE),
        index,
        destination,
        gateway,
    )
}
