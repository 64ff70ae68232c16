//! What a network is made of, and the options of each kind.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::check_mtu;
use crate::error::{Error, Result};
use crate::ifname::check_ifname;

pub(crate) const OPTION_NAME: &str = "com.docker.network.bridge.name";
pub(crate) const OPTION_ICC: &str = "com.docker.network.bridge.enable_icc";
pub(crate) const OPTION_MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
pub(crate) const OPTION_HOST_IP: &str = "com.docker.network.bridge.host_binding_ipv4";
pub(crate) const OPTION_DEFAULT: &str = "com.docker.network.bridge.default_bridge";
pub(crate) const OPTION_MTU: &str = "com.docker.network.driver.mtu";
pub(crate) const OPTION_PREFIX: &str = "com.docker.network.container_iface_prefix";
const OPTION_PARENT: &str = "parent";
const OPTION_MACVLAN_MODE: &str = "macvlan_mode";
const OPTION_IPVLAN_MODE: &str = "ipvlan_mode";
const OPTION_IPVLAN_FLAG: &str = "ipvlan_flag";

/// What a network is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of its own.
    #[default]
    Bridge,
    /// An interface of the host, of which each container gets a part with an Ethernet address of
    /// its own.
    Macvlan,
    /// The same, with the Ethernet address of the host's interface.
    Ipvlan,
}

impl Driver {
    /// `bridge`, `macvlan` or `ipvlan`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
        }
    }

    /// The driver of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Bridge, Self::Macvlan, Self::Ipvlan]
            .into_iter()
            .find(|d| d.as_str() == name)
    }
}

/// How the parts of an interface see each other and the world beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// macvlan: parts reach each other directly.
    Bridge,
    /// macvlan: parts don't reach each other.
    Private,
    /// macvlan: parts reach each other by a switch beyond that sends back what comes from there.
    Vepa,
    /// macvlan: the only part gets all.
    Passthru,
    /// ipvlan: as on one Ethernet.
    L2,
    /// ipvlan: routed by the host's interface; no broadcasts.
    L3,
    /// ipvlan: the same, seen by the host's firewall.
    L3s,
}

/// How the parts of an ipvlan see each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flag {
    /// They reach each other directly.
    #[default]
    Bridge,
    /// They don't.
    Private,
    /// They do by a switch beyond.
    Vepa,
}

/// The host's interface that a macvlan or ipvlan network's containers get parts of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its name.
    pub name: String,
    /// Whether it was made for the network, and goes with it.
    pub made: bool,
    /// How its parts see each other and the world.
    pub mode: Mode,
    /// How the parts of an ipvlan see each other.
    #[serde(default)]
    pub flag: Flag,
}

impl Parent {
    /// Whether its parts have its Ethernet address.
    pub(crate) fn shares_mac(&self) -> bool {
        matches!(self.mode, Mode::Passthru | Mode::L2 | Mode::L3 | Mode::L3s)
    }

    /// Whether there are no next hops: it routes itself.
    pub(crate) fn routes(&self) -> bool {
        matches!(self.mode, Mode::L3 | Mode::L3s)
    }

    /// Of `eth0.50`, `eth0` and 50: a VLAN that can be made (IEEE 802.1Q, 9.6: from 1 to 4094).
    pub(crate) fn vlan(&self) -> Option<(&str, u16)> {
        let (base, id) = self.name.rsplit_once('.')?;
        let id = id.parse().ok().filter(|id| (1..=4094).contains(id))?;
        Some((base, id))
    }
}

/// What the driver options of a network say.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) bridge: Option<String>,
    pub(crate) icc: bool,
    pub(crate) masquerade: bool,
    pub(crate) host_ip: Option<IpAddr>,
    pub(crate) mtu: Option<u32>,
    pub(crate) parent: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) flag: Flag,
}

