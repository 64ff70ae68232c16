//! A network: what it is, and how one is asked for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::driver::{
    Driver, OPTION_DEFAULT, OPTION_HOST_IP, OPTION_ICC, OPTION_MASQUERADE, OPTION_MTU, OPTION_NAME,
    OPTION_PREFIX, Options, Parent,
};
use crate::error::{Error, Result};
use crate::ipam::Ipam;
use crate::subnet::Subnet;

/// Name of the default network.
pub const DEFAULT_NETWORK: &str = "bridge";

/// Addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// All of them.
    pub subnet: Subnet,
    /// Those that are given out when none is asked for by name.
    #[serde(default)]
    pub range: Option<Subnet>,
    /// The bridge's own, or of a macvlan the router's.
    pub gateway: IpAddr,
    /// Those that nobody gets, by what they are for.
    #[serde(default)]
    pub reserved: BTreeMap<String, IpAddr>,
}

impl Pool {
    /// The bookkeeping of its addresses, with the bridge's own and the reserved ones taken.
    pub(crate) fn ipam(&self) -> Result<Ipam> {
        let mut ipam = Ipam::new(self.subnet, self.range)?;
        for ip in std::iter::once(&self.gateway).chain(self.reserved.values()) {
            ipam.reserve(*ip)?;
        }
        Ok(ipam)
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, unique.
    pub name: String,
    /// When it was made: nanoseconds since 1970, UTC.
    pub created: u64,
    /// What it is made of.
    #[serde(default)]
    pub driver: Driver,
    /// Name of its bridge; empty if it has none.
    pub bridge: String,
    /// The interface that its containers have parts of, if it has no bridge.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// IPv4 addresses, if it has IPv4. It has one of the two.
    pub ipv4: Option<Pool>,
    /// IPv6 addresses, if it has IPv6.
    pub ipv6: Option<Pool>,
    /// Whether it is cut off from all others, the host excepted.
    pub internal: bool,
    /// Whether it was asked for as one that containers may be attached to by hand. All may: it is
    /// only remembered.
    #[serde(default)]
    pub attachable: bool,
    /// Whether its containers reach each other.
    pub icc: bool,
    /// Whether what leaves it gets the host's address.
    pub masquerade: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Host address of published ports that ask for none.
    pub host_ip: Option<IpAddr>,
    /// The options that it was asked for with.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The user's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl Network {
    /// Its addresses, IPv4 first.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.ipv4.iter().chain(&self.ipv6)
    }

    /// Its gateway: the IPv4 one, where it has IPv4.
    #[must_use]
    pub fn gateway(&self) -> Option<IpAddr> {
        self.pools().map(|pool| pool.gateway).next()
    }

    /// The interface of the host's that is there for it alone, and is kept by us.
    pub(crate) fn own_link(&self) -> Option<&str> {
        match &self.parent {
            None => Some(&self.bridge),
            Some(parent) => parent.made.then_some(&parent.name),
        }
    }

    /// What its containers' interfaces are called, before a number: `eth`, unless the option
    /// `com.docker.network.container_iface_prefix` says otherwise.
    #[must_use]
    pub fn interface_prefix(&self) -> &str {
        let asked = self.options.get(OPTION_PREFIX).filter(|p| !p.is_empty());
        asked.map_or("eth", String::as_str)
    }

    /// Whether these addresses may be asked for on it.
    ///
    /// # Errors
    /// `AddressOutside` if they aren't the network's, `AddressInUse` for its gateway and those that
    /// are reserved.
    pub fn owns(&self, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Result<()> {
        let owns = |ip: Option<IpAddr>, pool: &Option<Pool>| match (ip, pool) {
            (Some(ip), Some(pool)) => pool.ipam()?.reserve(ip),
            (Some(ip), None) => Err(Error::AddressOutside(ip)),
            (None, _) => Ok(()),
        };
        owns(ipv4.map(IpAddr::V4), &self.ipv4)?;
        owns(ipv6.map(IpAddr::V6), &self.ipv6)
    }

    /// Whether it is the default network.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT_NETWORK
    }

