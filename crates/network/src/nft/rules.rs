//! Our rules: what they say, and how they change.
//!
//! ```text
//! prerouting, output (nat)   to this host, published port  -> the container (maps)
//!                            but a name asked of a network's gateway: to this host
//! forward (filter)           replies, published ports, same bridge: accept
//!                            else into one of our bridges, or out of an internal one: drop
//! postrouting (nat)          out of a network by another way than its bridge: masquerade
//!                            back into its own bridge through a published port: masquerade
//! ```
//!
//! Which ports are published stands in maps, from protocol and port (and host address, if it isn't
//! all of them) to a container's address and to its port. Two maps, since `nft` 1.0 can't declare
//! one with a concatenated value in JSON. So publishing changes elements, never rules.
//!
//! `accept` ends only our own chain: a packet that another table drops stays dropped. Where someone
//! else's `forward` chain has the policy `drop` (dockerd's iptables rules, a firewall of the
//! host's), they must let our bridges pass.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::elements::{self, Elements, MAPS};
use super::json::{
    Command, Hook, concat, connection, dnat, is, is_not, jump, look_up, meta, payload, prefix,
    simple, to_this_host,
};
use crate::driver::Driver;
use crate::network::Network;
use crate::subnet::Subnet;

/// What the rules depend on, besides published ports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks {
    bridges: Vec<Bridge>,
    /// Whether a proxy serves what comes from 127.0.0.1.
    proxy: bool,
}

#[derive(Debug, Clone)]
struct Bridge {
    name: String,
    subnets: Vec<Subnet>,
    internal: bool,
    icc: bool,
    masquerade: bool,
    /// Where machines on it ask for names, if it has names.
    names: Option<IpAddr>,
}

impl Networks {
    pub(crate) fn new<'a>(networks: impl Iterator<Item = &'a Network>, proxy: bool) -> Self {
        let networks = networks.filter(|n| n.driver == Driver::Bridge);
        let bridges = networks.map(|n| Bridge {
            name: n.bridge.clone(),
            subnets: n.pools().map(|p| p.subnet).collect(),
            internal: n.internal,
            icc: n.icc,
            masquerade: n.masquerade,
            names: n.gateway().filter(|_| !n.is_default()),
        });
        Self {
            bridges: bridges.collect(),
            proxy,
        }
    }
}

const DNS_PORT: u16 = 53;
const BRIDGES: &str = "@bridges";

/// The whole table, made anew: whatever it held is replaced in the same transaction.
pub(crate) fn rebuild(networks: &Networks, published: &Elements) -> Vec<Command> {
    // Adding first makes deleting right also where there is none.
    let mut commands = vec![Command::AddTable, Command::DeleteTable, Command::AddTable];
    commands.extend([
        Command::AddSet {
            name: "bridges",
            key: &["ifname"],
        },
        Command::AddSet {
            name: "internal",
            key: &["ifname"],
        },
        Command::AddSet {
            name: "same",
            key: &["ifname", "ifname"],
        },
    ]);
    for bridge in &networks.bridges {
        let name = &bridge.name;
        commands.push(Command::AddElement {
            set: "bridges",
            element: json!(name),
        });
        if bridge.internal {
            commands.push(Command::AddElement {
                set: "internal",
                element: json!(name),
            });
        }
        if bridge.icc {
            let element = concat([json!(name), json!(name)]);
            commands.push(Command::AddElement {
                set: "same",
                element,
            });
        }
    }
    for maps in &MAPS {
        let value = if maps.ipv4 { "ipv4_addr" } else { "ipv6_addr" };
        commands.extend([
            Command::AddMap {
                name: maps.address,
                key: maps.key,
                value,
            },
            Command::AddMap {
                name: maps.port,
                key: maps.key,
                value: "inet_service",
            },
        ]);
    }
    destination_rules(networks, &mut commands);
    forward_rules(&mut commands);
    source_rules(networks, &mut commands);
    for (key, target) in published {
        commands.extend(elements::add(key, target));
    }
    commands
}

fn base(commands: &mut Vec<Command>, name: &'static str, hook: Hook) {
    commands.push(Command::AddChain {
        name,
        hook: Some(hook),
    });
}

fn rule<const N: usize>(commands: &mut Vec<Command>, chain: &'static str, statements: [Value; N]) {
    commands.push(Command::AddRule {
        chain,
        statements: statements.into(),
    });
}

fn loopback() -> Value {
    json!({ "prefix": { "addr": "127.0.0.0", "len": 8 } })
}

