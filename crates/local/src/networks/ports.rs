//! The host's ports that a container asks for, and what it has of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use coracle_network::{PortMapping, PortRequest, Proto, Published};
use coracle_runtime::spec::PortBinding;
use coracle_runtime::{Result, RuntimeError};
use coracle_task::ProxyPort;

use super::Networking;
use crate::container::record::Record;

impl Networking {
    /// Host ports that a container asks for, if they can be published here.
    pub(crate) fn requests(&self, record: &Record) -> Result<Vec<PortRequest>> {
        let requests = requests(record)?;
        if let Some(forwarder) = &self.forwarder {
            forwarder.check(&requests, self.userland_proxy)?;
        }
        Ok(requests)
    }

    /// What the shim is to serve: without the proxy it only keeps the sockets, so that the ports stay
    /// taken.
    pub(super) fn proxied(
        &self,
        published: Published,
        ip4: Option<Ipv4Addr>,
        ip6: Option<Ipv6Addr>,
    ) -> (Vec<ProxyPort>, Vec<OwnedFd>) {
        let mut ports = Vec::new();
        let mut listeners = Vec::new();
        for binding in published.bindings {
            // A port of the host may lead to a container that has only the other family.
            let (ip4, ip6) = (ip4.map(IpAddr::V4), ip6.map(IpAddr::V6));
            let own = match binding.mapping.host_ip {
                IpAddr::V4(_) => ip4.or(ip6),
                IpAddr::V6(_) => ip6.or(ip4),
            };
            if let (Some(ip), true) = (own, self.userland_proxy) {
                ports.push(ProxyPort {
                    fd_index: listeners.len(),
                    proto: match binding.mapping.proto {
                        Proto::Udp => coracle_task::Proto::Udp,
                        _ => coracle_task::Proto::Tcp,
                    },
                    target: (ip, binding.mapping.container_port).into(),
                });
            }
            listeners.push(binding.listener);
        }
        (ports, listeners)
    }
}

/// Host ports that a container asks for.
fn requests(record: &Record) -> Result<Vec<PortRequest>> {
    let host_config = &record.host_config;
    let mut requests = Vec::new();
    for (port, bindings) in &host_config.port_bindings {
        for (container_port, proto) in expand(port)? {
            for binding in bindings.iter().flatten() {
                requests.push(request(container_port, proto, binding)?);
            }
        }
    }
    if host_config.publish_all_ports {
        for port in record.config.exposed_ports.keys() {
            if host_config.port_bindings.contains_key(port) {
                continue;
            }
            for (container_port, proto) in expand(port)? {
                requests.push(request(container_port, proto, &PortBinding::default())?);
            }
        }
    }
    Ok(requests)
}

fn request(container_port: u16, proto: Proto, binding: &PortBinding) -> Result<PortRequest> {
    let invalid = |what: &str| {
        RuntimeError::InvalidArgument(format!("invalid port specification: \"{what}\""))
    };
    let host_ip = match binding.host_ip.as_str() {
        "" => None,
        given => {
            let bare = given.trim_start_matches('[').trim_end_matches(']');
            Some(bare.parse().map_err(|_| invalid(given))?)
        }
    };
    let host_port: Option<RangeInclusive<u16>> = match binding.host_port.as_str() {
        "" | "0" => None,
        given => {
            let (first, last) = given.split_once('-').unwrap_or((given, given));
            let number = |word: &str| word.parse::<u16>().map_err(|_| invalid(given));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(invalid(given));
            }
            Some(first..=last)
        }
    };
    Ok(PortRequest {
        proto,
        host_ip,
        host_port,
        container_port,
    })
}

/// The ports that `80-82/tcp` stands for.
fn expand(text: &str) -> Result<Vec<(u16, Proto)>> {
    let (first, last, proto) = coracle_spec::check::exposed_port(text)?;
    let proto = match proto {
        "udp" => Proto::Udp,
        "sctp" => Proto::Sctp,
        _ => Proto::Tcp,
    };
    Ok((first..=last).map(|port| (port, proto)).collect())
}

/// Exposed ports with their host ends, as `inspect` shows them.
pub(super) fn bindings(
    record: &Record,
    mappings: &[PortMapping],
) -> Result<BTreeMap<String, Option<Vec<PortBinding>>>> {
    let mut ports: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    let keys = record
        .config
        .exposed_ports
        .keys()
        .chain(record.host_config.port_bindings.keys());
    for key in keys {
        for (port, proto) in expand(key)? {
            ports
                .entry(format!("{port}/{}", proto.as_str()))
                .or_default();
        }
    }
    for mapping in mappings {
        let key = format!("{}/{}", mapping.container_port, mapping.proto.as_str());
        ports
            .entry(key)
            .or_default()
            .get_or_insert_default()
            .push(PortBinding {
                host_ip: mapping.host_ip.to_string(),
                host_port: mapping.host_port.to_string(),
            });
    }
    Ok(ports)
}
