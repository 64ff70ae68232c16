//! What a container's place on a network is asked to be: refused where it is none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coracle_runtime::spec::{EndpointSettings, NetworkingConfig};

use crate::SpecError;
use crate::check::check_mac;

/// Most link-local addresses of one interface.
const MAX_LINK_LOCAL: usize = 16;

/// Checks all endpoints of a creation.
///
/// # Errors
/// As [`check_endpoint`].
pub fn check_networking(networking: &NetworkingConfig) -> Result<(), SpecError> {
    let mut endpoints = networking.endpoints_config.values();
    endpoints.try_for_each(check_endpoint)
}

/// Checks one endpoint, as far as that can be told without its network.
///
/// # Errors
/// `Invalid` for what is no address, and what is no link-local one.
pub fn check_endpoint(settings: &EndpointSettings) -> Result<(), SpecError> {
    if !settings.mac_address.is_empty() {
        check_mac(&settings.mac_address)?;
    }
    let Some(ipam) = &settings.ipam_config else {
        return Ok(());
    };
    let (v4, v6) = (&ipam.ipv4_address, &ipam.ipv6_address);
    if !v4.is_empty() && v4.parse::<Ipv4Addr>().is_err() {
        return Err(SpecError::invalid(format!("invalid IPv4 address: {v4}")));
    }
    if !v6.is_empty() && v6.parse::<Ipv6Addr>().is_err() {
        return Err(SpecError::invalid(format!("invalid IPv6 address: {v6}")));
    }
    link_local(&ipam.link_local_ips).map(drop)
}

/// Further addresses of an interface, which are the link's alone.
///
/// # Errors
/// `Invalid` for what is no address, or no link-local one, and for too many.
pub fn link_local(given: &[String]) -> Result<Vec<IpAddr>, SpecError> {
    if given.len() > MAX_LINK_LOCAL {
        return Err(SpecError::invalid(format!(
            "too many link-local IP addresses: {MAX_LINK_LOCAL} are the most"
        )));
    }
    let mut addresses = Vec::new();
    for text in given {
        let ip: IpAddr = text
            .parse()
            .map_err(|_| SpecError::invalid(format!("invalid link-local IP address: {text}")))?;
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        if !is_link_local {
            return Err(SpecError::invalid(format!(
                "invalid link local IP address: {text}"
            )));
        }
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use coracle_runtime::spec::EndpointIpam;

    use super::*;

    #[test]
    fn link_local_addresses() {
        let read = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|&text| text.to_owned()).collect();
            link_local(&given)
        };
        assert!(read(&[]).unwrap().is_empty());
        let two = read(&["169.254.1.2", "fe80::9", "169.254.1.2"]).unwrap();
        assert_eq!(two.len(), 2);
        for bad in ["", "x", "10.0.0.1", "fd00::1", "169.254.1.2/16"] {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
        assert!(read(&["169.254.1.2"; MAX_LINK_LOCAL + 1]).is_err());
    }

    #[test]
    fn addresses() {
        let ask = |v4: &str, v6: &str, mac: &str| {
            check_endpoint(&EndpointSettings {
                mac_address: mac.into(),
                ipam_config: Some(EndpointIpam {
                    ipv4_address: v4.into(),
                    ipv6_address: v6.into(),
                    ..EndpointIpam::default()
                }),
                ..EndpointSettings::default()
            })
        };
        ask("", "", "").unwrap();
        ask("10.0.0.1", "fd00::1", "02:42:00:00:00:01").unwrap();
        for (v4, v6, mac) in [
            ("x", "", ""),
            ("fd00::1", "", ""),
            ("", "10.0.0.1", ""),
            ("", "", "x"),
        ] {
            assert!(ask(v4, v6, mac).is_err(), "{v4:?} {v6:?} {mac:?}");
        }
    }
}
