//! Networks.

use std::collections::BTreeMap;

use coracle_runtime::network as domain;
use coracle_runtime::spec::{EndpointIpam, EndpointSettings};
use jiff::Timestamp;

use crate::wire::{answer, body};

answer! {
    /// A network.
    pub struct Network {
        /// 64 hexadecimal digits.
        id: String,
        /// Name.
        name: String,
        /// `bridge`, `host`, `none`, `macvlan`, `ipvlan`.
        driver: String,
        /// When it was made.
        created_at: Timestamp,
        /// No way out of it.
        internal: bool,
        /// Whether it has IPv4.
        ipv4: bool,
        /// Whether it has IPv6.
        ipv6: bool,
        /// Its subnets.
        subnets: Vec<Subnet>,
        /// The containers on it; only where one network is looked at.
        endpoints: Vec<NetworkEndpoint>,
        /// Driver options.
        options: BTreeMap<String, String>,
        /// Labels.
        labels: BTreeMap<String, String>,
    }

    /// A container's place on a network.
    pub struct NetworkEndpoint {
        /// The container's id.
        container_id: String,
        /// The container's name.
        container_name: String,
        /// The endpoint's id.
        endpoint_id: String,
        /// MAC address.
        mac_address: String,
        /// `address/prefix`; empty where there is none.
        ipv4_address: String,
        /// `address/prefix`; empty where there is none.
        ipv6_address: String,
    }
}

body! {
    /// A subnet.
    pub struct Subnet {
        ; // What may be left out:
        /// `address/prefix`; chosen where none is given.
        subnet: String,
        /// The part of it that containers' addresses come from.
        range: String,
        /// Its gateway.
        gateway: String,
        /// Addresses that are never given out, by name.
        reserved: BTreeMap<String, String>,
    }

    /// A network to make.
    pub struct NetworkCreate {
        /// Name.
        name: String,
        ; // What may be left out:
        /// Driver; `bridge` where none is given.
        driver: String,
        /// No way out of it.
        internal: bool,
        /// IPv4: yes, unless this says otherwise.
        ipv4: Option<bool>,
        /// IPv6.
        ipv6: bool,
        /// Subnets; chosen where none is given.
        subnets: Vec<Subnet>,
        /// Driver options.
        options: BTreeMap<String, String>,
        /// Labels.
        labels: BTreeMap<String, String>,
    }

    /// A container to put on a network.
    pub struct NetworkConnect {
        /// The container.
        container: String,
        ; // What may be left out:
        /// How.
        endpoint: Endpoint,
    }

    /// How a container is on a network.
    pub struct Endpoint {
        ; // What may be left out:
        /// Further names on this network.
        aliases: Vec<String>,
        /// Static IPv4 address.
        ipv4_address: String,
        /// Static IPv6 address.
        ipv6_address: String,
        /// MAC address.
        mac_address: String,
        /// The network of the highest one gives the default route.
        gateway_priority: i64,
        /// Driver options.
        options: BTreeMap<String, String>,
    }

    /// A container to take off a network.
    pub struct NetworkDisconnect {
        /// The container.
        container: String,
        ; // What may be left out:
        /// Even where it can't be told.
        force: bool,
    }
}

impl From<domain::IpamPool> for Subnet {
    fn from(pool: domain::IpamPool) -> Self {
        Self {
            subnet: pool.subnet,
            range: pool.ip_range,
            gateway: pool.gateway,
            reserved: pool.auxiliary_addresses,
        }
    }
}

impl From<domain::Network> for Network {
    fn from(network: domain::Network) -> Self {
        let endpoints = network.containers.into_iter();
        Self {
            id: network.id,
            name: network.name,
            driver: network.driver,
            created_at: network.created,
            internal: network.internal,
            ipv4: network.ipv4,
            ipv6: network.ipv6,
            subnets: network.ipam.config.into_iter().map(Into::into).collect(),
            endpoints: endpoints
                .map(|(id, found)| NetworkEndpoint {
                    container_id: id,
                    container_name: found.name,
                    endpoint_id: found.endpoint_id,
                    mac_address: found.mac_address,
                    ipv4_address: found.ipv4_address,
                    ipv6_address: found.ipv6_address,
                })
                .collect(),
            options: network.options,
            labels: network.labels,
        }
    }
}

impl From<NetworkCreate> for domain::NetworkSpec {
    fn from(body: NetworkCreate) -> Self {
        let pools = body.subnets.into_iter().map(|subnet| domain::IpamPool {
            subnet: subnet.subnet,
            ip_range: subnet.range,
            gateway: subnet.gateway,
            auxiliary_addresses: subnet.reserved,
        });
        let pools: Vec<_> = pools.collect();
        Self {
            name: body.name,
            driver: body.driver,
            internal: body.internal,
            attachable: true,
            ipam: (!pools.is_empty()).then(|| domain::Ipam {
                config: pools,
                ..domain::Ipam::default()
            }),
            enable_ipv4: body.ipv4,
            enable_ipv6: Some(body.ipv6),
            options: body.options,
            labels: body.labels,
            ..Self::default()
        }
    }
}

impl From<Endpoint> for EndpointSettings {
    fn from(endpoint: Endpoint) -> Self {
        let fixed = EndpointIpam {
            ipv4_address: endpoint.ipv4_address,
            ipv6_address: endpoint.ipv6_address,
            link_local_ips: Vec::new(),
        };
        Self {
            ipam_config: (fixed != EndpointIpam::default()).then_some(fixed),
            aliases: (!endpoint.aliases.is_empty()).then_some(endpoint.aliases),
            mac_address: endpoint.mac_address,
            gw_priority: endpoint.gateway_priority,
            driver_opts: (!endpoint.options.is_empty()).then_some(endpoint.options),
            ..Self::default()
        }
    }
}

impl From<NetworkConnect> for domain::ConnectRequest {
    fn from(body: NetworkConnect) -> Self {
        Self {
            container: body.container,
            endpoint: body.endpoint.into(),
        }
    }
}