impl Options {
    /// Reads options; one that the driver doesn't know is refused.
    pub(crate) fn read(driver: Driver, options: &BTreeMap<String, String>) -> Result<Self> {
        let mut read = Self {
            bridge: None,
            icc: true,
            masquerade: true,
            host_ip: None,
            mtu: None,
            parent: None,
            mode: match driver {
                Driver::Ipvlan => Mode::L2,
                _ => Mode::Bridge,
            },
            flag: Flag::default(),
        };
        for (key, value) in options {
            let bad =
                || Error::Invalid(format!("invalid value {value:?} for network option {key}"));
            match (driver, key.as_str()) {
                (Driver::Bridge, OPTION_NAME) => {
                    check_ifname(value)?;
                    read.bridge = Some(value.clone());
                }
                (Driver::Bridge, OPTION_ICC) => read.icc = parse_bool(value).ok_or_else(bad)?,
                (Driver::Bridge, OPTION_MASQUERADE) => {
                    read.masquerade = parse_bool(value).ok_or_else(bad)?;
                }
                (Driver::Bridge, OPTION_HOST_IP) => {
                    read.host_ip = Some(value.parse().map_err(|_| bad())?);
                }
                (_, OPTION_MTU) => {
                    let mtu = value.parse().map_err(|_| bad())?;
                    check_mtu(mtu)?;
                    read.mtu = Some(mtu);
                }
                // A number comes after it.
                (_, OPTION_PREFIX) => check_ifname(&format!("{value}000"))?,
                (Driver::Macvlan | Driver::Ipvlan, OPTION_PARENT) => {
                    check_ifname(value)?;
                    if value == "lo" {
                        return Err(Error::invalid(
                            "the loopback interface can't be the parent of a network",
                        ));
                    }
                    read.parent = Some(value.clone());
                }
                (Driver::Macvlan, OPTION_MACVLAN_MODE) => {
                    read.mode = match value.as_str() {
                        "" | "bridge" => Mode::Bridge,
                        "private" => Mode::Private,
                        "vepa" => Mode::Vepa,
                        "passthru" => Mode::Passthru,
                        _ => return Err(bad()),
                    }
                }
                (Driver::Ipvlan, OPTION_IPVLAN_MODE) => {
                    read.mode = match value.as_str() {
                        "" | "l2" => Mode::L2,
                        "l3" => Mode::L3,
                        "l3s" => Mode::L3s,
                        _ => return Err(bad()),
                    }
                }
                (Driver::Ipvlan, OPTION_IPVLAN_FLAG) => {
                    read.flag = match value.as_str() {
                        "" | "bridge" => Flag::Bridge,
                        "private" => Flag::Private,
                        "vepa" => Flag::Vepa,
                        _ => return Err(bad()),
                    }
                }
                _ => {
                    let driver = driver.as_str();
                    return Err(Error::Unsupported(format!(
                        "network option {key} (driver {driver})"
                    )));
                }
            }
        }
        Ok(read)
    }
}

/// What Go's `strconv.ParseBool` takes.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(driver: Driver, options: &[(&str, &str)]) -> Result<Options> {
        let options = options.iter();
        let options = options.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Options::read(driver, &options.collect())
    }

    #[test]
    fn options_are_read_or_refused_by_name() {
        let options = [(OPTION_ICC, "False"), (OPTION_MTU, "1400")];
        let options = read(Driver::Bridge, &options).unwrap();
        assert!(!options.icc && options.masquerade);
        assert_eq!(options.mtu, Some(1400));
        for (driver, key, value) in [
            (Driver::Bridge, OPTION_ICC, "maybe"),
            (Driver::Bridge, OPTION_MTU, "1"),
            (Driver::Bridge, OPTION_NAME, "a b"),
            (Driver::Bridge, OPTION_HOST_IP, "x"),
            (Driver::Bridge, OPTION_PREFIX, "much-too-long"),
            (Driver::Bridge, OPTION_PARENT, "eth0"),
            (Driver::Macvlan, OPTION_PARENT, "lo"),
            (Driver::Macvlan, OPTION_PARENT, "a/b"),
            (Driver::Macvlan, OPTION_MACVLAN_MODE, "l2"),
            (Driver::Macvlan, OPTION_ICC, "true"),
            (Driver::Macvlan, OPTION_IPVLAN_MODE, "l2"),
            (Driver::Ipvlan, OPTION_IPVLAN_MODE, "bridge"),
            (Driver::Ipvlan, OPTION_IPVLAN_FLAG, "l3"),
        ] {
            assert!(read(driver, &[(key, value)]).is_err(), "{key}={value}");
        }
        let unknown = "com.docker.network.bridge.trusted_host_interfaces";
        let error = read(Driver::Bridge, &[(unknown, "x")]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(unknown) && text.ends_with("is not supported"),
            "{text}"
        );
    }

    #[test]
    fn modes_have_their_defaults() {
        let mode = |driver, options: &[_]| read(driver, options).unwrap().mode;
        assert_eq!(mode(Driver::Macvlan, &[]), Mode::Bridge);
        assert_eq!(mode(Driver::Ipvlan, &[]), Mode::L2);
        assert_eq!(
            mode(Driver::Ipvlan, &[(OPTION_IPVLAN_MODE, "l3s")]),
            Mode::L3s
        );
        let passthru = [(OPTION_MACVLAN_MODE, "passthru"), (OPTION_PARENT, "eth0.5")];
        assert_eq!(mode(Driver::Macvlan, &passthru), Mode::Passthru);
    }

    #[test]
    fn vlans_are_told_by_name() {
        let vlan = |name: &str| {
            let parent = Parent {
                name: name.into(),
                made: true,
                mode: Mode::Bridge,
                flag: Flag::Bridge,
            };
            parent.vlan().map(|(base, id)| (base.to_owned(), id))
        };
        assert_eq!(vlan("eth0.50"), Some(("eth0".into(), 50)));
        assert_eq!(vlan("eth0.1.4094"), Some(("eth0.1".into(), 4094)));
        for none in ["eth0", "eth0.0", "eth0.4095", "eth0.x", "dm-12"] {
            assert_eq!(vlan(none), None);
        }
    }
}
