//! Networks.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::serde_util::wire;
use crate::spec::EndpointSettings;

/// A network, as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// `bridge`, `host`, `macvlan`, `ipvlan`, `null` (of the network `none`).
    pub driver: String,
    /// `local`.
    pub scope: String,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// Whether it has IPv4.
    pub ipv4: bool,
    /// Address management.
    pub ipam: Ipam,
    /// No way out of it.
    pub internal: bool,
    /// Whether containers may be attached by hand (swarm); always true here for user-defined ones.
    pub attachable: bool,
    /// Containers on it, by id.
    pub containers: BTreeMap<String, NetworkContainer>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A container on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkContainer {
    /// Its name.
    pub name: String,
    /// Its endpoint's id.
    pub endpoint_id: String,
    /// MAC address.
    pub mac_address: String,
    /// `address/prefix`.
    pub ipv4_address: String,
    /// `address/prefix`.
    pub ipv6_address: String,
}

wire! {
    /// Address management of a network (`IPAM` of Docker's API).
    pub struct Ipam {
        /// `default`.
        pub driver: String,
        /// Driver options.
        pub options: Option<BTreeMap<String, String>>,
        /// Subnets.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub config: Vec<IpamPool>,
    }

    /// A subnet.
    pub struct IpamPool {
        /// `address/prefix`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub subnet: String,
        /// Part of the subnet that containers' addresses come from.
        #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
        pub ip_range: String,
        /// Gateway.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub gateway: String,
        /// Addresses never given out.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub auxiliary_addresses: BTreeMap<String, String>,
    }

    /// A network to make (`NetworkCreateRequest` of Docker's API).
    pub struct NetworkSpec {
        /// Name.
        pub name: String,
        /// Driver; empty means `bridge`.
        pub driver: String,
        /// Scope; empty or `local`.
        pub scope: String,
        /// No way out of it.
        pub internal: bool,
        /// Attachable.
        pub attachable: bool,
        /// Swarm's ingress; refused when set.
        pub ingress: bool,
        /// Only configuration for others; refused when set.
        pub config_only: bool,
        /// Address management.
        #[serde(rename = "IPAM")]
        pub ipam: Option<Ipam>,
        /// IPv6; `None` means no.
        #[serde(rename = "EnableIPv6")]
        pub enable_ipv6: Option<bool>,
        /// IPv4; `None` means yes.
        #[serde(rename = "EnableIPv4")]
        pub enable_ipv4: Option<bool>,
        /// Driver options.
        pub options: BTreeMap<String, String>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
    }
}

/// A container to put on a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectRequest {
    /// The container.
    pub container: String,
    /// How.
    pub endpoint: EndpointSettings,
}
