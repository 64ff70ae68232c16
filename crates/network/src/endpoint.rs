//! A container's place in a network.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ifname::check_ifname;
use crate::interface::{Interface, Route};
use crate::mac::MacAddr;
use crate::subnet::Subnet;

const OPTION_IFNAME: &str = "com.docker.network.endpoint.ifname";
const OPTION_SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// A kernel setting of one interface, as Docker writes it: `net.ipv4.conf.IFNAME.log_martians=1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceSysctl {
    /// `ipv4/conf`, `ipv6/neigh` …
    group: String,
    /// `log_martians`.
    name: String,
    value: String,
}

impl InterfaceSysctl {
    /// Where it is below `/proc/sys/net`, for an interface.
    pub(crate) fn path(&self, ifname: &str) -> String {
        format!("{}/{ifname}/{}", self.group, self.name)
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for InterfaceSysctl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::Invalid(format!(
                "invalid setting {text:?} of an interface: want net.ipv4.conf.IFNAME.name=value \
                 (or ipv6, or neigh), with IFNAME as it stands"
            ))
        };
        let (key, value) = text.split_once('=').ok_or_else(bad)?;
        let parts: Vec<&str> = key.split('.').collect();
        let [
            "net",
            family @ ("ipv4" | "ipv6"),
            group @ ("conf" | "neigh"),
            "IFNAME",
            name,
        ] = parts[..]
        else {
            return Err(bad());
        };
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"_-:".contains(&c);
        let valid = !name.is_empty()
            && name.bytes().all(|c| c.is_ascii_lowercase() || plain(c))
            && (1..=64).contains(&value.len())
            && value.bytes().all(plain);
        if !valid {
            return Err(bad());
        }
        Ok(Self {
            group: format!("{family}/{group}"),
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// What is asked for when a container is attached to a network.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Whose it is: opaque, one endpoint per id and network.
    pub id: String,
    /// The network's id.
    pub network: String,
    /// Name of the interface in the namespace or the machine: `eth0`.
    pub ifname: String,
    /// A certain IPv4 address, or the next free one.
    pub ipv4: Option<Ipv4Addr>,
    /// A certain IPv6 address, or the next free one if the network has IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// Further addresses, which are the link's alone.
    pub link_local: Vec<IpAddr>,
    /// A certain Ethernet address, or the one that follows from the IPv4 address.
    pub mac: Option<MacAddr>,
    /// Names by which the others of the network find it.
    pub aliases: Vec<String>,
    /// Whether the default route may lead here.
    pub default_route: bool,
    /// Of a container's networks that the default route may lead to, the one of the highest
    /// priority gets it (`gw-priority`); of equal ones, the one whose name comes first.
    pub gateway_priority: i64,
    /// Kernel settings of the interface.
    pub sysctls: Vec<InterfaceSysctl>,
}

impl EndpointConfig {
    /// `eth0`, maybe with the default route, and everything else chosen by the network.
    #[must_use]
    pub fn new(id: impl Into<String>, network: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            network: network.into(),
            ifname: "eth0".to_owned(),
            ipv4: None,
            ipv6: None,
            link_local: Vec::new(),
            mac: None,
            aliases: Vec::new(),
            default_route: true,
            gateway_priority: 0,
            sysctls: Vec::new(),
        }
    }

    /// Takes Docker's options of an endpoint: `com.docker.network.endpoint.ifname` and
    /// `com.docker.network.endpoint.sysctls`.
    ///
    /// # Errors
    /// `Unsupported` for any other one, `Invalid` for a bad value.
    pub fn set_options(&mut self, options: &BTreeMap<String, String>) -> Result<()> {
        for (key, value) in options {
            match key.as_str() {
                OPTION_IFNAME => {
                    check_ifname(value)?;
                    self.ifname.clone_from(value);
                }
                OPTION_SYSCTLS => {
                    let settings = value.split(',').map(str::trim).filter(|s| !s.is_empty());
                    self.sysctls = settings.map(str::parse).collect::<Result<_>>()?;
                }
                _ => return Err(Error::Unsupported(format!("network endpoint option {key}"))),
            }
        }
        Ok(())
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

/// Where an endpoint's interface is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the network namespace that this file is.
    #[serde(rename = "netns")]
    Namespace(PathBuf),
    /// In a machine: its other end is the process that opens the tap (see [`crate::tap::open`]).
    #[serde(rename = "machine")]
    Machine(TapOwner),
}

/// Who may open a tap without the privilege to administer networks, by user and group id. With
/// neither, nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapOwner {
    /// This user.
    pub uid: Option<u32>,
    /// This group.
    pub gid: Option<u32>,
}

impl Place {
    /// In a machine whose tap is opened by a privileged process.
    #[must_use]
    pub fn machine() -> Self {
        Self::Machine(TapOwner::default())
    }
}

impl<P: Into<PathBuf>> From<P> for Place {
    fn from(path: P) -> Self {
        Self::Namespace(path.into())
    }
}

/// An address with what a configuration of it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The address.
    pub ip: IpAddr,
    /// The network's subnet, which it is of.
    pub subnet: Subnet,
    /// The network's gateway; none in an internal or routed network.
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
    /// Where its interface is.
    #[serde(flatten)]
    pub place: Place,
    /// Name of the interface in the namespace or the machine.
    pub ifname: String,
    /// Name of its other end, a port of the bridge: of the veth pair's outer end, or of the tap.
    /// Empty on a network without a bridge.
    pub host_ifname: String,
    /// Ethernet address of the interface in the namespace or the machine.
    pub mac: MacAddr,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// IPv4 address.
    pub ipv4: Option<Assigned>,
    /// IPv6 address, if the network has IPv6.
    pub ipv6: Option<Assigned>,
    /// Further addresses, which are the link's alone.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// Names by which the others of the network find it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whether the default route may lead here.
    pub default_route: bool,
    /// The highest one of a container's endpoints gets the default route.
    #[serde(default)]
    pub gateway_priority: i64,
    /// Kernel settings of the interface.
    #[serde(default)]
    pub sysctls: Vec<InterfaceSysctl>,
    /// Whether default routes lead right to the link: it has no next hop (ipvlan in a routed mode).
    #[serde(default)]
    pub routed: bool,
    /// Whether the IPv4 default route leads here.
    #[serde(default)]
    pub leads4: bool,
    /// Whether the IPv6 default route leads here.
    #[serde(default)]
    pub leads6: bool,
}

