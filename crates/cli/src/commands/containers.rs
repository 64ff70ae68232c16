//! What is shown of a container in lists.

use coracle_docker::container::{ContainerSummary, Port};
use coracle_docker::human;
use jiff::Timestamp;
use serde_json::Value;

use crate::output::{Row, ago, created_at, row, short_id};

/// Longest command line in a table.
const COMMAND: usize = 20;

/// A container's cells.
pub(super) fn cells(container: &ContainerSummary, full: bool) -> Row {
    let created = Timestamp::from_second(container.created).ok();
    let id = if full {
        &container.id
    } else {
        short_id(&container.id)
    };
    row([
        ("ID", id.into()),
        ("Names", names(container, full).into()),
        ("Image", image(container, full).into()),
        ("Command", command(&container.command, full).into()),
        ("CreatedAt", created_at(created).into()),
        ("RunningFor", ago(created).into()),
        ("Ports", ports(&container.ports).into()),
        ("State", container.state.clone().into()),
        ("Status", container.status.clone().into()),
        ("Size", size(container).into()),
        ("Labels", labels(container).into()),
        ("Mounts", mounts(container, full).into()),
        ("LocalVolumes", local_volumes(container).into()),
        ("Networks", networks(container).into()),
    ])
}

fn names(container: &ContainerSummary, full: bool) -> String {
    let names = container.names.iter();
    let names: Vec<&str> = names
        .map(|name| name.strip_prefix('/').unwrap_or(name))
        // One with a slash is what another calls it by a link.
        .filter(|name| full || !name.contains('/'))
        .collect();
    names.join(",")
}

fn image(container: &ContainerSummary, full: bool) -> String {
    match container.image.as_str() {
        "" => "<no image>".to_owned(),
        image if !full && (image.starts_with("sha256:") || image == container.image_id) => {
            short_id(image).to_owned()
        }
        image => image.to_owned(),
    }
}

fn command(command: &str, full: bool) -> String {
    let length = command.chars().count();
    if full || length <= COMMAND {
        return Value::from(command).to_string();
    }
    let mut short: String = command.chars().take(COMMAND - 1).collect();
    short.push('…');
    Value::from(short).to_string()
}

fn size(container: &ContainerSummary) -> String {
    let writable = human::size_with_precision(container.size_rw.unwrap_or_default(), 3);
    match container.size_root_fs {
        Some(size) if size > 0 => {
            format!(
                "{writable} (virtual {})",
                human::size_with_precision(size, 3)
            )
        }
        _ => writable,
    }
}

fn labels(container: &ContainerSummary) -> String {
    let labels = container.labels.iter();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.join(",")
}

fn mounts(container: &ContainerSummary, full: bool) -> String {
    let mounts = container.mounts.iter().map(|mount| {
        let name = if mount.name.is_empty() {
            &mount.source
        } else {
            &mount.name
        };
        if full || name.chars().count() <= 15 {
            return name.clone();
        }
        let mut short: String = name.chars().take(14).collect();
        short.push('…');
        short
    });
    mounts.collect::<Vec<_>>().join(",")
}

fn local_volumes(container: &ContainerSummary) -> String {
    let local = container
        .mounts
        .iter()
        .filter(|mount| mount.driver == "local");
    local.count().to_string()
}

fn networks(container: &ContainerSummary) -> String {
    let networks = container.network_settings.networks.keys();
    networks.map(String::as_str).collect::<Vec<_>>().join(",")
}

/// Ports in Docker's short form: `0.0.0.0:8080->80/tcp, 90-92/udp`.
pub(super) fn ports(ports: &[Port]) -> String {
    let mut ports: Vec<&Port> = ports.iter().collect();
    ports.sort_by_key(|port| (port.private_port, &port.ip, port.public_port, &port.kind));
    // Runs of ports that are the same outside, by address and protocol.
    let mut runs: Vec<(&str, &str, u16, u16)> = Vec::new();
    let mut ended = Vec::new();
    let mut mapped = Vec::new();
    for port in ports {
        let inside = port.private_port;
        if !port.ip.is_empty() && port.public_port != inside {
            let outside = address(&port.ip, &port.public_port.to_string());
            mapped.push(format!("{outside}->{inside}/{}", port.kind));
            continue;
        }
        let run = runs
            .iter_mut()
            .find(|(ip, kind, ..)| *ip == port.ip && *kind == port.kind);
        match run {
            None => runs.push((&port.ip, &port.kind, inside, inside)),
            Some((.., last)) if last.checked_add(1) == Some(inside) => *last = inside,
            Some(run) => {
                ended.push(run_text(*run));
                (run.2, run.3) = (inside, inside);
            }
        }
    }
    ended.extend(runs.into_iter().map(run_text));
    ended.extend(mapped);
    ended.join(", ")
}

fn address(ip: &str, port: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

fn run_text((ip, kind, first, last): (&str, &str, u16, u16)) -> String {
    let run = if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    };
    if ip.is_empty() {
        format!("{run}/{kind}")
    } else {
        format!("{}->{run}/{kind}", address(ip, &run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_grouped() {
        let port = |ip: &str, public_port, private_port, kind: &str| Port {
            ip: ip.into(),
            private_port,
            public_port,
            kind: kind.into(),
        };
        for (given, expected) in [
            (vec![], ""),
            (vec![port("", 0, 80, "tcp")], "80/tcp"),
            (
                vec![
                    port("0.0.0.0", 8080, 80, "tcp"),
                    port("::", 8080, 80, "tcp"),
                ],
                "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (
                vec![
                    port("0.0.0.0", 80, 80, "tcp"),
                    port("0.0.0.0", 81, 81, "tcp"),
                    port("0.0.0.0", 90, 90, "tcp"),
                    port("", 0, 7, "udp"),
                ],
                "0.0.0.0:80-81->80-81/tcp, 7/udp, 0.0.0.0:90->90/tcp",
            ),
        ] {
            let found = ports(&given);
            let mut found: Vec<&str> = found.split(", ").collect();
            let mut expected: Vec<&str> = expected.split(", ").collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn long_commands_are_cut() {
        assert_eq!(command("sh -c 'x'", false), "\"sh -c 'x'\"");
        assert_eq!(
            command("0123456789012345678901234", false),
            "\"0123456789012345678…\""
        );
    }
}
