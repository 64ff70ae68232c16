//! veth pairs: one end on the bridge, the other one in a namespace with addresses and routes.
//! Blocking.

use std::io;
use std::os::fd::AsFd;

use crate::bridge;
use crate::endpoint::{Assigned, Endpoint};
use crate::error::{Error, Result};
use crate::netlink::address::{add_address, set_default_route};
use crate::netlink::link::{VethPair, set_up};
use crate::netlink::{Netlink, is_absent};
use crate::network::Network;
use crate::{netns, sysctl};

/// Name of the host's end: `veth` and eleven hexadecimal digits made from what it is for, so that
/// what a crash left is found by the next try. `salt` tells apart what falls together.
pub(crate) fn host_name(network: &str, id: &str, salt: u32) -> String {
    // FNV-1a: stable over releases of the standard library, unlike its own hasher.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let text = [network.as_bytes(), b"/", id.as_bytes(), &salt.to_be_bytes()];
    for byte in text.concat() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("veth{:011x}", hash & 0xfff_ffff_ffff)
}

/// Whether a name can be one of [`host_name`]'s.
pub(crate) fn is_ours(name: &str) -> bool {
    name.strip_prefix("veth")
        .is_some_and(|rest| rest.len() == 11 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Joins a namespace to a network as the endpoint says. A half-made pair doesn't stay.
pub(crate) fn plug(network: &Network, endpoint: &Endpoint) -> Result<()> {
    let failed = |e| Error::netlink(format!("attach {} to {}", endpoint.ifname, network.name))(e);
    let netns = netns::open(&endpoint.netns)?;
    let mut netlink = Netlink::open().map_err(failed)?;
    let bridge = match netlink.link(&network.bridge).map_err(failed)? {
        Some(bridge) => bridge.index,
        // Somebody took it away since the start.
        None => bridge::ensure(&mut netlink, network)?,
    };
    let pair = VethPair {
        host: &endpoint.host_ifname,
        bridge,
        peer: &endpoint.ifname,
        peer_mac: endpoint.mac,
        peer_netns: netns.as_fd(),
        mtu: network.mtu,
    };
    match netlink.add_veth(&pair) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            netlink.delete_link(&endpoint.host_ifname).map_err(failed)?;
            netlink.add_veth(&pair).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => Error::Invalid(format!(
                    "interface {} exists already in the container's namespace",
                    endpoint.ifname
                )),
                _ => failed(e),
            })?;
        }
        result => result.map_err(failed)?,
    }
    let configured = netlink
        .link(&endpoint.host_ifname)
        .and_then(|port| port.ok_or_else(|| io::Error::other("the veth pair vanished")))
        .and_then(|port| bridge::set_port(&mut netlink, port.index, network))
        .and_then(|()| netns::within(netns.as_fd(), || configure(endpoint)));
    if configured.is_err() {
        // Already failing: the first error is the one to tell.
        let _ = netlink.delete_link(&endpoint.host_ifname);
    }
    configured.map_err(failed)
}

/// Gives the inner end its addresses and routes; runs within the namespace.
fn configure(endpoint: &Endpoint) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let inner = netlink
        .link(&endpoint.ifname)?
        .ok_or_else(|| io::Error::other("no inner end"))?;
    let setting = |name: &str| format!("ipv6/conf/{}/{name}", endpoint.ifname);
    if endpoint.ipv6.is_some() {
        sysctl::set_if_there(&setting("disable_ipv6"), "0")?;
        sysctl::set_if_there(&setting("accept_dad"), "0")?;
    } else {
        sysctl::set_if_there(&setting("disable_ipv6"), "1")?;
    }
    let assigned: Vec<&Assigned> = endpoint.addresses().collect();
    let addresses = assigned
        .iter()
        .map(|a| add_address(inner.index, a.ip, a.subnet));
    let mut changes: Vec<_> = addresses.chain([set_up(inner.index)]).collect();
    if endpoint.default_route {
        let gateways = assigned.iter().filter_map(|a| a.gateway);
        changes.extend(gateways.map(|gateway| set_default_route(inner.index, gateway)));
    }
    netlink.changes(changes)
}

/// Removes the pair of an endpoint; none there is no error.
pub(crate) fn unplug(endpoint: &Endpoint) -> Result<()> {
    let failed = |e| Error::netlink(format!("detach {}", endpoint.host_ifname))(e);
    Netlink::open()
        .and_then(|mut netlink| netlink.delete_link(&endpoint.host_ifname))
        .map_err(failed)
}

/// Puts a live endpoint's pair back onto its bridge if it isn't there; makes it anew if it is gone.
pub(crate) fn repair(
    netlink: &mut Netlink,
    bridge: u32,
    network: &Network,
    endpoint: &Endpoint,
) -> Result<()> {
    let failed = |e| Error::netlink(format!("restore {}", endpoint.host_ifname))(e);
    match netlink.link(&endpoint.host_ifname).map_err(failed)? {
        Some(port) if port.master == Some(bridge) => Ok(()),
        Some(port) => {
            match bridge::enslave(netlink, port.index, bridge, network) {
                // Gone meanwhile: its container ended.
                Err(e) if is_absent(&e) => Ok(()),
                result => result.map_err(failed),
            }
        }
        None => plug(network, endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_told_apart() {
        let name = host_name("n", "c", 0);
        assert_eq!(name.len(), 15);
        assert!(is_ours(&name) && !is_ours("veth0") && !is_ours("vethzzzzzzzzzzz"));
        assert_eq!(name, host_name("n", "c", 0));
        assert_ne!(name, host_name("n", "c", 1));
        assert_ne!(host_name("ab", "c", 0), host_name("a", "bc", 0));
    }
}