impl Endpoint {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = &Assigned> {
        self.ipv4.iter().chain(&self.ipv6)
    }

    /// File of the namespace that its interface is in, if it isn't in a machine.
    #[must_use]
    pub fn netns(&self) -> Option<&Path> {
        match &self.place {
            Place::Namespace(path) => Some(path),
            Place::Machine(_) => None,
        }
    }

    /// How its interface is to be: what a machine has to be told.
    #[must_use]
    pub fn interface(&self) -> Interface {
        let (mut gateway4, mut gateway6) = (None, None);
        for gateway in self.addresses().filter_map(|a| a.gateway) {
            match gateway {
                IpAddr::V4(ip) => gateway4 = self.leads4.then_some(ip),
                IpAddr::V6(ip) => gateway6 = self.leads6.then_some(ip),
            }
        }
        let everywhere = self.addresses().filter(|a| match a.ip {
            IpAddr::V4(_) => self.routed && self.leads4,
            IpAddr::V6(_) => self.routed && self.leads6,
        });
        let routes = everywhere.filter_map(|a| {
            Some(Route {
                destination: Subnet::containing(a.ip, 0).ok()?,
                gateway: None,
            })
        });
        let addresses = self.addresses().map(|a| (a.ip, a.prefix()));
        let link_local = self.link_local.iter().map(|ip| (*ip, link_prefix(*ip)));
        Interface {
            mac: self.mac,
            name: self.ifname.clone(),
            mtu: self.mtu,
            addresses: addresses.chain(link_local).collect(),
            gateway4,
            gateway6,
            routes: routes.collect(),
        }
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

/// Bits of the network part of a link-local address (RFC 3927, RFC 4291).
fn link_prefix(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 16,
        IpAddr::V6(_) => 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_by_name() {
        let read = |key: &str, value: &str| {
            let mut config = EndpointConfig::new("a", "n");
            let options = [(key.to_owned(), value.to_owned())].into();
            config.set_options(&options).map(|()| config)
        };
        assert_eq!(read(OPTION_IFNAME, "net0").unwrap().ifname, "net0");
        let text = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.IFNAME.gc_stale_time=9";
        let sysctls = read(OPTION_SYSCTLS, text).unwrap().sysctls;
        assert_eq!(sysctls.len(), 2);
        assert_eq!(sysctls[1].path("eth7"), "ipv6/neigh/eth7/gc_stale_time");
        for bad in [
            "net.ipv4.conf.eth0.log_martians=1",
            "net.ipv4.conf.IFNAME.log_martians",
            "net.ipv4.conf.IFNAME.=1",
            "net.ipv4.conf.IFNAME.a/../b=1",
            "net.ipv4.conf.IFNAME.a=1\n2",
            "net.ipv4.conf.IFNAME.a.b=1",
            "kernel.x.conf.IFNAME.y=1",
        ] {
            assert!(read(OPTION_SYSCTLS, bad).is_err(), "{bad}");
        }
        let error = read("com.example.x", "1").unwrap_err().to_string();
        assert_eq!(
            error,
            "network endpoint option com.example.x is not supported"
        );
    }

    #[test]
    fn places_are_kept_under_their_own_names() {
        let container = r#"{"id":"a","network":"n","netns":"/run/a","ifname":"eth0",
            "host_ifname":"veth1","mac":"02:42:ac:11:00:02","mtu":1500,"ipv4":null,"ipv6":null,
            "default_route":true}"#;
        let endpoint: Endpoint = serde_json::from_str(container).unwrap();
        assert_eq!(endpoint.netns(), Some(Path::new("/run/a")));
        let machine = Endpoint {
            place: Place::machine(),
            ..endpoint
        };
        let text = serde_json::to_string(&machine).unwrap();
        assert!(text.contains("\"machine\":{"), "{text}");
        assert_eq!(serde_json::from_str::<Endpoint>(&text).unwrap(), machine);
    }
}
