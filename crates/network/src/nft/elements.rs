//! Published ports as elements of the table's maps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::json::{Command, concat};
use crate::Proto;

/// A published port as the firewall sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) ipv4: bool,
    /// `None`: any address of this host.
    pub(crate) host_ip: Option<IpAddr>,
    pub(crate) proto: Proto,
    pub(crate) port: u16,
}

/// Where a published port leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

/// Published ports by their key.
pub(crate) type Elements = BTreeMap<Key, Target>;

const MAP_KEY_ANY: &[&str] = &["inet_proto", "inet_service"];
const MAP_KEY_4: &[&str] = &["ipv4_addr", "inet_proto", "inet_service"];
const MAP_KEY_6: &[&str] = &["ipv6_addr", "inet_proto", "inet_service"];

/// A pair of maps, from the same keys to addresses and to ports.
pub(super) struct Maps {
    pub(super) address: &'static str,
    pub(super) port: &'static str,
    pub(super) key: &'static [&'static str],
    pub(super) ipv4: bool,
    pub(super) any_host_ip: bool,
}

/// The more special ones first: that is the order in which they are asked.
pub(super) const MAPS: [Maps; 4] = [
    Maps {
        address: "one4_address",
        port: "one4_port",
        key: MAP_KEY_4,
        ipv4: true,
        any_host_ip: false,
    },
    Maps {
        address: "one6_address",
        port: "one6_port",
        key: MAP_KEY_6,
        ipv4: false,
        any_host_ip: false,
    },
    Maps {
        address: "any4_address",
        port: "any4_port",
        key: MAP_KEY_ANY,
        ipv4: true,
        any_host_ip: true,
    },
    Maps {
        address: "any6_address",
        port: "any6_port",
        key: MAP_KEY_ANY,
        ipv4: false,
        any_host_ip: true,
    },
];

/// Publishes a port.
pub(crate) fn add(key: &Key, target: &Target) -> [Command; 2] {
    let maps = maps_of(key);
    [
        Command::AddElement {
            set: maps.address,
            element: json!([key.to_json(), target.ip.to_string()]),
        },
        Command::AddElement {
            set: maps.port,
            element: json!([key.to_json(), target.port]),
        },
    ]
}

/// Takes a port back.
pub(crate) fn delete(key: &Key) -> [Command; 2] {
    let maps = maps_of(key);
    [maps.address, maps.port].map(|set| Command::DeleteElement {
        set,
        key: key.to_json(),
    })
}

fn maps_of(key: &Key) -> &'static Maps {
    match (key.ipv4, key.host_ip.is_none()) {
        (true, false) => &MAPS[0],
        (false, false) => &MAPS[1],
        (true, true) => &MAPS[2],
        (false, true) => &MAPS[3],
    }
}

impl Key {
    fn to_json(self) -> Value {
        let proto_and_port = [json!(self.proto.as_str()), json!(self.port)];
        concat(
            self.host_ip
                .map(|ip| json!(ip.to_string()))
                .into_iter()
                .chain(proto_and_port),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::json::transaction;

    #[test]
    fn a_port_is_two_elements() {
        let key = Key {
            ipv4: true,
            host_ip: None,
            proto: Proto::Udp,
            port: 53,
        };
        let target = Target {
            ip: "172.17.0.2".parse().unwrap(),
            port: 5353,
        };
        assert_eq!(
            transaction("t", &add(&key, &target)).to_string(),
            concat!(
                r#"{"nftables":[{"add":{"element":{"elem":[[{"concat":["udp",53]},"172.17.0.2"]],"#,
                r#""family":"inet","name":"any4_address","table":"t"}}},{"add":{"element":{"#,
                r#""elem":[[{"concat":["udp",53]},5353]],"family":"inet","name":"any4_port","table":"t"}}}]}"#
            )
        );
        let key = Key {
            host_ip: Some("fd00::1".parse().unwrap()),
            ipv4: false,
            ..key
        };
        assert_eq!(
            key.to_json().to_string(),
            r#"{"concat":["fd00::1","udp",53]}"#
        );
        assert!(maps_of(&key).address.starts_with("one6"));
    }
}
