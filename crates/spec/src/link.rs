//! Legacy links of the default bridge (`docker run --link`): what they say, and what the container that
//! has them is told of the other: names in its hosts file, and environment variables. As dockerd 26 does it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use coracle_runtime::RuntimeError;
use coracle_runtime::spec::{ContainerConfig, HostConfig};

use crate::SpecError;
use crate::check::exposed_port;

/// Longest alias, bytes: it is a name in a hosts file.
const MAX_ALIAS: usize = 255;
/// Most ports of a range that are told one by one: each is four variables of the new process.
const MAX_PORTS: usize = 1024;

/// A link, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The other container, by name or id.
    pub target: String,
    /// What it is to be called.
    pub alias: String,
}

/// Reads `container[:alias]`, or `/container:/own-name/alias`, as inspection shows it.
///
/// # Errors
/// `Invalid` for what is neither, and for an alias that can't be a name in a hosts file.
pub fn parse_link(text: &str) -> Result<Link, SpecError> {
    let bad = || SpecError::invalid(format!("bad format for links: {text}"));
    if text.is_empty() {
        return Err(SpecError::invalid("empty string specified for links"));
    }
    let (target, alias) = match text.split_once(':') {
        None => (text, text),
        Some((_, alias)) if alias.contains(':') => return Err(bad()),
        Some(given) => given,
    };
    let (target, alias) = match target.strip_prefix('/') {
        Some(target) => (target, alias.rsplit('/').next().unwrap_or_default()),
        None => (target, alias),
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '#' | '=');
    if target.is_empty() || alias.is_empty() || alias.len() > MAX_ALIAS || alias.contains(is_odd) {
        return Err(bad());
    }
    Ok(Link {
        target: target.to_owned(),
        alias: alias.to_owned(),
    })
}

/// The links of a container that are legacy ones: on a network of the user's they are names that its
/// settings there tell.
///
/// # Errors
/// `Invalid` as [`parse_link`], and where the network can't have links.
pub fn legacy_links(host: &HostConfig) -> Result<Vec<Link>, SpecError> {
    let mode = host.network_mode.as_str();
    let kind = match mode {
        "host" => Some("host type networking"),
        mode if mode.starts_with("container:") => Some("container type network"),
        _ => None,
    };
    if let Some(kind) = kind.filter(|_| !host.links.is_empty()) {
        return Err(SpecError::invalid(format!(
            "conflicting options: {kind} can't be used with links. This would result \
             in undefined behavior"
        )));
    }
    if !matches!(mode, "" | "default" | "bridge" | "none") {
        return Ok(Vec::new());
    }
    host.links.iter().map(|link| parse_link(link)).collect()
}

/// That a link leads nowhere. Not a container that is not found: clients take that for the image.
pub fn no_link_target(name: &str) -> RuntimeError {
    RuntimeError::InvalidArgument(format!(
        "could not get container for {name}: No such container: {name}"
    ))
}

/// That a link leads to a container that has no network of its own.
pub fn link_to_host() -> RuntimeError {
    RuntimeError::InvalidArgument(
        "conflicting options: host type networking can't be used with links. This would result in \
         undefined behavior"
            .into(),
    )
}

/// That the other end of a link doesn't run.
pub fn link_not_running(target: &str, own: &str, alias: &str) -> RuntimeError {
    RuntimeError::InvalidState(format!(
        "Cannot link to a non running container: /{target} AS /{own}/{alias}"
    ))
}

/// That the other end of a link is not on the default bridge.
pub fn link_elsewhere(target: &str) -> RuntimeError {
    RuntimeError::InvalidState(format!(
        "Cannot link to /{target}, as it does not belong to the default network"
    ))
}

/// How inspection shows a link.
pub fn shown_link(target: &str, own: &str, alias: &str) -> String {
    format!("/{target}:/{own}/{alias}")
}

/// What the other container is called in the hosts file: the alias first, by which the line is found again.
pub fn link_names(alias: &str, hostname: &str, name: &str) -> Vec<String> {
    let mut names = vec![alias.to_owned()];
    for other in [hostname, name] {
        if !other.is_empty() && !names.iter().any(|name| name == other) {
            names.push(other.to_owned());
        }
    }
    names
}

/// The variables that tell a container of another: its ports and its environment.
pub fn link_environment(
    own: &str,
    alias: &str,
    address: IpAddr,
    other: &ContainerConfig,
) -> Vec<String> {
    let upper = alias.to_uppercase().replace('-', "_");
    let ports = ports(other);
    let mut env = Vec::new();
    if let Some((port, proto)) = ports.first() {
        env.push(format!("{upper}_PORT={proto}://{address}:{port}"));
    }
    for range in contiguous(&ports) {
        let [(first, proto), .., (last, _)] = range.as_slice() else {
            continue;
        };
        let prefix = format!("{upper}_PORT_{first}_{}", proto.to_uppercase());
        env.extend([
            format!("{prefix}_START={proto}://{address}:{first}"),
            format!("{prefix}_ADDR={address}"),
            format!("{prefix}_PROTO={proto}"),
            format!("{prefix}_PORT_START={first}"),
            format!("{prefix}_END={proto}://{address}:{last}"),
            format!("{prefix}_PORT_END={last}"),
        ]);
    }
    for (port, proto) in &ports {
        let prefix = format!("{upper}_PORT_{port}_{}", proto.to_uppercase());
        env.extend([
            format!("{prefix}={proto}://{address}:{port}"),
            format!("{prefix}_ADDR={address}"),
            format!("{prefix}_PORT={port}"),
            format!("{prefix}_PROTO={proto}"),
        ]);
    }
    env.push(format!("{upper}_NAME=/{own}/{alias}"));
    for line in &other.env {
        match line.split_once('=') {
            None | Some(("HOME" | "PATH", _)) => {}
            Some((name, value)) => env.push(format!("{upper}_ENV_{name}={value}")),
        }
    }
    env
}

