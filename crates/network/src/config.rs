//! How a daemon wants its networks.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::ifname::check_ifname;
use crate::subnet::{Subnet, parse_interface_address};

/// Subnets for networks that ask for none: `base` cut into parts of `size` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPool {
    /// What is cut up.
    pub base: Subnet,
    /// Prefix length of each part.
    pub size: u8,
}

/// How a daemon wants its networks. The names are those of dockerd's flags, where it has one.
#[derive(Debug, Clone)]
pub struct Config {
    /// Tells apart daemons that share a network namespace: the name of the nftables table is
    /// `coracle-<instance>`.
    pub instance: String,
    /// Name of the default network's bridge (`--bridge`).
    pub bridge: String,
    /// The default bridge's address with its prefix length (`--bip`); else from the pools.
    pub bip: Option<String>,
    /// The part of the default subnet that addresses are given out of (`--fixed-cidr`).
    pub fixed_cidr: Option<Subnet>,
    /// Whether the default network has IPv6 (`--ipv6`).
    pub ipv6: bool,
    /// Its IPv6 subnet (`--fixed-cidr-v6`); else from the pools.
    pub fixed_cidr_v6: Option<Subnet>,
    /// Where networks get their subnets from (`--default-address-pool`). If none of them is an IPv6
    /// one, IPv6 subnets are random unique local ones (RFC 4193).
    pub pools: Vec<AddressPool>,
    /// Largest packet in bytes (`--mtu`).
    pub mtu: u32,
    /// Whether containers of the default network reach each other (`--icc`).
    pub icc: bool,
    /// Whether what leaves the default network gets the host's address (`--ip-masq`).
    pub ip_masq: bool,
    /// Whether forwarding is enabled in the kernel (`--ip-forward`).
    pub ip_forward: bool,
    /// Whether a proxy serves published ports where the firewall can't (`--userland-proxy`).
    pub userland_proxy: bool,
    /// Whether firewall rules are made (`--iptables`).
    pub firewall: bool,
    /// Whether the host's interfaces are out of reach, because the daemon runs in a namespace of
    /// its own: macvlan and ipvlan networks are refused.
    pub rootless: bool,
    /// Host address of published ports that ask for none (`--ip`); `None`: all, IPv4 and IPv6.
    pub default_host_ip: Option<IpAddr>,
    /// The `nft` program; looked up in `PATH` and `/usr/sbin` if it has no slash.
    pub nft: PathBuf,
    /// Directory of what must survive a reboot: the networks.
    pub state_dir: PathBuf,
    /// Directory of what needn't: endpoints and published ports. Best on a tmpfs.
    pub run_dir: PathBuf,
}

impl Config {
    /// Docker's defaults.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            instance: "default".to_owned(),
            bridge: "coracle0".to_owned(),
            bip: None,
            fixed_cidr: None,
            ipv6: false,
            fixed_cidr_v6: None,
            pools: default_pools(),
            mtu: 1500,
            icc: true,
            ip_masq: true,
            ip_forward: true,
            userland_proxy: true,
            firewall: true,
            rootless: false,
            default_host_ip: None,
            nft: PathBuf::from("nft"),
            state_dir: state_dir.into(),
            run_dir: run_dir.into(),
        }
    }

    /// Name of our table: no other is ever touched.
    pub(crate) fn table(&self) -> String {
        format!("coracle-{}", self.instance)
    }

    pub(crate) fn default_address(&self) -> Result<Option<(IpAddr, Subnet)>> {
        let Some(text) = &self.bip else {
            return Ok(None);
        };
        let (ip, subnet) = parse_interface_address(text)?;
        if !ip.is_ipv4() {
            return Err(Error::Invalid(format!("--bip {text}: not an IPv4 address")));
        }
        Ok(Some((ip, subnet)))
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_ifname(&self.bridge)?;
        check_mtu(self.mtu)?;
        let instance = &self.instance;
        let valid = (1..=64).contains(&instance.len())
            && instance
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !valid {
            return Err(Error::Invalid(format!(
                "invalid instance name {instance:?}: 1 to 64 letters, digits, '.', '_' and '-'"
            )));
        }
        for pool in &self.pools {
            let (length, width) = (
                pool.base.prefix(),
                if pool.base.is_ipv4() { 32 } else { 128 },
            );
            if !(length..width).contains(&pool.size) {
                return Err(Error::Invalid(format!(
                    "default address pool {}: size must be from {length} to {}",
                    pool.base,
                    width - 1
                )));
            }
        }
        self.default_address().map(drop)
    }
}

/// Checks a largest packet: IPv4 needs 68 bytes (RFC 791), an interface takes 65535.
pub(crate) fn check_mtu(mtu: u32) -> Result<()> {
    if (68..=65535).contains(&mtu) {
        Ok(())
    } else {
        Err(Error::Invalid(format!(
            "invalid MTU {mtu}: from 68 to 65535"
        )))
    }
}

/// The subnets that Docker uses by default.
#[must_use]
pub fn default_pools() -> Vec<AddressPool> {
    const POOLS: [(&str, u8); 7] = [
        ("172.17.0.0/16", 16),
        ("172.18.0.0/16", 16),
        ("172.19.0.0/16", 16),
        ("172.20.0.0/14", 16),
        ("172.24.0.0/14", 16),
        ("172.28.0.0/14", 16),
        ("192.168.0.0/16", 20),
    ];
    let parse = |(base, size): &(&str, u8)| {
        Some(AddressPool {
            base: base.parse().ok()?,
            size: *size,
        })
    };
    POOLS.iter().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(default_pools().len(), 7);
        Config::new("/a", "/b").check().unwrap();
    }

    #[test]
    fn refuses_bad_values() {
        let config = || Config::new("/a", "/b");
        for bad in [
            Config {
                bridge: "a/b".into(),
                ..config()
            },
            Config {
                bridge: "x".repeat(16),
                ..config()
            },
            Config {
                bridge: "all*".into(),
                ..config()
            },
            Config {
                instance: "a b".into(),
                ..config()
            },
            Config {
                mtu: 10,
                ..config()
            },
            Config {
                bip: Some("10.0.0.1".into()),
                ..config()
            },
            Config {
                bip: Some("fd00::1/64".into()),
                ..config()
            },
            Config {
                pools: vec![AddressPool {
                    base: "10.0.0.0/8".parse().unwrap(),
                    size: 4,
                }],
                ..config()
            },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
