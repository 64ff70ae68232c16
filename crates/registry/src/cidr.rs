//! Address ranges in registry and proxy configurations.

use std::net::IpAddr;

/// An address range such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    base: u128,
    mask: u128,
    v4: bool,
}

impl Cidr {
    /// Parses `address/bits`; `None` when it is anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits: u32 = bits.parse().ok()?;
        let (base, width) = number(address);
        if bits > width {
            return None;
        }
        let ones = u128::MAX.checked_shl(width - bits).unwrap_or(0);
        let mask = if width == 32 {
            ones & u128::from(u32::MAX)
        } else {
            ones
        };
        Some(Self {
            base: base & mask,
            mask,
            v4: width == 32,
        })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (value, width) = number(address.to_canonical());
        self.v4 == (width == 32) && value & self.mask == self.base
    }
}

fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let has = |range: &str, address: &str| {
            Cidr::parse(range)
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(has("10.0.0.0/8", "10.255.0.1"));
        assert!(!has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("0.0.0.0/0", "1.2.3.4"));
        assert!(!has("0.0.0.0/0", "::1"));
        assert!(has("fd00::/8", "fd12::1"));
        assert!(has("10.1.2.3/32", "::ffff:10.1.2.3"));
        for bad in [
            "10.0.0.0",
            "10.0.0.0/33",
            "x/8",
            "10.0.0.0/-1",
            "/8",
            "::/129",
        ] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }
}