/// Exposed ports by number, TCP first.
fn ports(config: &ContainerConfig) -> Vec<(u16, &'static str)> {
    let mut found = BTreeSet::new();
    for port in config.exposed_ports.keys() {
        let Ok((first, last, proto)) = exposed_port(port) else {
            continue;
        };
        let proto = match proto {
            "udp" => "udp",
            "sctp" => "sctp",
            _ => "tcp",
        };
        found.extend((first..=last).map(|port| (port, proto != "tcp", proto)));
    }
    let ports = found.into_iter().map(|(port, _, proto)| (port, proto));
    ports.take(MAX_PORTS).collect()
}

/// Runs of at least two ports that follow each other, of one protocol.
fn contiguous<'a>(
    ports: &'a [(u16, &'static str)],
) -> impl Iterator<Item = Vec<(u16, &'static str)>> + 'a {
    ["tcp", "udp", "sctp"].into_iter().flat_map(move |proto| {
        let of: Vec<_> = ports
            .iter()
            .filter(|port| port.1 == proto)
            .copied()
            .collect();
        let runs = of.chunk_by(|one, next| one.0.checked_add(1) == Some(next.0));
        let runs: Vec<Vec<_>> = runs.map(<[_]>::to_vec).collect();
        runs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_says() {
        let link = |target: &str, alias: &str| Link {
            target: target.into(),
            alias: alias.into(),
        };
        for (text, expected) in [
            ("db", link("db", "db")),
            ("db:data-base", link("db", "data-base")),
            ("/db:/web/data", link("db", "data")),
        ] {
            assert_eq!(parse_link(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "", "a:b:c", "db:", ":x", "/:/a/b", "db:a b", "db:a/b", "db:a\nb", "db:a#b", "db:a=b",
        ] {
            assert!(parse_link(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn where_links_are_legacy_ones() {
        let host = |mode: &str| HostConfig {
            network_mode: mode.into(),
            links: vec!["a:b".into()],
            ..HostConfig::default()
        };
        for mode in ["", "default", "bridge", "none"] {
            assert_eq!(legacy_links(&host(mode)).unwrap().len(), 1, "{mode}");
        }
        assert!(legacy_links(&host("own")).unwrap().is_empty());
        for mode in ["host", "container:x"] {
            assert!(legacy_links(&host(mode)).is_err(), "{mode}");
        }
    }

    #[test]
    fn names_are_said_once() {
        assert_eq!(link_names("x", "host", "db"), ["x", "host", "db"]);
        assert_eq!(link_names("db", "host", "db"), ["db", "host"]);
        assert_eq!(link_names("x", "", "x"), ["x"]);
    }

    #[test]
    fn variables_as_dockerd_sets_them() {
        let ports = ["5432/tcp", "80/udp", "80/tcp", "81/tcp", "82/tcp"];
        let config = ContainerConfig {
            env: ["FOO=bar", "EMPTY=", "A=b=c", "HOME=/x", "PATH=/y", "BARE"]
                .map(str::to_owned)
                .to_vec(),
            exposed_ports: ports
                .map(|port| (port.to_owned(), Default::default()))
                .into(),
            ..ContainerConfig::default()
        };
        let env = link_environment("web", "d-b", "172.17.0.2".parse().unwrap(), &config);
        let expected = "D_B_PORT=tcp://172.17.0.2:80
D_B_PORT_80_TCP_START=tcp://172.17.0.2:80
D_B_PORT_80_TCP_ADDR=172.17.0.2
D_B_PORT_80_TCP_PROTO=tcp
D_B_PORT_80_TCP_PORT_START=80
D_B_PORT_80_TCP_END=tcp://172.17.0.2:82
D_B_PORT_80_TCP_PORT_END=82
D_B_PORT_80_TCP=tcp://172.17.0.2:80
D_B_PORT_80_TCP_ADDR=172.17.0.2
D_B_PORT_80_TCP_PORT=80
D_B_PORT_80_TCP_PROTO=tcp
D_B_PORT_80_UDP=udp://172.17.0.2:80
D_B_PORT_80_UDP_ADDR=172.17.0.2
D_B_PORT_80_UDP_PORT=80
D_B_PORT_80_UDP_PROTO=udp
D_B_PORT_81_TCP=tcp://172.17.0.2:81
D_B_PORT_81_TCP_ADDR=172.17.0.2
D_B_PORT_81_TCP_PORT=81
D_B_PORT_81_TCP_PROTO=tcp
D_B_PORT_82_TCP=tcp://172.17.0.2:82
D_B_PORT_82_TCP_ADDR=172.17.0.2
D_B_PORT_82_TCP_PORT=82
D_B_PORT_82_TCP_PROTO=tcp
D_B_PORT_5432_TCP=tcp://172.17.0.2:5432
D_B_PORT_5432_TCP_ADDR=172.17.0.2
D_B_PORT_5432_TCP_PORT=5432
D_B_PORT_5432_TCP_PROTO=tcp
D_B_NAME=/web/d-b
D_B_ENV_FOO=bar
D_B_ENV_EMPTY=
D_B_ENV_A=b=c";
        assert_eq!(env.join("\n"), expected);
    }
}