    /// What it shows as its options: for the default network, how it is configured, as Docker does.
    #[must_use]
    pub fn docker_options(&self) -> BTreeMap<String, String> {
        if !self.is_default() {
            return self.options.clone();
        }
        let host_ip = self
            .host_ip
            .map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
        [
            (OPTION_DEFAULT, "true".to_owned()),
            (OPTION_ICC, self.icc.to_string()),
            (OPTION_MASQUERADE, self.masquerade.to_string()),
            (OPTION_HOST_IP, host_ip),
            (OPTION_NAME, self.bridge.clone()),
            (OPTION_MTU, self.mtu.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// Addresses that are asked for.
#[derive(Debug, Clone, Default)]
pub struct PoolSpec {
    /// The subnet; else the next free one of the default pools.
    pub subnet: Option<Subnet>,
    /// The part of it that addresses are given out of.
    pub range: Option<Subnet>,
    /// The bridge's own address, or of a macvlan the router's; else the first.
    pub gateway: Option<IpAddr>,
    /// Addresses that nobody gets.
    pub reserved: BTreeMap<String, IpAddr>,
}

/// A network that is asked for.
#[derive(Debug, Clone)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub driver: Driver,
    /// IPv4 addresses, if it shall have IPv4.
    pub ipv4: Option<PoolSpec>,
    /// IPv6 addresses, if it shall have IPv6.
    pub ipv6: Option<PoolSpec>,
    /// Whether it is cut off from all others, the host excepted.
    pub internal: bool,
    /// Whether containers may be attached by hand: only remembered.
    pub attachable: bool,
    /// Driver options (`com.docker.network.…`, `parent`, `macvlan_mode`, `ipvlan_mode`,
    /// `ipvlan_flag`); one that the driver doesn't know is refused.
    pub options: BTreeMap<String, String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
}

impl Default for NetworkSpec {
    /// A bridge with IPv4.
    fn default() -> Self {
        Self {
            name: String::new(),
            driver: Driver::default(),
            ipv4: Some(PoolSpec::default()),
            ipv6: None,
            internal: false,
            attachable: false,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

impl NetworkSpec {
    /// Checks the name and reads the options.
    pub(crate) fn check(&self) -> Result<Options> {
        let name = &self.name;
        // Docker takes all but blank names. Nothing is named after it outside of our own state.
        let valid = !name.is_empty()
            && name.trim() == name
            && !name.chars().any(|c| c.is_control() || c == '/')
            && name.len() <= 255;
        if !valid {
            return Err(Error::Invalid(format!(
                "invalid network name {name:?}: it must not be empty, longer than 255 bytes, begin \
                 or end with white space, nor have slashes or control characters"
            )));
        }
        if matches!(name.as_str(), "host" | "none" | "default" | "container")
            || name.starts_with("container:")
        {
            return Err(Error::Invalid(format!(
                "operation is not permitted on predefined {name} network"
            )));
        }
        if self.ipv4.is_none() && self.ipv6.is_none() {
            return Err(Error::invalid("IPv4 or IPv6 must be enabled"));
        }
        Options::read(self.driver, &self.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> NetworkSpec {
        NetworkSpec {
            name: name.to_owned(),
            ..NetworkSpec::default()
        }
    }

    #[test]
    fn names_are_checked() {
        let long = "x".repeat(256);
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "a/b",
            "host",
            "none",
            "a\n",
            "a\0b",
            "container:x",
            &long,
        ] {
            assert!(spec(bad).check().is_err(), "{bad:?}");
        }
        for good in ["a_b.c-1", "test 01", "-a", "ä"] {
            assert!(spec(good).check().is_ok(), "{good:?}");
        }
    }
}