fn destination_rules(networks: &Networks, commands: &mut Vec<Command>) {
    commands.push(Command::AddChain {
        name: "published",
        hook: None,
    });
    for maps in &MAPS {
        let (family, header) = if maps.ipv4 {
            ("ip", "ipv4")
        } else {
            ("ip6", "ipv6")
        };
        let proto_and_port = [meta("l4proto"), payload("th", "dport")];
        let host_ip = (!maps.any_host_ip).then(|| payload(family, "daddr"));
        let key = concat(host_ip.into_iter().chain(proto_and_port));
        let target = dnat(
            family,
            look_up(&key, maps.address),
            look_up(&key, maps.port),
        );
        rule(commands, "published", [is(meta("nfproto"), header), target]);
    }

    base(
        commands,
        "prerouting",
        Hook {
            kind: "nat",
            hook: "prerouting",
            priority: -100,
        },
    );
    for bridge in &networks.bridges {
        // Who has published port 53 isn't who machines ask for names.
        if let Some(gateway) = bridge.names {
            let family = if gateway.is_ipv4() { "ip" } else { "ip6" };
            let question = [
                is(meta("iifname"), bridge.name.as_str()),
                is(payload(family, "daddr"), gateway.to_string()),
                is(meta("l4proto"), json!({ "set": ["tcp", "udp"] })),
                is(payload("th", "dport"), DNS_PORT),
                simple("return"),
            ];
            rule(commands, "prerouting", question);
        }
    }
    rule(commands, "prerouting", [to_this_host(), jump("published")]);

    base(
        commands,
        "output",
        Hook {
            kind: "nat",
            hook: "output",
            priority: -100,
        },
    );
    if networks.proxy {
        rule(
            commands,
            "output",
            [is(payload("ip", "daddr"), loopback()), simple("return")],
        );
    }
    // An IPv6 packet from ::1 can't leave the host, whatever it is translated to.
    rule(
        commands,
        "output",
        [is(payload("ip6", "daddr"), "::1"), simple("return")],
    );
    rule(commands, "output", [to_this_host(), jump("published")]);

    if !networks.proxy {
        // Our bridges have route_localnet then: containers mustn't reach the host's loopback by it.
        base(
            commands,
            "raw",
            Hook {
                kind: "filter",
                hook: "prerouting",
                priority: -300,
            },
        );
        rule(
            commands,
            "raw",
            [
                is(meta("iifname"), BRIDGES),
                is(payload("ip", "daddr"), loopback()),
                simple("drop"),
            ],
        );
    }
}

fn forward_rules(commands: &mut Vec<Command>) {
    let (into_ours, same) = (
        || is(meta("oifname"), BRIDGES),
        concat([meta("iifname"), meta("oifname")]),
    );
    base(
        commands,
        "forward",
        Hook {
            kind: "filter",
            hook: "forward",
            priority: 0,
        },
    );
    rule(
        commands,
        "forward",
        [
            connection("state", &["established", "related"]),
            simple("accept"),
        ],
    );
    rule(
        commands,
        "forward",
        [
            into_ours(),
            connection("status", &["dnat"]),
            simple("accept"),
        ],
    );
    rule(commands, "forward", [is(same, "@same"), simple("accept")]);
    rule(commands, "forward", [into_ours(), simple("drop")]);
    rule(
        commands,
        "forward",
        [is(meta("iifname"), "@internal"), simple("drop")],
    );
}

fn source_rules(networks: &Networks, commands: &mut Vec<Command>) {
    base(
        commands,
        "postrouting",
        Hook {
            kind: "nat",
            hook: "postrouting",
            priority: 100,
        },
    );
    for bridge in networks.bridges.iter().filter(|b| !b.internal) {
        for subnet in &bridge.subnets {
            let family = if subnet.is_ipv4() { "ip" } else { "ip6" };
            let from = is(payload(family, "saddr"), prefix(subnet));
            if bridge.masquerade {
                rule(
                    commands,
                    "postrouting",
                    [
                        from.clone(),
                        is_not(meta("oifname"), bridge.name.as_str()),
                        simple("masquerade"),
                    ],
                );
            }
            // Else the answer would go past us, straight to a peer that waits for the host's.
            rule(
                commands,
                "postrouting",
                [
                    from,
                    is(meta("oifname"), bridge.name.as_str()),
                    connection("status", &["dnat"]),
                    simple("masquerade"),
                ],
            );
        }
    }
    if !networks.proxy {
        rule(
            commands,
            "postrouting",
            [
                is(payload("ip", "saddr"), loopback()),
                is(meta("oifname"), BRIDGES),
                simple("masquerade"),
            ],
        );
    }
}
