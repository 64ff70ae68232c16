//! Networks.

use coracle_docker::network::{EndpointResource, NetworkInspect};
use coracle_runtime::network::{Ipam, Network};

/// A network; lists leave its containers out.
pub(crate) fn inspect(network: Network, containers: bool) -> NetworkInspect {
    let ipam = Ipam {
        driver: if network.ipam.driver.is_empty() {
            "default".to_owned()
        } else {
            network.ipam.driver
        },
        ..network.ipam
    };
    NetworkInspect {
        name: network.name,
        id: network.id,
        created: network.created.into(),
        scope: network.scope,
        driver: match network.driver.as_str() {
            "none" => "null".to_owned(),
            _ => network.driver,
        },
        enable_ipv4: Some(network.ipv4),
        enable_ipv6: network.ipv6,
        ipam,
        internal: network.internal,
        attachable: network.attachable,
        containers: if containers {
            network
                .containers
                .into_iter()
                .map(|(id, container)| {
                    let resource = EndpointResource {
                        name: container.name,
                        endpoint_id: container.endpoint_id,
                        mac_address: container.mac_address,
                        ipv4_address: container.ipv4_address,
                        ipv6_address: container.ipv6_address,
                    };
                    (id, resource)
                })
                .collect()
        } else {
            Default::default()
        },
        options: network.options,
        labels: network.labels,
        ..NetworkInspect::default()
    }
}
