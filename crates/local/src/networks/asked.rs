//! Which networks a container asks for, and to be what on them.

use coracle_network::{EndpointConfig, MacAddr};
use coracle_runtime::spec::EndpointSettings;
use coracle_runtime::{Result, RuntimeError};

use super::error;
use crate::container::record::Record;

/// How a container is networked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode<'a> {
    None,
    Host,
    Container(&'a str),
    Bridged,
}

/// Whether it has networks of its own, that can be changed.
pub(crate) fn is_bridged(record: &Record) -> bool {
    mode(record) == Mode::Bridged
}

pub(super) fn mode(record: &Record) -> Mode<'_> {
    if record.config.network_disabled {
        return Mode::None;
    }
    match record.host_config.network_mode.as_str() {
        "none" => Mode::None,
        "host" => Mode::Host,
        other => other
            .strip_prefix("container:")
            .map_or(Mode::Bridged, Mode::Container),
    }
}

/// The networks a container asks for, the one of its network mode first.
pub(super) fn wanted(record: &Record) -> Vec<(String, EndpointSettings)> {
    let main = match record.host_config.network_mode.as_str() {
        "" | "default" | "bridge" => coracle_network::DEFAULT_NETWORK,
        other => other,
    };
    let settings = &record.networking.endpoints_config;
    let own = settings
        .get(main)
        .or_else(|| settings.get("default"))
        .cloned();
    let mut networks = vec![(main.to_owned(), own.unwrap_or_default())];
    for (name, settings) in settings {
        if name != main && name != "default" {
            networks.push((name.clone(), settings.clone()));
        }
    }
    networks
}

pub(super) fn endpoint_config(
    record: &Record,
    settings: &EndpointSettings,
    network: &coracle_network::Network,
    index: usize,
) -> Result<EndpointConfig> {
    coracle_spec::check_endpoint(settings)?;
    let asked = settings.ipam_config.as_ref();
    let fixed =
        asked.is_some_and(|ipam| !ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty());
    if fixed && network.is_default() {
        return Err(RuntimeError::InvalidArgument(
            "user specified IP address is supported on user defined networks only".into(),
        ));
    }
    let mut config = EndpointConfig::new(record.id.clone(), network.id.clone());
    config.ifname = format!("{}{index}", network.interface_prefix());
    config.gateway_priority = settings.gw_priority;
    if let Some(options) = &settings.driver_opts {
        config.set_options(options).map_err(error)?;
    }
    config.aliases = settings.aliases.clone().unwrap_or_default();
    let mac = match settings.mac_address.as_str() {
        "" if index == 0 => record.config.mac_address.as_str(),
        given => given,
    };
    if !mac.is_empty() {
        config.mac = Some(MacAddr(coracle_spec::check::check_mac(mac)?));
    }
    if let Some(ipam) = asked {
        config.ipv4 = ipam.ipv4_address.parse().ok();
        config.ipv6 = ipam.ipv6_address.parse().ok();
        config.link_local = coracle_spec::link_local(&ipam.link_local_ips)?;
    }
    Ok(config)
}
