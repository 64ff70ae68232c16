//! The interfaces of a namespace from within: named, addressed, raised, counted.
//!
//! For what runs in the calling thread's network namespace: the daemon's helper thread in that of a
//! container, or a machine's init in its own. One socket and three requests for any number of
//! interfaces: in an emulated machine each system call counts. Blocking, and needs no runtime.

mod find;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

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
use find::{await_links, find, make_room};

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

fn describe(interfaces: &[Interface]) -> String {
    let names: Vec<&str> = interfaces.iter().map(|i| i.name.as_str()).collect();
    match names[..] {
        [] => "configure the loopback interface".to_owned(),
        _ => format!("configure {}", names.join(", ")),
    }
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

/// Makes an endpoint's interface, which has its name already, as it is asked for. To be called
/// within its namespace.
#[cfg(feature = "manage")]
pub(crate) fn configure_endpoint(endpoint: &crate::Endpoint) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let link = netlink.link(&endpoint.ifname)?;
    let link = link.ok_or_else(|| io::Error::other("the new interface vanished"))?;
    apply(&mut netlink, Vec::new(), &[(&link, &endpoint.interface())])?;
    let mut sysctls = endpoint.sysctls.iter();
    sysctls.try_for_each(|s| sysctl::set(&s.path(&endpoint.ifname), s.value()))
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
