//! A container's networks as `inspect` shows them.

use coracle_network::Endpoint;
use coracle_runtime::container::NetworkSettings;
use coracle_runtime::spec::EndpointSettings;

use super::Networking;
use super::asked::{Mode, mode, wanted};
use crate::container::record::Record;

impl Networking {
    /// What is shown of a container that does not run: the networks that it will join.
    pub(crate) fn idle_settings(&self, record: &Record) -> NetworkSettings {
        let networks = match mode(record) {
            Mode::None => vec![("none".to_owned(), EndpointSettings::default())],
            Mode::Host => vec![("host".to_owned(), EndpointSettings::default())],
            Mode::Container(_) => Vec::new(),
            Mode::Bridged => wanted(record),
        };
        NetworkSettings {
            networks: networks
                .into_iter()
                .map(|(name, mut settings)| {
                    if let Ok(network) = self.networks.find(&name) {
                        settings.network_id = network.id;
                    }
                    (name, settings)
                })
                .collect(),
            ..Default::default()
        }
    }
}

pub(super) fn describe(record: &Record, name: &str, endpoint: &Endpoint) -> EndpointSettings {
    let asked = record.networking.endpoints_config.get(name);
    let mut settings = asked.cloned().unwrap_or_default();
    settings.network_id.clone_from(&endpoint.network);
    settings.endpoint_id = endpoint_id(endpoint);
    settings.mac_address = endpoint.mac.to_string();
    if let Some(assigned) = &endpoint.ipv4 {
        settings.ip_address = assigned.ip.to_string();
        settings.ip_prefix_len = assigned.subnet.prefix();
        settings.gateway = assigned
            .gateway
            .map(|ip| ip.to_string())
            .unwrap_or_default();
    }
    if let Some(assigned) = &endpoint.ipv6 {
        settings.global_ipv6_address = assigned.ip.to_string();
        settings.global_ipv6_prefix_len = assigned.subnet.prefix();
        settings.ipv6_gateway = assigned
            .gateway
            .map(|ip| ip.to_string())
            .unwrap_or_default();
    }
    settings
}

/// An endpoint's id: there is one of a container on a network, so both make it.
pub(crate) fn endpoint_id(endpoint: &Endpoint) -> String {
    let digest = ring::digest::digest(
        &ring::digest::SHA256,
        format!("{}/{}", endpoint.network, endpoint.id).as_bytes(),
    );
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
