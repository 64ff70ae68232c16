//! Which networks a container joins, and how.

use std::collections::BTreeMap;

use crate::serde_util::wire;

/// `NetworkingConfig` of Docker's API.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfig {
    /// By network name or id. Clients send `null` for a network joined without settings.
    #[serde(deserialize_with = "crate::serde_util::null_values")]
    pub endpoints_config: BTreeMap<String, EndpointSettings>,
}

wire! {
    /// A container's place on one network: what was asked for, and once it runs, what it got.
    pub struct EndpointSettings {
        /// Static addresses asked for.
        #[serde(rename = "IPAMConfig")]
        pub ipam_config: Option<EndpointIpam>,
        /// Legacy links on this network.
        pub links: Option<Vec<String>>,
        /// Further names on this network.
        pub aliases: Option<Vec<String>>,
        /// MAC address.
        pub mac_address: String,
        /// Driver options.
        pub driver_opts: Option<BTreeMap<String, String>>,
        /// The highest one gives the default route.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub gw_priority: i64,
        /// The network's id.
        #[serde(rename = "NetworkID")]
        pub network_id: String,
        /// This endpoint's id.
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        /// IPv4 gateway.
        pub gateway: String,
        /// IPv4 address.
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        /// IPv4 prefix length.
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: u8,
        /// IPv6 gateway.
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        /// IPv6 address.
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        /// IPv6 prefix length.
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: u8,
        /// Names it answers to.
        #[serde(rename = "DNSNames")]
        pub dns_names: Option<Vec<String>>,
    }

    /// Static addresses.
    pub struct EndpointIpam {
        /// IPv4.
        #[serde(rename = "IPv4Address", skip_serializing_if = "crate::serde_util::is_default")]
        pub ipv4_address: String,
        /// IPv6.
        #[serde(rename = "IPv6Address", skip_serializing_if = "crate::serde_util::is_default")]
        pub ipv6_address: String,
        /// Link-local addresses.
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "crate::serde_util::is_default")]
        pub link_local_ips: Vec<String>,
    }
}
