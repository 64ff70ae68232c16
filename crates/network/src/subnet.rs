//! A range of addresses: `172.17.0.0/16`, `fd00::/64`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A subnet, always without host bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The subnet of `prefix` bits that `ip` is in.
    ///
    /// # Errors
    /// `Invalid` if the prefix is longer than the address.
    pub fn containing(ip: IpAddr, prefix: u8) -> Result<Self, Error> {
        if prefix > width(ip) {
            return Err(Error::invalid(format!(
                "invalid prefix length in {ip}/{prefix}"
            )));
        }
        let network = from_number(number(ip) & !host_mask(width(ip), prefix), ip.is_ipv4());
        Ok(Self { network, prefix })
    }

    /// The lowest address of it.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// The highest address of it: the broadcast address in IPv4.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        let mask = host_mask(width(self.network), self.prefix);
        from_number(number(self.network) | mask, self.is_ipv4())
    }

    /// Bits of the network part.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether it is an IPv4 one.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.network.is_ipv4()
    }

    /// Whether `ip` is in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.is_ipv4()
            && (number(self.network)..=number(self.last())).contains(&number(ip))
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub fn contains_subnet(&self, other: &Self) -> bool {
        self.contains(other.network) && self.contains(other.last())
    }

    /// Whether an address is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// The lowest and highest address that a host may have, as numbers.
    pub(crate) fn usable(&self) -> (u128, u128) {
        let (low, high) = (number(self.network), number(self.last()));
        match width(self.network) - self.prefix {
            // RFC 3021: both addresses of a /31 are hosts; so is the one of a /32.
            0 | 1 => (low, high),
            _ if self.is_ipv4() => (low + 1, high - 1),
            // The lowest one is the routers' anycast address (RFC 4291, 2.6.1).
            _ => (low + 1, high),
        }
    }

    /// Its parts of `prefix` bits each, in order.
    pub(crate) fn parts(self, prefix: u8) -> impl Iterator<Item = Self> {
        let bits = width(self.network);
        let valid = prefix >= self.prefix && prefix <= bits;
        // None: there is but one part.
        let step = if valid {
            host_mask(bits, prefix).checked_add(1)
        } else {
            None
        };
        let (low, high) = (number(self.network), number(self.last()));
        let mut next = valid.then_some(low);
        std::iter::from_fn(move || {
            let current = next?;
            next = step
                .and_then(|step| current.checked_add(step))
                .filter(|n| *n <= high);
            Some(Self {
                network: from_number(current, self.is_ipv4()),
                prefix,
            })
        })
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn host_mask(width: u8, prefix: u8) -> u128 {
    match u32::from(width - prefix) {
        0 => 0,
        bits => u128::MAX >> (128 - bits),
    }
}

/// An address as a number.
pub(crate) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The address of a number; the upper bits of one that is too long for IPv4 are dropped.
pub(crate) fn from_number(number: u128, ipv4: bool) -> IpAddr {
    if ipv4 {
        IpAddr::V4(Ipv4Addr::from((number & u128::from(u32::MAX)) as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from(number))
    }
}

/// An address with its prefix length, as `--bip` takes it: `192.168.5.1/24`.
///
/// # Errors
/// `Invalid` if it isn't one.
pub fn parse_interface_address(text: &str) -> Result<(IpAddr, Subnet), Error> {
    let bad = || Error::invalid(format!("invalid CIDR address: {text}"));
    let (ip, prefix) = text.split_once('/').ok_or_else(bad)?;
    let ip: IpAddr = ip.parse().map_err(|_| bad())?;
    if prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let subnet = Subnet::containing(ip, prefix.parse().map_err(|_| bad())?).map_err(|_| bad())?;
    Ok((ip, subnet))
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse_interface_address(text).map(|(_, subnet)| subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn parses_and_drops_host_bits() {
        assert_eq!(subnet("172.17.0.1/16").to_string(), "172.17.0.0/16");
        assert_eq!(subnet("fd00::1/64").to_string(), "fd00::/64");
        assert_eq!(
            subnet("0.0.0.0/0").last(),
            IpAddr::from([255, 255, 255, 255])
        );
        for bad in [
            "",
            "1.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/+8",
            "fd00::/129",
            "x/8",
            "1.2.3.4/",
            "::/999",
        ] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_and_overlap() {
        let parts: Vec<_> = subnet("172.20.0.0/14")
            .parts(16)
            .map(|s| s.to_string())
            .collect();
        assert_eq!(
            parts,
            [
                "172.20.0.0/16",
                "172.21.0.0/16",
                "172.22.0.0/16",
                "172.23.0.0/16"
            ]
        );
        assert_eq!(subnet("10.0.0.0/24").parts(8).count(), 0);
        assert_eq!(subnet("::/0").parts(0).count(), 1);
        assert!(subnet("10.0.0.0/8").overlaps(&subnet("10.9.0.0/16")));
        assert!(subnet("10.9.0.0/16").overlaps(&subnet("10.0.0.0/8")));
        assert!(!subnet("10.0.0.0/8").overlaps(&subnet("::/0")));
        assert!(!subnet("10.0.0.0/9").overlaps(&subnet("10.128.0.0/9")));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9a-f:./]{0,40}") {
            if let Ok(subnet) = text.parse::<Subnet>() {
                prop_assert_eq!(subnet.to_string().parse::<Subnet>().unwrap(), subnet);
                let (low, high) = subnet.usable();
                prop_assert!(low <= high);
            }
        }
    }
}
