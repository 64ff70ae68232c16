//! Names for the host itself: `NAME.DOMAIN` and `NAME.NETWORK.DOMAIN` of all containers. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::error::{Error, Result};
use crate::snapshot::{Network, Snapshot};

/// The longest domain, so that a container's name and a network's have room before it (RFC 1035,
/// 3.1: 255 bytes in all).
const LONGEST: usize = 63;
/// What a domain can't be, or be in: they have a meaning of their own (RFC 6761, RFC 6762).
const TAKEN: [&str; 4] = ["arpa", "localhost", "local", "invalid"];

/// Where the host's programs ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    address: SocketAddr,
    domain: String,
}

impl Host {
    /// A loopback address with a port, and the domain that all names end in.
    ///
    /// # Errors
    /// `HostAddress` if others could ask there, or if there is no port; `Domain` if it is no name, or
    /// one that means something else.
    pub fn new(address: SocketAddr, domain: &str) -> Result<Self> {
        if !address.ip().is_loopback() || address.port() == 0 {
            return Err(Error::HostAddress(address));
        }
        let domain = key(domain);
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let label = |label: &str| !label.is_empty() && label.bytes().all(letter);
        let last = domain.rsplit('.').next().unwrap_or_default();
        if domain.len() > LONGEST || !domain.split('.').all(label) || TAKEN.contains(&last) {
            return Err(Error::Domain(domain));
        }
        Ok(Self { address, domain })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The domain, in small letters, without a dot at its end.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

/// A name in the form that it is looked up in.
fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// All names that the host sees, without the domain.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// A name without addresses has others below it.
    names: HashMap<String, Vec<IpAddr>>,
    reverse: HashMap<IpAddr, String>,
    networks: Vec<Network>,
}

impl Names {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let networks = snapshot.networks.iter().filter(|network| network.bridged);
        let mut made = Self {
            networks: networks.cloned().collect(),
            ..Self::default()
        };
        // A container's own name is its alone, and so comes before a name on a network that reads
        // the same: `a.b`, and `a` on `b`.
        let mut qualified: Vec<(String, Vec<IpAddr>)> = Vec::new();
        for container in &snapshot.containers {
            for endpoint in &container.endpoints {
                let network = made.networks.iter().find(|net| net.id == endpoint.network);
                let Some(network) = network.map(|network| network.name.clone()) else {
                    continue;
                };
                for name in &endpoint.names {
                    let name = key(&format!("{name}.{network}"));
                    qualified.push((name, endpoint.addresses.clone()));
                }
                let Some(own) = endpoint.names.first() else {
                    continue;
                };
                add(&mut made.names, key(own), &endpoint.addresses);
                for ip in &endpoint.addresses {
                    made.reverse.insert(*ip, key(own));
                }
            }
        }
        let mut others = HashMap::new();
        for (name, addresses) in qualified {
            add(&mut others, name, &addresses);
        }
        for (name, addresses) in others {
            made.names.entry(name).or_insert(addresses);
        }
        // What others are below is there (RFC 8020), with no data of its own.
        let whole: Vec<String> = made.names.keys().cloned().collect();
        for name in whole {
            let mut rest = name.as_str();
            while let Some((_, above)) = rest.split_once('.') {
                made.names.entry(above.to_owned()).or_default();
                rest = above;
            }
        }
        made
    }

    /// The addresses of a name; `Some(None)` if it would be ours and isn't there, `None` if it is in
    /// another domain.
    pub(crate) fn addresses(&self, domain: &str, name: &str) -> Option<Option<Vec<IpAddr>>> {
        let name = key(name);
        let below = name.strip_suffix(domain)?;
        if below.is_empty() {
            return Some(Some(Vec::new()));
        }
        let below = below.strip_suffix('.')?;
        Some(self.names.get(below).cloned())
    }

    /// The name of an address; `Some(None)` if it is one of our networks' and nobody's.
    pub(crate) fn name(&self, domain: &str, ip: IpAddr) -> Option<Option<String>> {
        if let Some(name) = self.reverse.get(&ip) {
            return Some(Some(format!("{name}.{domain}")));
        }
        let ours = self.networks.iter().any(|network| network.contains(ip));
        ours.then_some(None)
    }
}

