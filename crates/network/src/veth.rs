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
use crate::{netns, random, sysctl};

/// A name for the host's end: `veth` and eleven random hexadecimal digits. Never used again, so
/// that what removes an old end late can't hit a new one.
pub(crate) fn host_name() -> Result<String> {
    let random = u64::from_ne_bytes(random::bytes()?);
    Ok(format!("veth{:011x}", random & 0xfff_ffff_ffff))
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
    netlink.add_veth(&pair).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::Invalid(format!(
            "interface {} exists already in the container's namespace",
            endpoint.ifname
        )),
        _ => failed(e),
    })?;
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
        let name = host_name().unwrap();
        assert_eq!(name.len(), 15);
        assert!(is_ours(&name) && !is_ours("veth0") && !is_ours("vethzzzzzzzzzzz"));
        assert_ne!(name, host_name().unwrap());
    }
}
