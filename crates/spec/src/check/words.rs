//! Ports and MAC addresses, as they are written.

use crate::SpecError;

/// Reads `80/tcp`, `80`, or a range of either; gives first, last and protocol.
pub fn exposed_port(text: &str) -> Result<(u16, u16, &str), SpecError> {
    let invalid = || SpecError::invalid(format!("invalid port specification: \"{text}\""));
    let (ports, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    if !matches!(proto, "tcp" | "udp" | "sctp") {
        return Err(invalid());
    }
    let number = |word: &str| {
        word.parse::<u16>()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(invalid)
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(ports)?, number(ports)?),
    };
    if first > last {
        Err(invalid())
    } else {
        Ok((first, last, proto))
    }
}

/// Checks a MAC address: six octets.
pub fn check_mac(mac: &str) -> Result<[u8; 6], SpecError> {
    let invalid = || SpecError::invalid(format!("invalid MAC address: {mac}"));
    let mut octets = [0; 6];
    let mut parts = mac.split([':', '-']);
    for octet in &mut octets {
        let part = parts
            .next()
            .filter(|part| part.len() == 2)
            .ok_or_else(invalid)?;
        *octet = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
    }
    if parts.next().is_some() {
        Err(invalid())
    } else {
        Ok(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(exposed_port("80").unwrap(), (80, 80, "tcp"));
        assert_eq!(exposed_port("80-82/udp").unwrap(), (80, 82, "udp"));
        for bad in ["", "0", "80/x", "82-80", "65536", "-1"] {
            assert!(exposed_port(bad).is_err(), "{bad}");
        }
    }
}
