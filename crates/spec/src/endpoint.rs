//! What a container's place on a network is asked to be: refused where it is none.

use std::net::{Ipv4Addr, Ipv6Addr};

use coracle_runtime::spec::{EndpointSettings, NetworkingConfig};

use crate::SpecError;
use crate::check::check_mac;

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
/// `Invalid` for what is no address, and for link-local addresses, which nobody serves.
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
    if let Some(address) = ipam.link_local_ips.first() {
        return Err(SpecError::invalid(format!(
            "LinkLocalIPs ({address}) are not supported"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use coracle_runtime::spec::EndpointIpam;

    use super::*;

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
