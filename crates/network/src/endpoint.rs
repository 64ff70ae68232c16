//! A container's place in a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::mac::MacAddr;
use crate::subnet::Subnet;

/// What is asked for when a container is attached to a network.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Whose it is: opaque, one endpoint per id and network.
    pub id: String,
    /// The network's id.
    pub network: String,
    /// Name of the interface in the namespace: `eth0`.
    pub ifname: String,
    /// A certain IPv4 address, or the next free one.
    pub ipv4: Option<Ipv4Addr>,
    /// A certain IPv6 address, or the next free one if the network has IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// A certain Ethernet address, or the one that follows from the IPv4 address.
    pub mac: Option<MacAddr>,
    /// Names by which the others of the network find it.
    pub aliases: Vec<String>,
    /// Whether the namespace's default route leads here.
    pub default_route: bool,
}

impl EndpointConfig {
    /// `eth0` with the default route and everything else chosen by the network.
    #[must_use]
    pub fn new(id: impl Into<String>, network: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            network: network.into(),
            ifname: "eth0".to_owned(),
            ipv4: None,
            ipv6: None,
            mac: None,
            aliases: Vec::new(),
            default_route: true,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.id.is_empty() || self.id.len() > 255 {
            return Err(Error::invalid(
                "an endpoint needs an id of at most 255 bytes",
            ));
        }
        check_ifname(&self.ifname)?;
        match self.mac {
            Some(mac) if !mac.is_unicast() => Err(Error::Invalid(format!(
                "MAC address {mac} is not a unicast address"
            ))),
            _ => Ok(()),
        }
    }
}

/// An address with what a configuration of it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The address.
    pub ip: IpAddr,
    /// The network's subnet, which it is of.
    pub subnet: Subnet,
    /// The network's gateway; none in an internal network.
    pub gateway: Option<IpAddr>,
}

impl Assigned {
    /// Bits of the network part.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.subnet.prefix()
    }
}

/// A container's place in a network, as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Whose it is.
    pub id: String,
    /// The network's id.
    pub network: String,
    /// File of the namespace.
    pub netns: PathBuf,
    /// Name of the interface in the namespace.
    pub ifname: String,
    /// Name of its other end, a port of the bridge.
    pub host_ifname: String,
    /// Ethernet address of the interface in the namespace.
    pub mac: MacAddr,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// IPv4 address.
    pub ipv4: Option<Assigned>,
    /// IPv6 address, if the network has IPv6.
    pub ipv6: Option<Assigned>,
    /// Names by which the others of the network find it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whether the namespace's default route leads here.
    pub default_route: bool,
}

impl Endpoint {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = &Assigned> {
        self.ipv4.iter().chain(&self.ipv6)
    }

    /// Its IPv4 address.
    #[must_use]
    pub fn ip4(&self) -> Option<IpAddr> {
        self.ipv4.as_ref().map(|a| a.ip)
    }

    /// Its IPv6 address.
    #[must_use]
    pub fn ip6(&self) -> Option<IpAddr> {
        self.ipv6.as_ref().map(|a| a.ip)
    }
}

/// Checks a name of an interface: what the kernel takes, without what `nft` reads as a pattern.
pub(crate) fn check_ifname(name: &str) -> Result<()> {
    let valid = (1..=15).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && name.bytes().any(|b| b.is_ascii_alphanumeric())
        && !name.starts_with(['-', '.']);
    if valid {
        Ok(())
    } else {
        Err(Error::Invalid(format!(
            "invalid interface name {name:?}: 1 to 15 letters, digits, '.', '_' and '-'"
        )))
    }
}
