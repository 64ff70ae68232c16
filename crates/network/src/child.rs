//! Parts of an interface of the host's (macvlan, ipvlan), right in containers' namespaces.
//! Blocking.
//!
//! They are no affair of our bridges and rules: what a container sends leaves by the interface as
//! it is. And they have no outer end: each is found in its namespace, by its name.

use std::io;
use std::os::fd::AsFd;

use crate::driver::{Driver, Parent};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::mac::MacAddr;
use crate::netlink::link::{Link, set_up};
use crate::netlink::make::Child;
use crate::netlink::{Netlink, is_absent};
use crate::network::Network;
use crate::{interface, netns};

/// Makes a network's parent if it is to be made, and raises it; returns its index.
pub(crate) fn ensure_parent(netlink: &mut Netlink, parent: &Parent, mtu: u32) -> Result<Link> {
    let name = parent.name.as_str();
    let failed = || Error::netlink(format!("interface {name}"));
    let missing = |name: &str| {
        Error::Invalid(format!(
            "network parent {name} not found: there is no such interface on this host"
        ))
    };
    if netlink.link(name).map_err(failed())?.is_none() {
        if !parent.made {
            return Err(missing(name));
        }
        let result = match parent.vlan() {
            None => netlink.add_dummy(name, mtu),
            Some((base, id)) => {
                let base_link = netlink.link(base).map_err(failed())?;
                let base_link = base_link.ok_or_else(|| missing(base))?;
                netlink.add_vlan(name, base_link.index, id)
            }
        };
        match result {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(|e| unknown_kind(e, name))?,
        }
    }
    let link = netlink.link(name).map_err(failed())?;
    let link = link.ok_or_else(|| missing(name))?;
    if parent.made && !link.up {
        netlink.change(set_up(link.index)).map_err(failed())?;
    }
    Ok(link)
}

/// Removes a parent that was made for its network; none there is no error.
pub(crate) fn remove_parent(parent: &Parent) -> Result<()> {
    if !parent.made {
        return Ok(());
    }
    Netlink::open()
        .and_then(|mut netlink| netlink.delete_link(&parent.name))
        .map_err(Error::netlink(format!("remove interface {}", parent.name)))
}

/// The Ethernet address that all parts of an interface have, where they have no own ones.
pub(crate) fn shared_mac(parent: &Parent) -> Result<Option<MacAddr>> {
    if !parent.shares_mac() {
        return Ok(None);
    }
    let link = Netlink::open().and_then(|mut netlink| netlink.link(&parent.name));
    let link = link.map_err(Error::netlink(format!("interface {}", parent.name)))?;
    Ok(link.and_then(|link| link.mac))
}

/// Gives a container its part of the parent.
pub(crate) fn plug(network: &Network, parent: &Parent, endpoint: &Endpoint) -> Result<()> {
    let failed = || Error::netlink(format!("attach {} to {}", endpoint.ifname, network.name));
    let Some(path) = endpoint.netns() else {
        return Err(unsupported_place(network));
    };
    let netns = netns::open(path)?;
    let mut netlink = Netlink::open().map_err(failed())?;
    let link = ensure_parent(&mut netlink, parent, network.mtu)?;
    let child = Child {
        parent: link.index,
        name: &endpoint.ifname,
        mac: (!parent.shares_mac()).then_some(endpoint.mac),
        netns: netns.as_fd(),
        mtu: network.mtu,
        mode: parent.mode,
        flag: parent.flag,
    };
    netlink.add_child(&child).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::Invalid(format!(
            "interface {} exists already in the container's namespace",
            endpoint.ifname
        )),
        io::ErrorKind::ResourceBusy => Error::Invalid(format!(
            "interface {} can't be shared: it is a bridge's port, or of another kind of network",
            parent.name
        )),
        io::ErrorKind::InvalidInput if parent.shares_mac() => Error::Invalid(format!(
            "interface {} can't be shared: another container has all of it, or its MTU is less \
             than {}",
            parent.name, network.mtu
        )),
        _ => unknown_kind(e, network.driver.as_str()),
    })?;
    let configured = netns::within(netns.as_fd(), || interface::configure_endpoint(endpoint));
    if configured.is_err() {
        // Already failing: the first error is the one to tell.
        let _ = unplug(endpoint);
    }
    configured.map_err(failed())
}

/// Takes a container's part away; one that has gone with its namespace is no error.
pub(crate) fn unplug(endpoint: &Endpoint) -> Result<()> {
    let Some(netns) = endpoint.netns().and_then(|path| netns::open(path).ok()) else {
        return Ok(());
    };
    netns::within(netns.as_fd(), || {
        Netlink::open()?.delete_link(&endpoint.ifname)
    })
    .map_err(Error::netlink(format!("detach {}", endpoint.ifname)))
}

/// Makes a part anew that has gone with its parent.
pub(crate) fn repair(network: &Network, parent: &Parent, endpoint: &Endpoint) -> Result<()> {
    let Some(path) = endpoint.netns() else {
        return Ok(());
    };
    let netns = netns::open(path)?;
    let there = netns::within(netns.as_fd(), || Netlink::open()?.link(&endpoint.ifname));
    match there.map_err(Error::netlink(format!("look for {}", endpoint.ifname)))? {
        Some(_) => Ok(()),
        None => plug(network, parent, endpoint),
    }
}

pub(crate) fn unsupported_place(network: &Network) -> Error {
    Error::Unsupported(format!(
        "a virtual machine on the {} network {}",
        network.driver.as_str(),
        network.name
    ))
}

/// Of an error that says that the kernel knows no such interfaces, says which.
fn unknown_kind(error: io::Error, what: &str) -> Error {
    let unsupported = error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error());
    if unsupported {
        return Error::Unsupported(format!("making {what} by this kernel"));
    }
    if is_absent(&error) {
        return Error::Netlink {
            what: format!("make {what}"),
            source: io::Error::new(error.kind(), "the parent or the namespace vanished"),
        };
    }
    Error::netlink(format!("make {what}"))(error)
}

/// Checks that a driver can do what is asked of an endpoint.
pub(crate) fn check_mac(network: &Network, wanted: Option<MacAddr>) -> Result<()> {
    match (&network.parent, wanted) {
        (Some(parent), Some(_)) if parent.shares_mac() => Err(Error::Unsupported(format!(
            "a MAC address on the {} network {}, whose interfaces share one,",
            match network.driver {
                Driver::Macvlan => "macvlan (passthru)",
                other => other.as_str(),
            },
            network.name
        ))),
        _ => Ok(()),
    }
}