fn add(names: &mut HashMap<String, Vec<IpAddr>>, name: String, addresses: &[IpAddr]) {
    let known = names.entry(name).or_default();
    for ip in addresses {
        if !known.contains(ip) {
            known.push(*ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Option<Option<Vec<IpAddr>>> {
        Some(Some(texts.iter().map(|ip| ip.parse().unwrap()).collect()))
    }

    #[test]
    fn all_containers_by_name_and_by_network() {
        let names = Names::new(&Snapshot::sample());
        let addresses = |name| names.addresses("coracle", name);
        assert_eq!(addresses("ONE.Coracle."), ips(&["10.1.0.2", "fd00:1::2"]));
        assert_eq!(addresses("two.coracle"), ips(&["10.2.0.2"]));
        assert_eq!(addresses("three.coracle"), ips(&["10.1.0.3", "10.2.0.3"]));
        assert_eq!(addresses("three.back.coracle"), ips(&["10.2.0.3"]));
        // The default network's, which give each other no names.
        assert_eq!(addresses("plain.coracle"), ips(&["10.3.0.2"]));
        assert_eq!(addresses("plain.bridge.coracle"), ips(&["10.3.0.2"]));
        // An alias is a network's: other networks may have the same.
        let web = ips(&["10.1.0.2", "fd00:1::2", "10.1.0.3"]);
        assert_eq!(addresses("web.front.coracle"), web);
        assert_eq!(addresses("web.coracle"), Some(None));
        assert_eq!(addresses("two.front.coracle"), Some(None));
        assert_eq!(addresses("x.one.coracle"), Some(None));
        // Nothing of their own, but others below them.
        assert_eq!(addresses("front.coracle"), ips(&[]));
        assert_eq!(addresses("coracle"), ips(&[]));
        for name in ["one", "one.example", "onecoracle", "localhost", ""] {
            assert_eq!(addresses(name), None, "{name}");
        }
        assert_eq!(addresses(".coracle"), Some(None));
    }

    #[test]
    fn what_a_bridge_does_not_have_is_not_told() {
        let mut snapshot = Snapshot::sample();
        snapshot.networks[1].bridged = false;
        let names = Names::new(&snapshot);
        assert_eq!(names.addresses("coracle", "two.coracle"), Some(None));
        assert_eq!(
            names.addresses("coracle", "three.coracle"),
            ips(&["10.1.0.3"])
        );
        assert_eq!(names.name("coracle", "10.2.0.3".parse().unwrap()), None);
    }

    #[test]
    fn a_containers_own_name_comes_first() {
        let mut snapshot = Snapshot::sample();
        snapshot.containers[1].endpoints[0].names = vec!["one.front".into()];
        let names = Names::new(&snapshot);
        let addresses = |name| names.addresses("coracle", name);
        assert_eq!(addresses("one.front.coracle"), ips(&["10.2.0.2"]));
        assert_eq!(addresses("one.front.back.coracle"), ips(&["10.2.0.2"]));
    }

    #[test]
    fn addresses_have_names() {
        let names = Names::new(&Snapshot::sample());
        let name = |ip: &str| names.name("a.test", ip.parse().unwrap());
        assert_eq!(name("10.2.0.3"), Some(Some("three.a.test".into())));
        assert_eq!(name("fd00:1::2"), Some(Some("one.a.test".into())));
        assert_eq!(name("10.2.0.9"), Some(None));
        assert_eq!(name("198.51.100.1"), None);
    }

    #[test]
    fn only_the_host_itself_and_domains_of_ours() {
        let host = |address: &str, domain| Host::new(address.parse().unwrap(), domain);
        let made = host("127.0.0.1:2053", "Coracle.").unwrap();
        assert_eq!(made.domain(), "coracle");
        assert!(host("[::1]:2053", "a.b-c.test").is_ok());
        for address in ["0.0.0.0:53", "192.0.2.1:53", "[::]:53", "127.0.0.1:0"] {
            let refused = host(address, "coracle");
            assert!(matches!(refused, Err(Error::HostAddress(_))), "{address}");
        }
        let long = "a".repeat(64);
        for domain in [
            "",
            ".",
            "a..b",
            "a b",
            "a\nb",
            "in-addr.arpa",
            "localhost",
            "x.local",
            &long,
        ] {
            let refused = host("127.0.0.1:2053", domain);
            assert!(matches!(refused, Err(Error::Domain(_))), "{domain:?}");
        }
    }
}
