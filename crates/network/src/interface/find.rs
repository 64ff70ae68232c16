//! Which of a namespace's links are the interfaces that are asked for.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use super::Interface;
use crate::error::{Error, Result};
use crate::netlink::Netlink;
use crate::netlink::link::{Link, set_down, set_name};
use crate::netlink::wire::Message;

/// The interfaces that there are, once those that are asked for are there or the time is over.
pub(super) fn await_links(
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

/// Finds each interface's link: the one of its Ethernet address; of several, the one of its name.
pub(super) fn find<'a>(
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
pub(super) fn make_room(found: &[(&Link, &Interface)], links: &[Link]) -> Result<Vec<Message>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::MacAddr;

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
}
