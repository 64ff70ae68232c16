//! What is known of networks and containers, as the owner of both says it.

use std::net::{IpAddr, SocketAddr};

/// Who knows the networks and containers.
pub trait Source: Send + Sync {
    /// What is true now. Asked again after each [`changed`](crate::Server::changed), by the next
    /// question: it must not block for long.
    fn snapshot(&self) -> Snapshot;
}

/// Networks and containers at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All networks that have containers.
    pub networks: Vec<Network>,
    /// All containers that are on a network.
    pub containers: Vec<Container>,
}

/// A network.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name: `container.network` is a name as well.
    pub name: String,
    /// Whether nothing leaves it.
    pub internal: bool,
    /// Whether its containers have names: Docker's default network gives them none.
    pub named: bool,
    /// Whether it is a bridge of this host's, whose containers the host reaches.
    pub bridged: bool,
    /// The host's addresses on it.
    pub gateways: Vec<IpAddr>,
    /// Its subnets: an address and the bits of the network part.
    pub subnets: Vec<(IpAddr, u8)>,
}

/// A container.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Whom to ask for other names, instead of the host's resolvers (`--dns`).
    pub servers: Vec<SocketAddr>,
    /// Its places on networks, the one with its default route first.
    pub endpoints: Vec<Endpoint>,
}

/// A container's place on a network.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// The network's id.
    pub network: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its names, of which the first is the one that its addresses stand for.
    pub names: Vec<String>,
    /// Names that this container alone has for others on the network: (alias, name or id).
    pub links: Vec<(String, String)>,
}

impl Network {
    /// Whether an address is one of the network's.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let (bits, value) = number(ip);
        self.subnets.iter().any(|&(subnet, prefix)| {
            let (size, base) = number(subnet);
            let host = u32::from(size.saturating_sub(prefix));
            // A shift by all bits is none in Rust.
            let top = |value: u128| value.checked_shr(host).unwrap_or(0);
            size == bits && top(base) == top(value)
        })
    }
}

fn number(ip: IpAddr) -> (u8, u128) {
    match ip {
        IpAddr::V4(ip) => (32, u128::from(u32::from(ip))),
        IpAddr::V6(ip) => (128, u128::from(ip)),
    }
}

impl Snapshot {
    /// Two networks and the default one, and what can be on them, to try things with.
    pub(crate) fn sample() -> Self {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap_or(IpAddr::from([0; 4]));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let endpoint = |network: &str, addresses: &[&str], own: &[&str]| Endpoint {
            network: network.into(),
            addresses: addresses.iter().map(|text| ip(text)).collect(),
            names: names(own),
            links: Vec::new(),
        };
        let container = |id: &str, endpoints: Vec<Endpoint>| Container {
            id: id.into(),
            servers: Vec::new(),
            endpoints,
        };
        let mut linked = endpoint("f", &["10.1.0.2", "fd00:1::2"], &["One", "web"]);
        linked.links.push(("database".into(), "three".into()));
        Self {
            networks: vec![
                Network {
                    id: "f".into(),
                    name: "front".into(),
                    named: true,
                    bridged: true,
                    gateways: vec![ip("10.1.0.1"), ip("fd00:1::1")],
                    subnets: vec![(ip("10.1.0.0"), 16), (ip("fd00:1::"), 64)],
                    ..Network::default()
                },
                Network {
                    id: "b".into(),
                    name: "back".into(),
                    named: true,
                    internal: true,
                    bridged: true,
                    gateways: vec![ip("10.2.0.1")],
                    subnets: vec![(ip("10.2.0.0"), 16)],
                },
                Network {
                    id: "d".into(),
                    name: "bridge".into(),
                    bridged: true,
                    gateways: vec![ip("10.3.0.1")],
                    subnets: vec![(ip("10.3.0.0"), 16)],
                    ..Network::default()
                },
            ],
            containers: vec![
                container("one", vec![linked]),
                container("two", vec![endpoint("b", &["10.2.0.2"], &["two"])]),
                container(
                    "three",
                    vec![
                        endpoint("f", &["10.1.0.3"], &["three", "web"]),
                        endpoint("b", &["10.2.0.3"], &["three"]),
                    ],
                ),
                container("plain", vec![endpoint("d", &["10.3.0.2"], &["plain"])]),
            ],
        }
    }
}
