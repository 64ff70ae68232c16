//! Bridges: made, given their addresses, and kept so. Blocking.

use std::io;
use std::net::IpAddr;

use crate::error::{Error, Result};
use crate::mac::MacAddr;
use crate::netlink::address::{add_address, delete_address};
use crate::netlink::link::{Link, set_mtu, set_up};
use crate::netlink::{Netlink, make};
use crate::network::Network;
use crate::sysctl;

/// Makes a network's bridge as it should be, whatever there is of it; returns its index.
pub(crate) fn ensure(netlink: &mut Netlink, network: &Network) -> Result<u32> {
    let name = network.bridge.as_str();
    let failed = |e| Error::netlink(format!("bridge {name}"))(e);
    let bridge = match netlink.link(name).map_err(failed)? {
        Some(bridge) => bridge,
        None => make(netlink, network)?,
    };
    if bridge.kind != "bridge" {
        return Err(Error::Invalid(format!(
            "interface {name} exists and is no bridge: remove it, or give the bridge another name"
        )));
    }
    let mut changes = Vec::new();
    if bridge.mtu != network.mtu {
        changes.push(set_mtu(bridge.index, network.mtu));
    }
    let there = netlink.addresses().map_err(failed)?;
    let wanted = network
        .pools()
        .map(|p| (p.gateway, p.subnet))
        .collect::<Vec<_>>();
    for address in there
        .iter()
        .filter(|a| a.index == bridge.index && !a.link_local)
    {
        if !wanted
            .iter()
            .any(|(ip, s)| *ip == address.ip && s.prefix() == address.prefix)
        {
            changes.push(delete_address(address.index, address.ip, address.prefix));
        }
    }
    for (ip, subnet) in &wanted {
        let is_there = there
            .iter()
            .any(|a| a.index == bridge.index && a.ip == *ip && a.prefix == subnet.prefix());
        if !is_there {
            changes.push(add_address(bridge.index, *ip, *subnet));
        }
    }
    if !bridge.up {
        changes.push(set_up(bridge.index));
    }
    sysctls(network).map_err(Error::io(format!("bridge {name}")))?;
    netlink.changes(changes).map_err(failed)?;
    Ok(bridge.index)
}

fn make(netlink: &mut Netlink, network: &Network) -> Result<Link> {
    let name = network.bridge.as_str();
    let gateway = network.gateway();
    let gateway = gateway.ok_or(Error::Internal("a network without addresses"))?;
    let mac = MacAddr::from_ip(gateway);
    match netlink.add_bridge(name, mac, network.mtu) {
        // Somebody else of us was quicker.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
    .and_then(|()| netlink.link(name))
    .and_then(|link| link.ok_or_else(|| io::Error::other("it vanished")))
    .map_err(Error::netlink(format!("create bridge {name}")))
}

fn sysctls(network: &Network) -> io::Result<()> {
    let name = &network.bridge;
    let ipv6 = network.ipv6.is_some();
    sysctl::set_if_there(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
    // As long as its link-local address is looked for elsewhere, which takes a second or two, the
    // bridge can't find the containers that it forwards to.
    sysctl::set_if_there(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
    sysctl::set_if_there(
        &format!("ipv6/conf/{name}/disable_ipv6"),
        if ipv6 { "0" } else { "1" },
    )
}

/// Lets the host forward packets. IPv4 always; IPv6 when a network has it.
pub(crate) fn enable_forwarding(ipv6: bool) -> Result<()> {
    sysctl::set("ipv4/ip_forward", "1").map_err(Error::io(
        "enable IPv4 forwarding (set net.ipv4.ip_forward=1, or start with --ip-forward=false)",
    ))?;
    if !ipv6 {
        return Ok(());
    }
    if sysctl::get("ipv6/conf/all/forwarding").is_ok_and(|v| v != "1") {
        tracing::warn!(
            "enabling IPv6 forwarding: interfaces of the host that get their address from router \
             advertisements need net.ipv6.conf.<interface>.accept_ra=2"
        );
    }
    sysctl::set("ipv6/conf/all/forwarding", "1").map_err(Error::io("enable IPv6 forwarding"))
}

/// Lets packets to 127.0.0.0/8 be sent on to containers: needed where no proxy serves loopback.
pub(crate) fn enable_route_localnet(network: &Network) -> Result<()> {
    let name = format!("ipv4/conf/{}/route_localnet", network.bridge);
    sysctl::set(&name, "1").map_err(Error::io("publish ports on loopback without a proxy"))
}

/// Removes a network's bridge; nothing there is no error.
pub(crate) fn remove(network: &Network) -> Result<()> {
    let failed = |e| Error::netlink(format!("remove bridge {}", network.bridge))(e);
    let mut netlink = Netlink::open().map_err(failed)?;
    match netlink.link(&network.bridge).map_err(failed)? {
        Some(link) if link.kind == "bridge" => netlink.delete_link(&link.name).map_err(failed),
        _ => Ok(()),
    }
}

/// The ports of a bridge that we made.
pub(crate) fn ports(netlink: &mut Netlink, bridge: u32) -> io::Result<Vec<Link>> {
    let mut links = netlink.links()?;
    links.retain(|l| l.master == Some(bridge) && crate::port::is_ours(&l.name));
    Ok(links)
}

/// Makes an interface a port of the bridge, as the network wants its ports.
pub(crate) fn enslave(
    netlink: &mut Netlink,
    port: u32,
    bridge: u32,
    network: &Network,
) -> io::Result<()> {
    netlink.change(make::set_master(port, bridge))?;
    set_port(netlink, port, network)
}

/// Sets how the network wants a port of its bridge to be.
pub(crate) fn set_port(netlink: &mut Netlink, port: u32, network: &Network) -> io::Result<()> {
    // Where bridged frames pass the IP firewall, a container that connects to its own published
    // port gets its own frame back: translated on the bridge, never routed.
    let hairpin = sysctl::get("bridge/bridge-nf-call-iptables").is_ok_and(|v| v == "1");
    if !hairpin && network.icc {
        return Ok(());
    }
    netlink.change(make::set_port(port, hairpin, !network.icc))
}

/// Whether a subnet is free: no route of the host leads into it but that of the bridge itself.
pub(crate) fn is_free(
    subnet: &crate::Subnet,
    routes: &[crate::netlink::tables::Route],
    own_bridge: Option<u32>,
) -> bool {
    !routes.iter().any(|route| {
        route.destination.overlaps(subnet)
            && (own_bridge.is_none() || route.interface != own_bridge)
    })
}

/// The address that a host has in a subnet by default: its first.
pub(crate) fn default_gateway(subnet: &crate::Subnet) -> IpAddr {
    crate::subnet::from_number(subnet.usable().0, subnet.is_ipv4())
}
