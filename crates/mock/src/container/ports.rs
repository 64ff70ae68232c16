//! Published ports: who has which of the host's. None is ever opened.

use std::collections::BTreeMap;

use coracle_runtime::spec::{ContainerConfig, HostConfig, PortBinding};
use coracle_runtime::{Result, RuntimeError};

use super::Entry;
use crate::engine::State;

/// The first port that is given out where none was asked for.
const FIRST_FREE: u16 = 32768;

/// A port to publish: `80/tcp`, and the host ends wanted.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    port: String,
    host_ip: String,
    /// The range that the host's port may be in; `None` means any.
    range: Option<(u16, u16)>,
}

/// What is to be published, each container port by itself.
pub(crate) fn requests(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<Request>> {
    let mut wanted: Vec<(&str, PortBinding)> = Vec::new();
    for (port, bindings) in &host.port_bindings {
        wanted.extend(
            bindings
                .iter()
                .flatten()
                .map(|binding| (port.as_str(), binding.clone())),
        );
    }
    if host.publish_all_ports {
        let open = config
            .exposed_ports
            .keys()
            .filter(|port| !host.port_bindings.contains_key(*port));
        wanted.extend(open.map(|port| (port.as_str(), PortBinding::default())));
    }
    let mut requests = Vec::new();
    for (port, binding) in wanted {
        let (first, last, proto) = coracle_spec::check::exposed_port(port)?;
        let invalid = || {
            RuntimeError::InvalidArgument(format!(
                "invalid port specification: \"{}\"",
                binding.host_port
            ))
        };
        let range = match binding.host_port.as_str() {
            "" | "0" => None,
            text => {
                let (low, high) = text.split_once('-').unwrap_or((text, text));
                let range = low.parse::<u16>().ok().zip(high.parse::<u16>().ok());
                Some(
                    range
                        .filter(|(low, high)| low <= high)
                        .ok_or_else(invalid)?,
                )
            }
        };
        let bare = binding
            .host_ip
            .trim_start_matches('[')
            .trim_end_matches(']');
        if !bare.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
            return Err(RuntimeError::InvalidArgument(format!(
                "invalid port specification: \"{}\"",
                binding.host_ip
            )));
        }
        for number in first..=last {
            requests.push(Request {
                port: format!("{number}/{proto}"),
                host_ip: bare.to_owned(),
                range,
            });
        }
    }
    Ok(requests)
}

impl State {
    /// Whether a container that runs has this port of the host.
    fn port_taken(&self, except: &str, proto: &str, port: u16) -> bool {
        let text = port.to_string();
        self.containers
            .values()
            .filter(|entry| entry.id != except && entry.run.is_some())
            .any(|entry| {
                entry.network.ports.iter().any(|(own, bindings)| {
                    own.ends_with(proto) && bindings.iter().flatten().any(|b| b.host_port == text)
                })
            })
    }

    /// Publishes a container's ports; gives what is shown of them.
    pub(crate) fn publish_ports(
        &self,
        entry: &Entry,
    ) -> Result<BTreeMap<String, Option<Vec<PortBinding>>>> {
        let mut ports: BTreeMap<String, Option<Vec<PortBinding>>> = entry
            .config
            .exposed_ports
            .keys()
            .map(|port| (port.clone(), None))
            .collect();
        let mut taken: Vec<(String, u16)> = Vec::new();
        for request in requests(&entry.config, &entry.host_config)? {
            let proto = request
                .port
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            let (low, high) = request.range.unwrap_or((FIRST_FREE, u16::MAX));
            let free = (low..=high).find(|port| {
                !taken.contains(&(proto.clone(), *port))
                    && !self.port_taken(&entry.id, &proto, *port)
            });
            let Some(port) = free else {
                let ip = if request.host_ip.is_empty() {
                    "0.0.0.0"
                } else {
                    &request.host_ip
                };
                return Err(RuntimeError::Internal(format!(
                    "Bind for {ip}:{low} failed: port is already allocated"
                )));
            };
            taken.push((proto, port));
            let addresses = match request.host_ip.as_str() {
                "" => vec!["0.0.0.0".to_owned(), "::".to_owned()],
                own => vec![own.to_owned()],
            };
            let bindings = ports
                .entry(request.port)
                .or_default()
                .get_or_insert_default();
            bindings.extend(addresses.into_iter().map(|host_ip| PortBinding {
                host_ip,
                host_port: port.to_string(),
            }));
        }
        Ok(ports)
    }
}
