//! Networks.

use std::collections::BTreeMap;

use coracle_runtime::network::Ipam;
use coracle_runtime::spec::EndpointSettings;

use crate::time::Time;
use crate::wire::wire;

pub use coracle_runtime::network::NetworkSpec as NetworkCreateBody;

wire! {
    /// A network, in lists and inspect.
    pub struct NetworkInspect {
        /// Name.
        pub name: String,
        /// 64 hexadecimal digits.
        pub id: String,
        /// When it was made.
        pub created: Time,
        /// `local`.
        pub scope: String,
        /// Driver.
        pub driver: String,
        /// Whether it has IPv4, where the engine tells.
        #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
        pub enable_ipv4: Option<bool>,
        /// Whether it has IPv6.
        #[serde(rename = "EnableIPv6")]
        pub enable_ipv6: bool,
        /// Address management.
        #[serde(rename = "IPAM")]
        pub ipam: Ipam,
        /// No way out of it.
        pub internal: bool,
        /// Attachable by hand.
        pub attachable: bool,
        /// Swarm's ingress.
        pub ingress: bool,
        /// The network that it takes its configuration from.
        pub config_from: ConfigFrom,
        /// Only configuration for others.
        pub config_only: bool,
        /// Containers on it, by id; empty in lists.
        pub containers: BTreeMap<String, EndpointResource>,
        /// Driver options.
        pub options: BTreeMap<String, String>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
    }

    /// The network that another takes its configuration from.
    pub struct ConfigFrom {
        /// Its name.
        pub network: String,
    }

    /// A container on a network.
    pub struct EndpointResource {
        /// Its name.
        pub name: String,
        /// The endpoint's id.
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        /// MAC address.
        pub mac_address: String,
        /// `address/prefix`.
        #[serde(rename = "IPv4Address")]
        pub ipv4_address: String,
        /// `address/prefix`.
        #[serde(rename = "IPv6Address")]
        pub ipv6_address: String,
    }

    /// The answer of `POST /networks/create`.
    pub struct NetworkCreated {
        /// The new network's id.
        pub id: String,
        /// What the user should know.
        pub warning: String,
    }

    /// The body of `POST /networks/{id}/connect`.
    pub struct ConnectBody {
        /// The container.
        pub container: String,
        /// How.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub endpoint_config: Option<EndpointSettings>,
    }

    /// The body of `POST /networks/{id}/disconnect`.
    pub struct DisconnectBody {
        /// The container.
        pub container: String,
        /// Even where it is gone.
        pub force: bool,
    }

    /// The answer of `POST /networks/prune`.
    pub struct NetworksPruned {
        /// Names.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub networks_deleted: Vec<String>,
    }
}
