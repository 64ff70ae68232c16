//! Connections that the firewall remembers (`nf_conntrack_netlink`).
//!
//! A UDP client's datagrams are one "connection" for as long as they keep coming, and go where the
//! first one went: into the proxy, or to a container that is gone. So when a UDP port is published
//! or taken back, what is remembered of it is forgotten. (TCP connections end by themselves.)

use std::io;

use super::Netlink;
use super::wire::{Attributes, Message};

const NFNL_SUBSYS_CTNETLINK: u16 = 1 << 8;
const CT_GET: u16 = NFNL_SUBSYS_CTNETLINK | 1;
const CT_DELETE: u16 = NFNL_SUBSYS_CTNETLINK | 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_ZONE: u16 = 18;
const IPPROTO_UDP: u8 = 17;
const NLA_F_NESTED: u16 = 0x8000;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `struct nfgenmsg`.
const NFGENMSG: usize = 4;

/// Forgets what is remembered of UDP datagrams to these ports; returns of how many clients.
pub(crate) fn forget_udp(ports: &[u16]) -> io::Result<usize> {
    let mut netlink = Netlink::open_protocol(Some(rustix::net::netlink::NETFILTER))?;
    let mut forgotten = 0;
    for family in [AF_INET, AF_INET6] {
        let fixed = [family, 0, 0, 0];
        let found = netlink.dump(
            || Message::new(CT_GET, 0, &fixed),
            |reply| {
                let attributes = reply.attributes(NFGENMSG);
                let port = udp_port(attributes.nested(CTA_TUPLE_ORIG)?)?;
                let zone = attributes.value(CTA_ZONE).map(<[u8]>::to_vec);
                let tuple = attributes.value(CTA_TUPLE_ORIG)?.to_vec();
                ports.contains(&port).then_some((tuple, zone))
            },
        )?;
        for (tuple, zone) in found {
            let message =
                Message::new(CT_DELETE, 0, &fixed).attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, &tuple);
            let message = match zone {
                Some(zone) => message.attribute(CTA_ZONE, &zone),
                None => message,
            };
            match netlink.change(message) {
                Ok(()) => forgotten += 1,
                // It has ended by itself meanwhile.
                Err(e) if super::is_absent(&e) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(forgotten)
}

/// The destination port of a UDP tuple.
fn udp_port(tuple: Attributes<'_>) -> Option<u16> {
    let proto = tuple.nested(CTA_TUPLE_PROTO)?;
    if proto.value(CTA_PROTO_NUM)? != [IPPROTO_UDP] {
        return None;
    }
    let port = proto.value(CTA_PROTO_DST_PORT)?;
    Some(u16::from_be_bytes(port.get(..2)?.try_into().ok()?))
}
