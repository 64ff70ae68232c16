//! The interfaces of a namespace from within: named, addressed, raised, counted.
//!
//! For what runs in the calling thread's network namespace: the daemon's helper thread in that of a
//! container, or a machine's init in its own. One socket and three requests for any number of
//! interfaces: in an emulated machine each system call counts. Blocking, and needs no runtime.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ifname::check_ifname;
use crate::mac::MacAddr;
use crate::netlink::Netlink;
use crate::netlink::address::{add_address, delete_address};
use crate::netlink::link::{Link, set_down, set_mtu, set_name, set_up};
use crate::netlink::route::{delete_route, set_route};
use crate::netlink::wire::Message;
use crate::subnet::Subnet;
use crate::sysctl;

/// The loopback interface is the first one of every namespace.
const LOOPBACK: u32 = 1;
/// More addresses or routes than any interface of ours has.
const MAX_ENTRIES: usize = 1024;

/// How an interface is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// By which it is found.
    pub mac: MacAddr,
    /// What it is called then: `eth0`.
    pub name: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Addresses, each with the bits of its network part.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Where the IPv4 default route leads.
    pub gateway4: Option<Ipv4Addr>,
    /// Where the IPv6 default route leads.
    pub gateway6: Option<Ipv6Addr>,
    /// Further routes.
    pub routes: Vec<Route>,
}

/// A route out of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads.
    pub destination: Subnet,
    /// The next hop; none if the destination is right at the link.
    pub gateway: Option<IpAddr>,
}

/// An interface as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its Ethernet address, if it has one.
    pub mac: Option<MacAddr>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Whether it is raised.
    pub up: bool,
    /// What went through it since it was made.
    pub statistics: Statistics,
}

/// What went through an interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Packets received and not processed.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that couldn't be sent.
    pub tx_errors: u64,
    /// Packets dropped on their way out.
    pub tx_dropped: u64,
}

/// Makes the interfaces of the calling thread's network namespace as they are asked for, and raises
/// them and the loopback (that one alone if none is asked for). What is so already stays; other
/// addresses and routes that they have stay too: see [`unconfigure`].
///
/// An interface without IPv6 addresses has no IPv6 at all.
///
/// # Errors
/// `Invalid` if a value is none, if a name is another interface's, or if there is no interface of
/// an Ethernet address, or several of which none has the name; `Netlink` or `Io` if the kernel
/// refuses. What could be done is done then.
pub fn configure(interfaces: &[Interface]) -> Result<()> {
    configure_within(interfaces, Duration::ZERO)
}

/// As [`configure`], but waits for interfaces that are still to come: a card that has just been
/// plugged in takes its time. The kernel tells of them, so the processor is left to that.
///
/// # Errors
/// As [`configure`]; that there is no interface, after this time.
pub fn configure_within(interfaces: &[Interface], patience: Duration) -> Result<()> {
    interfaces.iter().try_for_each(Interface::check)?;
    let failed = || Error::netlink(describe(interfaces));
    let mut netlink = Netlink::open().map_err(failed())?;
    let links = await_links(&mut netlink, interfaces, patience).map_err(failed())?;
    let found = find(interfaces, &links)?;
    let mut changes = vec![set_up(LOOPBACK)];
    changes.extend(make_room(&found, &links)?);
    apply(&mut netlink, changes, &found).map_err(failed())
}

/// Takes the addresses, gateways and routes of `interface` away from the interface of its Ethernet
/// address: those alone, and those that aren't there are no error. It stays up.
///
/// # Errors
/// As [`configure`].
pub fn unconfigure(interface: &Interface) -> Result<()> {
    interface.check()?;
    let interfaces = std::slice::from_ref(interface);
    let failed = || Error::netlink(describe(interfaces));
    let mut netlink = Netlink::open().map_err(failed())?;
    let links = netlink.links().map_err(failed())?;
    let mut removals = Vec::new();
    for (link, interface) in find(interfaces, &links)? {
        let index = link.index;
        let routes = interface.all_routes();
        removals.extend(routes.map(|r| delete_route(index, r.destination, r.gateway)));
        let addresses = interface.addresses.iter();
        removals.extend(addresses.map(|(ip, prefix)| delete_address(index, *ip, *prefix)));
    }
    netlink.removals(removals).map_err(failed())
}

/// The interfaces of the calling thread's network namespace, the loopback among them.
///
/// # Errors
/// `Netlink` if the kernel refuses.
pub fn links() -> Result<Vec<Status>> {
    let links = Netlink::open()
        .and_then(|mut netlink| netlink.counters())
        .map_err(Error::netlink("list the interfaces"))?;
    let status = |(link, counters): (Link, [u64; 8])| {
        let [
            rx_packets,
            tx_packets,
            rx_bytes,
            tx_bytes,
            rx_errors,
            tx_errors,
            rx_dropped,
            tx_dropped,
        ] = counters;
        Status {
            name: link.name,
            mac: link.mac,
            mtu: link.mtu,
            up: link.up,
            statistics: Statistics {
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
            },
        }
    };
    Ok(links.into_iter().map(status).collect())
}

