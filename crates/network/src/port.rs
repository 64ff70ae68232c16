//! An endpoint's port of its bridge: plugged in, pulled out, repaired. Blocking.
//!
//! For a container it is the outer end of a veth pair, for a machine a tap. What has no bridge is
//! handed on to `child`.

use std::io;
use std::os::fd::AsFd;

use crate::endpoint::{Endpoint, Place};
use crate::error::{Error, Result};
use crate::netlink::link::set_up;
use crate::netlink::make::plug_in;
use crate::netlink::{Netlink, is_absent};
use crate::network::Network;
use crate::{bridge, child, interface, netns, random, tap, veth};

/// A name for a port: `veth` or `vtap`, and eleven random hexadecimal digits. Never used again, so
/// that what removes an old one late can't hit a new one.
pub(crate) fn name(place: &Place) -> Result<String> {
    let random = u64::from_ne_bytes(random::bytes()?);
    let kind = match place {
        Place::Namespace(_) => "veth",
        Place::Machine(_) => "vtap",
    };
    Ok(format!("{kind}{:011x}", random & 0xfff_ffff_ffff))
}

/// Whether a name can be one of [`name`]'s.
pub(crate) fn is_ours(name: &str) -> bool {
    name.strip_prefix("veth")
        .or_else(|| name.strip_prefix("vtap"))
        .is_some_and(|rest| rest.len() == 11 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Joins a container or a machine to a network as the endpoint says. A half-made port doesn't stay.
pub(crate) fn plug(network: &Network, endpoint: &Endpoint) -> Result<()> {
    if let Some(parent) = &network.parent {
        return child::plug(network, parent, endpoint);
    }
    let failed = |e| Error::netlink(format!("attach {} to {}", endpoint.ifname, network.name))(e);
    let mut netlink = Netlink::open().map_err(failed)?;
    let bridge = match netlink.link(&network.bridge).map_err(failed)? {
        Some(bridge) => bridge.index,
        // Somebody took it away since the start.
        None => bridge::ensure(&mut netlink, network)?,
    };
    let made = match &endpoint.place {
        Place::Namespace(path) => veth::make(&mut netlink, bridge, network, endpoint, path),
        Place::Machine(owner) => {
            let made = tap::make(&endpoint.host_ifname, *owner).and_then(|tap| {
                netlink.change(plug_in(&endpoint.host_ifname, bridge, network.mtu))?;
                // Not before it is on its bridge, where it is found after a crash.
                tap::persist(tap)?;
                settle(&mut netlink, network, endpoint)
            });
            made.map_err(|source| Error::Tap {
                name: endpoint.host_ifname.clone(),
                source,
            })
        }
    };
    if made.is_err() {
        // Already failing: the first error is the one to tell.
        let _ = netlink.delete_link(&endpoint.host_ifname);
    }
    made
}

/// Sets how the network wants a new port to be.
pub(crate) fn settle(
    netlink: &mut Netlink,
    network: &Network,
    endpoint: &Endpoint,
) -> io::Result<()> {
    let port = netlink
        .link(&endpoint.host_ifname)?
        .ok_or_else(|| io::Error::other("the new interface vanished"))?;
    bridge::set_port(netlink, port.index, network)
}

/// Has the default routes of an endpoint's namespace lead to it, as it says. A machine's are its
/// own affair.
pub(crate) fn lead(endpoint: &Endpoint) -> Result<()> {
    let failed = |e| Error::netlink(format!("route {} by {}", endpoint.id, endpoint.ifname))(e);
    let Some(path) = endpoint.netns() else {
        return Ok(());
    };
    let netns = netns::open(path)?;
    let interface = endpoint.interface();
    netns::within(netns.as_fd(), || {
        interface::lead(&mut Netlink::open()?, &interface)
    })
    .map_err(failed)
}

/// Removes an endpoint's port; none there is no error.
pub(crate) fn unplug(endpoint: &Endpoint) -> Result<()> {
    if endpoint.host_ifname.is_empty() {
        return child::unplug(endpoint);
    }
    let failed = |e| Error::netlink(format!("detach {}", endpoint.host_ifname))(e);
    Netlink::open()
        .and_then(|mut netlink| netlink.delete_link(&endpoint.host_ifname))
        .map_err(failed)
}

/// Puts a live endpoint's port back onto its bridge if it isn't there. A veth pair that is gone is
/// made anew; a tap is too, but only a machine that opens it will be heard on it.
pub(crate) fn repair(network: &Network, endpoint: &Endpoint) -> Result<()> {
    if let Some(parent) = &network.parent {
        return child::repair(network, parent, endpoint);
    }
    let failed = |e| Error::netlink(format!("restore {}", endpoint.host_ifname))(e);
    let mut netlink = Netlink::open().map_err(failed)?;
    let bridge = netlink.link(&network.bridge).map_err(failed)?;
    let port = netlink.link(&endpoint.host_ifname).map_err(failed)?;
    match (port, bridge.map(|b| b.index)) {
        (Some(port), Some(bridge)) if port.master == Some(bridge) && port.up => Ok(()),
        (Some(port), Some(bridge)) => {
            let enslaved = bridge::enslave(&mut netlink, port.index, bridge, network);
            match enslaved.and_then(|()| netlink.change(set_up(port.index))) {
                // Gone meanwhile: its container ended.
                Err(e) if is_absent(&e) => Ok(()),
                result => result.map_err(failed),
            }
        }
        // Somebody took the bridge away again: that is told, and mended next.
        (Some(_), None) => Ok(()),
        (None, _) => {
            if let Place::Machine(_) = endpoint.place {
                tracing::warn!(
                    "tap {} of {} was removed: the machine is off network {} until it starts again",
                    endpoint.host_ifname,
                    endpoint.id,
                    network.name
                );
            }
            plug(network, endpoint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_told_apart() {
        for place in [Place::Namespace("/a".into()), Place::machine()] {
            let name = name(&place).unwrap();
            assert_eq!(name.len(), 15);
            assert!(is_ours(&name));
            assert_ne!(name, super::name(&place).unwrap());
        }
        assert!(!is_ours("veth0") && !is_ours("vethzzzzzzzzzzz") && !is_ours("vtap"));
    }
}
