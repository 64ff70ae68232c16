//! Values with a grammar of their own.

use coracle_network::AddressPool;
use coracle_runtime::spec::Ulimit;

/// Reads `64m`: bytes, with a unit of 1024.
pub(super) fn size(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.chars().last()? {
        'k' => (lower.strip_suffix('k')?, 10),
        'm' => (lower.strip_suffix('m')?, 20),
        'g' => (lower.strip_suffix('g')?, 30),
        _ => (lower, 0),
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

pub(super) fn ulimit(text: &str) -> Option<Ulimit> {
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text {
        "unlimited" => Some(-1),
        text => text.parse().ok(),
    };
    Some(Ulimit {
        name: name.into(),
        soft: number(soft)?,
        hard: number(hard)?,
    })
}

pub(super) fn pool(text: &str) -> Option<AddressPool> {
    let mut base = None;
    let mut size = None;
    for part in text.split(',') {
        match part.split_once('=')? {
            ("base", value) => base = value.parse().ok(),
            ("size", value) => size = value.parse().ok(),
            _ => return None,
        }
    }
    Some(AddressPool {
        base: base?,
        size: size?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_ulimits_and_pools() {
        assert_eq!(size("64m"), Some(64 << 20));
        assert_eq!(size("1GB"), Some(1 << 30));
        assert_eq!(size("x"), None);
        assert_eq!(ulimit("nofile=1:2").unwrap().hard, 2);
        assert!(ulimit("nofile").is_none());
        assert_eq!(pool("base=10.0.0.0/8,size=24").unwrap().size, 24);
        assert!(pool("base=10.0.0.0/8").is_none());
    }
}
