//! Addresses of interfaces (`RTM_*ADDR`).

use std::net::IpAddr;

use super::wire::Message;
use super::{NLM_F_CREATE, NLM_F_REPLACE};
use crate::subnet::Subnet;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;

pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

pub(super) fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { AF_INET } else { AF_INET6 }
}

pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
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
