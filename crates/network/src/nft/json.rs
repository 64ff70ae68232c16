//! The part of `nft`'s JSON (libnftables-json(5)) that our rules need, as types.

use serde_json::{Value, json};

use crate::subnet::Subnet;

/// Family of our table: rules of `inet` see both IPv4 and IPv6.
const FAMILY: &str = "inet";

/// A command. A file of them is one transaction.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    AddTable,
    DeleteTable,
    AddChain {
        name: &'static str,
        hook: Option<Hook>,
    },
    AddRule {
        chain: &'static str,
        statements: Vec<Value>,
    },
    AddSet {
        name: &'static str,
        key: &'static [&'static str],
    },
    AddMap {
        name: &'static str,
        key: &'static [&'static str],
        value: &'static str,
    },
    AddElement {
        set: &'static str,
        element: Value,
    },
    DeleteElement {
        set: &'static str,
        key: Value,
    },
}

/// Where in a packet's way a base chain stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) hook: &'static str,
    pub(crate) priority: i32,
}

/// The input of `nft -j -f -`.
pub(crate) fn transaction(table: &str, commands: &[Command]) -> Value {
    let commands: Vec<Value> = commands.iter().map(|c| c.to_json(table)).collect();
    json!({ "nftables": commands })
}

impl Command {
    fn to_json(&self, table: &str) -> Value {
        let named = |name: &str| json!({ "family": FAMILY, "table": table, "name": name });
        match self {
            Self::AddTable => json!({ "add": { "table": { "family": FAMILY, "name": table } } }),
            Self::DeleteTable => {
                json!({ "delete": { "table": { "family": FAMILY, "name": table } } })
            }
            Self::AddChain { name, hook } => {
                let mut chain = named(name);
                if let Some(hook) = hook {
                    chain["type"] = hook.kind.into();
                    chain["hook"] = hook.hook.into();
                    chain["prio"] = hook.priority.into();
                    chain["policy"] = "accept".into();
                }
                json!({ "add": { "chain": chain } })
            }
            Self::AddRule { chain, statements } => json!({ "add": { "rule": {
                "family": FAMILY, "table": table, "chain": chain, "expr": statements,
            } } }),
            Self::AddSet { name, key } => {
                let mut set = named(name);
                set["type"] = data_type(key);
                json!({ "add": { "set": set } })
            }
            Self::AddMap { name, key, value } => {
                let mut map = named(name);
                map["type"] = data_type(key);
                map["map"] = json!(value);
                json!({ "add": { "map": map } })
            }
            Self::AddElement { set, element } => {
                let mut elements = named(set);
                elements["elem"] = json!([element]);
                json!({ "add": { "element": elements } })
            }
            Self::DeleteElement { set, key } => {
                let mut elements = named(set);
                elements["elem"] = json!([key]);
                json!({ "delete": { "element": elements } })
            }
        }
    }
}

/// The type of a key; an array of one counts as a concatenation, which it isn't.
fn data_type(key: &[&str]) -> Value {
    if let [one] = key {
        json!(one)
    } else {
        json!(key)
    }
}

/// Values of several fields as one.
pub(crate) fn concat(values: impl IntoIterator<Item = Value>) -> Value {
    json!({ "concat": values.into_iter().collect::<Vec<_>>() })
}

/// Metadata of a packet: `iifname`, `oifname`, `l4proto`, `nfproto`.
pub(crate) fn meta(key: &str) -> Value {
    json!({ "meta": { "key": key } })
}

/// A field of a header.
pub(crate) fn payload(protocol: &str, field: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": field } })
}

/// Goes on if `left` is `right`, which may be the name of a set with `@` before it.
pub(crate) fn is(left: Value, right: impl Into<Value>) -> Value {
    json!({ "match": { "op": "==", "left": left, "right": right.into() } })
}

/// Goes on if `left` isn't `right`.
pub(crate) fn is_not(left: Value, right: impl Into<Value>) -> Value {
    json!({ "match": { "op": "!=", "left": left, "right": right.into() } })
}

/// Goes on if the packet goes to an address of this host.
pub(crate) fn to_this_host() -> Value {
    is(
        json!({ "fib": { "result": "type", "flags": ["daddr"] } }),
        "local",
    )
}

/// Goes on if the packet's connection has one of these states (`state`) or flags (`status`).
pub(crate) fn connection(key: &str, values: &[&str]) -> Value {
    let right = if let [one] = values {
        json!(one)
    } else {
        json!(values)
    };
    json!({ "match": { "op": "in", "left": { "ct": { "key": key } }, "right": right } })
}

/// A subnet as a value.
pub(crate) fn prefix(subnet: &Subnet) -> Value {
    json!({ "prefix": { "addr": subnet.network().to_string(), "len": subnet.prefix() } })
}

/// What `key` stands for in a map.
pub(crate) fn look_up(key: &Value, map: &str) -> Value {
    json!({ "map": { "key": key, "data": format!("@{map}") } })
}

/// Sends the connection to another address and port.
pub(crate) fn dnat(family: &str, address: Value, port: Value) -> Value {
    json!({ "dnat": { "family": family, "addr": address, "port": port } })
}

/// A statement without parameters: `accept`, `drop`, `return`, `masquerade`.
pub(crate) fn simple(name: &str) -> Value {
    json!({ name: null })
}

/// Goes through another chain, then on.
pub(crate) fn jump(chain: &str) -> Value {
    json!({ "jump": { "target": chain } })
}
