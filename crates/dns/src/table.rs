//! What a snapshot means: names to addresses and back, for each who asks. Pure.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::host;
use crate::snapshot::{Endpoint, Network, Snapshot};

/// Names that stand for the host, as the container sees it.
const HOST: [&str; 3] = [
    "host.docker.internal",
    "gateway.docker.internal",
    "host.coracle.internal",
];

#[derive(Debug, Default)]
pub(crate) struct Table {
    zones: HashMap<String, Zone>,
    askers: HashMap<String, Asker>,
    /// Whose an address is, by network.
    owners: HashMap<(String, IpAddr), String>,
    gateways: HashSet<IpAddr>,
    host: host::Names,
}

#[derive(Debug)]
struct Zone {
    network: Network,
    names: HashMap<String, Vec<IpAddr>>,
    reverse: HashMap<IpAddr, String>,
}

#[derive(Debug, Default)]
struct Asker {
    networks: Vec<String>,
    links: HashMap<String, Vec<IpAddr>>,
    servers: Vec<SocketAddr>,
}

/// Whom to ask for names that aren't ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// The host's resolvers.
    Host,
    /// These.
    These(Vec<SocketAddr>),
    /// Nobody: nothing leaves the networks.
    Nobody,
}

/// A name in the form that it is looked up in.
fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl Table {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let mut table = Self {
            host: host::Names::new(snapshot),
            ..Self::default()
        };
        for network in &snapshot.networks {
            table.gateways.extend(&network.gateways);
            let zone = Zone {
                network: network.clone(),
                names: HashMap::new(),
                reverse: HashMap::new(),
            };
            table.zones.insert(network.id.clone(), zone);
        }
        for container in &snapshot.containers {
            for endpoint in &container.endpoints {
                table.add(&container.id, endpoint);
            }
        }
        for container in &snapshot.containers {
            let mut links = HashMap::new();
            for endpoint in &container.endpoints {
                let Some(zone) = table.zones.get(&endpoint.network) else {
                    continue;
                };
                for (alias, target) in &endpoint.links {
                    // A container's full id isn't one of its names.
                    let short: String = target.chars().take(12).collect();
                    let found = zone.names.get(&key(target));
                    let found = found.or_else(|| zone.names.get(&key(&short)));
                    links.extend(found.map(|found| (key(alias), found.clone())));
                }
            }
            let asker = Asker {
                networks: container
                    .endpoints
                    .iter()
                    .map(|endpoint| endpoint.network.clone())
                    .collect(),
                links,
                servers: container.servers.clone(),
            };
            table.askers.insert(container.id.clone(), asker);
        }
        table
    }

    fn add(&mut self, id: &str, endpoint: &Endpoint) {
        let Some(zone) = self.zones.get_mut(&endpoint.network) else {
            return;
        };
        for ip in &endpoint.addresses {
            let place = (endpoint.network.clone(), *ip);
            self.owners.insert(place, id.to_owned());
        }
        if !zone.network.named {
            return;
        }
        for name in &endpoint.names {
            let known = zone.names.entry(key(name)).or_default();
            for ip in &endpoint.addresses {
                if !known.contains(ip) {
                    known.push(*ip);
                }
            }
        }
        if let Some(name) = endpoint.names.first() {
            let full = format!("{name}.{}", zone.network.name);
            for ip in &endpoint.addresses {
                zone.reverse.insert(*ip, full.clone());
            }
        }
    }

    /// What the host itself sees.
    pub(crate) fn host(&self) -> &host::Names {
        &self.host
    }

    /// Who asks from an address on a network.
    pub(crate) fn owner(&self, network: &str, ip: IpAddr) -> Option<&str> {
        let place = (network.to_owned(), ip);
        self.owners.get(&place).map(String::as_str)
    }

    /// Whether an address is the host's on one of the networks.
    pub(crate) fn is_gateway(&self, ip: IpAddr) -> bool {
        self.gateways.contains(&ip)
    }

    fn zones_of<'a>(&'a self, asker: &'a Asker) -> impl Iterator<Item = &'a Zone> {
        asker
            .networks
            .iter()
            .filter_map(|network| self.zones.get(network))
    }

    /// The addresses of a name, of both kinds; nothing if there is no such name.
    pub(crate) fn addresses(&self, asker: &str, name: &str) -> Option<Vec<IpAddr>> {
        let name = key(name);
        if name == "localhost" || name.ends_with(".localhost") {
            // RFC 6761, 6.3: never asked of anybody else.
            return Some(vec![
                [127, 0, 0, 1].into(),
                IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            ]);
        }
        let asker = self.askers.get(asker)?;
        if let Some(linked) = asker.links.get(&name) {
            return Some(linked.clone());
        }
        // As in Docker, the first network that has the name decides.
        for zone in self.zones_of(asker) {
            if let Some(found) = zone.names.get(&name) {
                return Some(found.clone());
            }
        }
        for zone in self.zones_of(asker) {
            let network = key(&zone.network.name);
            let own = name.strip_suffix(&network);
            let found = own
                .and_then(|own| own.strip_suffix('.'))
                .and_then(|own| zone.names.get(own));
            if let Some(found) = found {
                return Some(found.clone());
            }
        }
        if HOST.contains(&name.as_str()) {
            let first = self.zones_of(asker).next()?;
            return Some(first.network.gateways.clone());
        }
        None
    }

    /// The name of an address; `Some(None)` if it is one of our networks' and nobody's.
    pub(crate) fn name(&self, asker: &str, ip: IpAddr) -> Option<Option<&str>> {
        let asker = self.askers.get(asker)?;
        for zone in self.zones_of(asker) {
            if let Some(name) = zone.reverse.get(&ip) {
                return Some(Some(name));
            }
        }
        self.zones_of(asker)
            .any(|zone| zone.network.named && zone.network.contains(ip))
            .then_some(None)
    }

    /// Whom to ask for what isn't ours.
    pub(crate) fn upstream(&self, asker: &str) -> Upstream {
        let Some(asker) = self.askers.get(asker) else {
            return Upstream::Nobody;
        };
        let outside = self.zones_of(asker).any(|zone| !zone.network.internal);
        if outside && asker.servers.is_empty() {
            return Upstream::Host;
        }
        let mut servers = asker.servers.clone();
        // The sockets are the host's, whose loopback is none of a container's business.
        servers.retain(|server| {
            let inside = || {
                self.zones_of(asker)
                    .any(|zone| zone.network.contains(server.ip()))
            };
            !server.ip().is_loopback() && !self.is_gateway(server.ip()) && (outside || inside())
        });
        if servers.is_empty() {
            Upstream::Nobody
        } else {
            Upstream::These(servers)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new(&Snapshot::sample())
    }

    fn ips(texts: &[&str]) -> Option<Vec<IpAddr>> {
        Some(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn names_of_the_own_networks_alone() {
        let table = table();
        assert_eq!(table.addresses("one", "THREE."), ips(&["10.1.0.3"]));
        assert_eq!(table.addresses("two", "three"), ips(&["10.2.0.3"]));
        assert_eq!(table.addresses("one", "two"), None);
        assert_eq!(table.addresses("two", "one"), None);
        assert_eq!(
            table.addresses("three", "one"),
            ips(&["10.1.0.2", "fd00:1::2"])
        );
        // On both: the first network's.
        assert_eq!(table.addresses("three", "three"), ips(&["10.1.0.3"]));
        assert_eq!(table.addresses("nobody", "three"), None);
    }

    #[test]
    fn shared_linked_and_qualified_names() {
        let table = table();
        let all = ips(&["10.1.0.2", "fd00:1::2", "10.1.0.3"]);
        assert_eq!(table.addresses("one", "web"), all);
        assert_eq!(table.addresses("one", "web.front"), all);
        assert_eq!(table.addresses("one", "database"), ips(&["10.1.0.3"]));
        assert_eq!(table.addresses("three", "database"), None);
        assert_eq!(table.addresses("three", "three.back"), ips(&["10.2.0.3"]));
        assert_eq!(table.addresses("one", "three.back"), None);
        assert_eq!(table.addresses("one", "front"), None);
        assert_eq!(table.addresses("one", ".front"), None);
        assert_eq!(
            table.addresses("one", "host.docker.internal"),
            ips(&["10.1.0.1", "fd00:1::1"])
        );
        assert_eq!(
            table.addresses("two", "x.localhost"),
            ips(&["127.0.0.1", "::1"])
        );
    }

    #[test]
    fn addresses_have_the_containers_name() {
        let table = table();
        let name = |asker, ip: &str| table.name(asker, ip.parse().unwrap());
        assert_eq!(name("one", "10.1.0.3"), Some(Some("three.front")));
        assert_eq!(name("one", "fd00:1::2"), Some(Some("One.front")));
        assert_eq!(name("one", "10.1.0.9"), Some(None));
        assert_eq!(name("one", "10.2.0.3"), None);
        assert_eq!(name("one", "198.51.100.1"), None);
    }

    #[test]
    fn nothing_leaves_an_internal_network() {
        let mut snapshot = Snapshot::sample();
        let upstream = |snapshot: &Snapshot, asker| Table::new(snapshot).upstream(asker);
        assert_eq!(upstream(&snapshot, "one"), Upstream::Host);
        assert_eq!(upstream(&snapshot, "two"), Upstream::Nobody);
        assert_eq!(upstream(&snapshot, "three"), Upstream::Host);
        assert_eq!(upstream(&snapshot, "nobody"), Upstream::Nobody);
        let servers: Vec<SocketAddr> = [
            "10.2.0.3:53",
            "198.51.100.1:53",
            "127.0.0.1:53",
            "10.1.0.1:53",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        for container in &mut snapshot.containers {
            container.servers.clone_from(&servers);
        }
        assert_eq!(
            upstream(&snapshot, "one"),
            Upstream::These(servers[..2].to_vec())
        );
        assert_eq!(
            upstream(&snapshot, "two"),
            Upstream::These(servers[..1].to_vec())
        );
    }

    #[test]
    fn who_asks_is_known_by_the_address_on_the_network() {
        let table = table();
        assert_eq!(table.owner("b", "10.2.0.3".parse().unwrap()), Some("three"));
        assert_eq!(table.owner("f", "10.2.0.3".parse().unwrap()), None);
    }

    #[test]
    fn subnets() {
        let all = Network {
            subnets: vec![(IpAddr::from([0; 4]), 0)],
            ..Network::default()
        };
        assert!(all.contains([1, 2, 3, 4].into()));
        assert!(!all.contains("::1".parse().unwrap()));
    }
}
