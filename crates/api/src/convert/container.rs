//! A container in a list.

use std::time::Duration;

use coracle_docker::container::{
    ContainerSummary, MountPoint, Port, SummaryHostConfig, SummaryNetworks,
};
use coracle_docker::human;
use coracle_runtime::container::{Container, ContainerState, HealthStatus, NetworkSettings};
use coracle_runtime::{Status, container};
use jiff::Timestamp;

use crate::matching::split_port;
use crate::version::ApiVersion;

/// A container in a list. `image` is its image's name where that still points to it, else its id.
pub(crate) fn summary(
    container: &Container,
    image: String,
    now: Timestamp,
    version: ApiVersion,
) -> ContainerSummary {
    let host = &container.host_config;
    ContainerSummary {
        id: container.id.clone(),
        names: std::iter::once(&container.name)
            .chain(&container.linked_as)
            .map(|name| format!("/{name}"))
            .collect(),
        image,
        image_id: container.image_id.clone(),
        command: command(&container.path, &container.args),
        created: container.created.as_second(),
        ports: ports(&container.network),
        size_rw: container.size_rw.filter(|size| *size > 0),
        size_root_fs: container.size_root_fs,
        labels: container.config.labels.clone(),
        state: container.state.status.as_str().to_owned(),
        status: status(&container.state, now),
        host_config: SummaryHostConfig {
            network_mode: network_mode(&host.network_mode),
            annotations: if version.since(46) {
                host.annotations.clone()
            } else {
                Default::default()
            },
        },
        network_settings: SummaryNetworks {
            networks: container.network.networks.clone(),
        },
        mounts: container.mounts.iter().map(mount).collect(),
    }
}

/// The network mode by its name: the default is the bridge.
pub(crate) fn network_mode(mode: &str) -> String {
    match mode {
        "" | "default" => "bridge".to_owned(),
        mode => mode.to_owned(),
    }
}

/// A mount.
pub(crate) fn mount(mount: &container::MountPoint) -> MountPoint {
    MountPoint {
        kind: mount.kind.clone(),
        name: mount.name.clone(),
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        driver: mount.driver.clone(),
        mode: mount.mode.clone(),
        rw: mount.rw,
        propagation: mount.propagation.clone(),
    }
}

/// The command line, with quotes around arguments that have a space.
fn command(path: &str, args: &[String]) -> String {
    let mut line = path.to_owned();
    for arg in args {
        line.push(' ');
        if arg.contains(' ') {
            line.push('\'');
            line.push_str(arg);
            line.push('\'');
        } else {
            line.push_str(arg);
        }
    }
    line
}

/// The ports of a running container, sorted.
pub(crate) fn ports(network: &NetworkSettings) -> Vec<Port> {
    let mut ports = Vec::new();
    for (port, bindings) in &network.ports {
        let Some((private_port, kind)) = split_port(port) else {
            continue;
        };
        let bindings = bindings.as_deref().unwrap_or_default();
        if bindings.is_empty() {
            ports.push(Port {
                private_port,
                kind: kind.to_owned(),
                ..Port::default()
            });
        }
        for binding in bindings {
            ports.push(Port {
                ip: binding.host_ip.clone(),
                private_port,
                public_port: binding.host_port.parse().unwrap_or(0),
                kind: kind.to_owned(),
            });
        }
    }
    ports.sort_by(|a, b| {
        let key = |port: &Port| (port.private_port, port.kind.clone(), port.public_port);
        key(a).cmp(&key(b)).then_with(|| a.ip.cmp(&b.ip))
    });
    ports
}

/// `Up 2 hours (healthy)`, `Exited (0) 3 seconds ago`.
pub(crate) fn status(state: &ContainerState, now: Timestamp) -> String {
    let since = |time: Option<Timestamp>| {
        let past = time.map_or(Duration::ZERO, |time| {
            Duration::try_from(now.duration_since(time)).unwrap_or_default()
        });
        human::duration(past)
    };
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Paused => format!("Up {} (Paused)", since(state.started_at)),
        Status::Restarting => format!(
            "Restarting ({}) {} ago",
            state.exit_code,
            since(state.finished_at)
        ),
        Status::Exited => format!(
            "Exited ({}) {} ago",
            state.exit_code,
            since(state.finished_at)
        ),
        Status::Running => {
            let health = match state.health.as_ref().map(|health| health.status) {
                None => "",
                Some(HealthStatus::Starting) => " (health: starting)",
                Some(HealthStatus::Healthy) => " (healthy)",
                Some(HealthStatus::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", since(state.started_at))
        }
    }
}

#[cfg(test)]
mod tests {
    use coracle_runtime::container::Health;
    use coracle_runtime::spec::PortBinding;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn states_in_dockers_words() {
        let state = |status| ContainerState {
            status,
            exit_code: 3,
            started_at: Some(at(0)),
            finished_at: Some(at(60)),
            ..ContainerState::default()
        };
        for (status, words) in [
            (Status::Created, "Created"),
            (Status::Running, "Up 2 minutes"),
            (Status::Paused, "Up 2 minutes (Paused)"),
            (Status::Restarting, "Restarting (3) About a minute ago"),
            (Status::Exited, "Exited (3) About a minute ago"),
            (Status::Dead, "Dead"),
        ] {
            assert_eq!(super::status(&state(status), at(120)), words);
        }
        let mut healthy = state(Status::Running);
        healthy.health = Some(Health::default());
        assert_eq!(
            super::status(&healthy, at(-5)),
            "Up Less than a second (health: starting)"
        );
    }

    #[test]
    fn commands_are_quoted() {
        let args = ["-c".to_owned(), "echo hi".to_owned()];
        assert_eq!(command("sh", &args), "sh -c 'echo hi'");
        assert_eq!(command("sh", &[]), "sh");
    }

    #[test]
    fn ports_are_sorted() {
        let binding = |ip: &str, port: &str| PortBinding {
            host_ip: ip.into(),
            host_port: port.into(),
        };
        let network = NetworkSettings {
            ports: [
                (
                    "80/tcp".to_owned(),
                    Some(vec![binding("::", "8080"), binding("0.0.0.0", "8080")]),
                ),
                ("9/udp".to_owned(), None),
                ("rubbish".to_owned(), None),
            ]
            .into(),
            ..NetworkSettings::default()
        };
        let json = serde_json::to_string(&ports(&network)).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"[{"PrivatePort":9,"Type":"udp"},"#,
                r#"{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},"#,
                r#"{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]"#
            )
        );
    }
}