impl Interface {
    fn check(&self) -> Result<()> {
        check_ifname(&self.name)?;
        if self.addresses.len() > MAX_ENTRIES || self.routes.len() > MAX_ENTRIES {
            return Err(Error::Invalid(format!(
                "interface {} has more than {MAX_ENTRIES} addresses or routes",
                self.name
            )));
        }
        for (ip, prefix) in &self.addresses {
            Subnet::containing(*ip, *prefix)?;
        }
        for route in &self.routes {
            let ipv4 = route.destination.is_ipv4();
            if let Some(gateway) = route.gateway.filter(|g| g.is_ipv4() != ipv4) {
                return Err(Error::Invalid(format!(
                    "route to {}: gateway {gateway} is of the other IP version",
                    route.destination
                )));
            }
        }
        Ok(())
    }

    /// Its routes, default routes first.
    fn all_routes(&self) -> impl Iterator<Item = Route> {
        let gateway4 = self.gateway4.map(IpAddr::V4);
        let gateways = gateway4.into_iter().chain(self.gateway6.map(IpAddr::V6));
        let default = gateways.filter_map(|gateway| {
            Some(Route {
                destination: Subnet::containing(gateway, 0).ok()?,
                gateway: Some(gateway),
            })
        });
        default.chain(self.routes.iter().copied())
    }

    fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|(ip, _)| ip.is_ipv6())
    }
}

/// The interfaces that there are, once those that are asked for are there or the time is over.
fn await_links(
    netlink: &mut Netlink,
    interfaces: &[Interface],
    patience: Duration,
) -> io::Result<Vec<Link>> {
    if interfaces.is_empty() {
        return Ok(Vec::new());
    }
    let are_there = |links: &[Link]| {
        let is_there = |i: &Interface| links.iter().any(|l| l.mac == Some(i.mac));
        interfaces.iter().all(is_there)
    };
    let mut links = netlink.links()?;
    if patience.is_zero() || are_there(&links) {
        return Ok(links);
    }
    let until = Instant::now() + patience;
    let mut changes = Netlink::open_links()?;
    loop {
        // Also once more before the first wait: one may have come before the changes were told.
        links = netlink.links()?;
        let left = until.saturating_duration_since(Instant::now());
        if are_there(&links) || !changes.await_change(left)? {
            return Ok(links);
        }
    }
}

fn describe(interfaces: &[Interface]) -> String {
    let names: Vec<&str> = interfaces.iter().map(|i| i.name.as_str()).collect();
    match names[..] {
        [] => "configure the loopback interface".to_owned(),
        _ => format!("configure {}", names.join(", ")),
    }
}

/// Finds each interface's link: the one of its Ethernet address; of several, the one of its name.
fn find<'a>(
    interfaces: &'a [Interface],
    links: &'a [Link],
) -> Result<Vec<(&'a Link, &'a Interface)>> {
    let find = |interface: &'a Interface| {
        let mac = interface.mac;
        let mut candidates = links.iter().filter(|l| l.mac == Some(mac));
        let named = candidates.clone().find(|l| l.name == interface.name);
        let link = match (named, candidates.next(), candidates.next()) {
            (Some(link), ..) | (None, Some(link), None) => link,
            (None, None, _) => {
                return Err(Error::Invalid(format!(
                    "no interface has the MAC address {mac} of {}",
                    interface.name
                )));
            }
            (None, Some(_), Some(_)) => {
                return Err(Error::Invalid(format!(
                    "several interfaces have the MAC address {mac}, and none of them is called {}",
                    interface.name
                )));
            }
        };
        Ok((link, interface))
    };
    interfaces.iter().map(find).collect()
}

/// Interfaces that have each other's names get out of each other's way first.
fn make_room(found: &[(&Link, &Interface)], links: &[Link]) -> Result<Vec<Message>> {
    let renamed: Vec<_> = found.iter().filter(|(l, i)| l.name != i.name).collect();
    let mut wanted = BTreeSet::new();
    let mut changes = Vec::new();
    for (_, interface) in found {
        let name = interface.name.as_str();
        if !wanted.insert(name) {
            return Err(Error::Invalid(format!(
                "two interfaces are to be called {name}"
            )));
        }
    }
    for (_, interface) in &renamed {
        let name = interface.name.as_str();
        let Some(holder) = links.iter().find(|l| l.name == name) else {
            continue;
        };
        if !renamed.iter().any(|(l, _)| l.index == holder.index) {
            return Err(Error::Invalid(format!(
                "another interface is called {name} already"
            )));
        }
        changes.push(set_down(holder.index));
        changes.push(set_name(holder.index, &format!("moved{}", holder.index)));
    }
    Ok(changes)
}

/// Makes links as they are asked for, after changes that must come first.
fn apply(
    netlink: &mut Netlink,
    mut changes: Vec<Message>,
    found: &[(&Link, &Interface)],
) -> io::Result<()> {
    for (link, interface) in found {
        let setting = |name: &str| format!("ipv6/conf/{}/{name}", link.name);
        if interface.has_ipv6() {
            sysctl::set_fresh(&setting("disable_ipv6"), "0")?;
            sysctl::set_fresh(&setting("accept_dad"), "0")?;
        } else {
            sysctl::set_fresh(&setting("disable_ipv6"), "1")?;
        }
        let index = link.index;
        if link.name != interface.name {
            if link.up {
                // Kernels before 6.2 rename no other.
                changes.push(set_down(index));
            }
            changes.push(set_name(index, &interface.name));
        }
        if link.mtu != interface.mtu {
            changes.push(set_mtu(index, interface.mtu));
        }
        for (ip, prefix) in &interface.addresses {
            let subnet = Subnet::containing(*ip, *prefix).map_err(io::Error::other)?;
            changes.push(add_address(index, *ip, subnet));
        }
        changes.push(set_up(index));
        let routes = interface.all_routes();
        changes.extend(routes.map(|r| set_route(index, r.destination, r.gateway)));
    }
    netlink.changes(changes)
}

/// Makes an interface that has its name already as it is asked for.
#[cfg(feature = "manage")]
pub(crate) fn configure_named(netlink: &mut Netlink, interface: &Interface) -> io::Result<()> {
    let link = netlink.link(&interface.name)?;
    let link = link.ok_or_else(|| io::Error::other("the new interface vanished"))?;
    apply(netlink, Vec::new(), &[(&link, interface)])
}

/// Has the default routes lead out of an interface, found by its name, as it is asked for.
#[cfg(feature = "manage")]
pub(crate) fn lead(netlink: &mut Netlink, interface: &Interface) -> io::Result<()> {
    let Some(link) = netlink.link(&interface.name)? else {
        // It has been removed from within.
        return Ok(());
    };
    let default = interface.all_routes();
    let default = default.filter(|r| r.destination.prefix() == 0);
    let changes = default.map(|r| set_route(link.index, r.destination, r.gateway));
    netlink.changes(changes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, mac: u8) -> Link {
        Link {
            index,
            name: name.to_owned(),
            kind: String::new(),
            master: None,
            mtu: 1500,
            up: false,
            mac: Some(MacAddr([2, 0, 0, 0, 0, mac])),
        }
    }

    fn interface(name: &str, mac: u8) -> Interface {
        Interface {
            mac: MacAddr([2, 0, 0, 0, 0, mac]),
            name: name.to_owned(),
            mtu: 1500,
            addresses: vec![("10.0.0.2".parse().unwrap(), 24)],
            gateway4: None,
            gateway6: None,
            routes: Vec::new(),
        }
    }

    #[test]
    fn links_are_found_by_mac_and_told_apart_by_name() {
        let links = [link(2, "a", 1), link(3, "b", 1), link(4, "c", 2)];
        let index = |name, mac| find(&[interface(name, mac)], &links).map(|f| f[0].0.index);
        assert_eq!(index("eth0", 2).unwrap(), 4);
        assert_eq!(index("b", 1).unwrap(), 3);
        assert!(index("eth0", 1).is_err() && index("c", 3).is_err());
    }

    #[test]
    fn names_are_swapped_but_not_stolen() {
        let links = [link(2, "eth0", 1), link(3, "eth1", 2), link(4, "x", 3)];
        let room = |wanted: &[Interface]| {
            find(wanted, &links)
                .and_then(|found| make_room(&found, &links))
                .map(|changes| changes.len())
        };
        assert_eq!(
            room(&[interface("eth1", 1), interface("eth0", 2)]).unwrap(),
            4
        );
        assert_eq!(room(&[interface("eth0", 1), interface("y", 2)]).unwrap(), 0);
        assert!(room(&[interface("x", 1)]).is_err());
        assert!(room(&[interface("y", 1), interface("y", 2)]).is_err());
    }

    #[test]
    fn bad_values_are_refused() {
        let refused = |change: fn(&mut Interface)| {
            let mut bad = interface("eth0", 1);
            change(&mut bad);
            assert!(bad.check().is_err(), "{bad:?}");
        };
        refused(|i| i.name = "a/b".into());
        refused(|i| i.addresses[0].1 = 33);
        refused(|i| i.addresses = vec![i.addresses[0]; 2000]);
        refused(|i| {
            i.routes.push(Route {
                destination: "10.0.0.0/8".parse().unwrap(),
                gateway: Some("fd00::1".parse().unwrap()),
            });
        });
    }

    #[test]
    fn it_travels_as_json() {
        let interface = interface("eth0", 1);
        let text = serde_json::to_string(&interface).unwrap();
        assert!(text.contains(r#""addresses":[["10.0.0.2",24]]"#), "{text}");
        assert_eq!(serde_json::from_str::<Interface>(&text).unwrap(), interface);
    }
}
