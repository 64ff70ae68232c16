//! Containers, as they are.

use std::collections::BTreeMap;

use coracle_runtime::container as domain;
use coracle_runtime::spec::EndpointSettings;
use jiff::Timestamp;

use crate::update::Resources;
use crate::wire::answer;

answer! {
    /// A container.
    pub struct Container {
        /// 64 hexadecimal digits.
        id: String,
        /// Name.
        name: String,
        /// When it was made.
        created_at: Timestamp,
        /// The image, as its maker named it.
        image: String,
        /// The image's id.
        image_id: String,
        /// `os/arch[/variant]`.
        platform: String,
        /// What is executed, with its arguments.
        command: Vec<String>,
        /// Environment.
        env: Vec<String>,
        /// Working directory.
        working_dir: String,
        /// User.
        user: String,
        /// Host name inside.
        hostname: String,
        /// Whether it has a terminal.
        tty: bool,
        /// How it is isolated: `process`, `vm`.
        runtime: String,
        /// Labels.
        labels: BTreeMap<String, String>,
        /// Where it stands.
        state: State,
        /// What happens when it ends.
        restart_policy: RestartPolicy,
        /// Whether it is removed when it ends.
        auto_remove: bool,
        /// Times that the restart policy started it again.
        restart_count: u32,
        /// Limits.
        resources: Resources,
        /// What is mounted.
        mounts: Vec<MountPoint>,
        /// Exposed ports; once it runs, with their host ends.
        ports: Vec<Port>,
        /// Its networks, by name.
        networks: BTreeMap<String, EndpointState>,
        /// Bytes that it has written; only where size was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_written: Option<u64>,
        /// Bytes of its whole root file system; only where size was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_total: Option<u64>,
    }

    /// A container's state.
    pub struct State {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
        status: String,
        /// Its first process on the host; 0 where there is none.
        pid: i32,
        /// The last exit code; 0 before the first.
        exit_code: i32,
        /// Why the last start or run failed; empty where it did not.
        error: String,
        /// Whether the kernel killed a process of the last run for want of memory.
        oom_killed: bool,
        /// The last start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_at: Option<Timestamp>,
        /// The last end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finished_at: Option<Timestamp>,
        /// Health, where it is checked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        health: Option<ContainerHealth>,
    }

    /// A container's health.
    pub struct ContainerHealth {
        /// `starting`, `healthy`, `unhealthy`.
        status: String,
        /// Failures in a row.
        failing_streak: u32,
        /// What the last check said.
        output: String,
    }

    /// What happens when a container ends.
    pub struct RestartPolicy {
        /// `no`, `always`, `unlessStopped`, `onFailure`.
        name: String,
        /// With `onFailure`: restarts before giving up; 0 for ever.
        max_retries: i64,
    }

    /// Something mounted.
    pub struct MountPoint {
        /// `bind`, `volume`, `tmpfs`.
        kind: String,
        /// The volume's name; empty for others.
        name: String,
        /// Path on the host; empty for tmpfs.
        source: String,
        /// Path inside.
        target: String,
        /// Read-only.
        read_only: bool,
    }

    /// An exposed or published port.
    pub struct Port {
        /// Port inside.
        container_port: u16,
        /// `tcp`, `udp`, `sctp`.
        protocol: String,
        /// The host's address; absent where it is not published.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_ip: Option<String>,
        /// The host's port; absent where it is not published.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_port: Option<u16>,
    }

    /// A container's place on one network.
    pub struct EndpointState {
        /// The network's id.
        network_id: String,
        /// The endpoint's id; empty while it does not run.
        endpoint_id: String,
        /// Further names on this network.
        aliases: Vec<String>,
        /// MAC address.
        mac_address: String,
        /// IPv4 address; empty while it does not run.
        ipv4_address: String,
        /// IPv4 gateway.
        ipv4_gateway: String,
        /// IPv6 address.
        ipv6_address: String,
        /// IPv6 gateway.
        ipv6_gateway: String,
    }
}

impl From<domain::Container> for Container {
    fn from(one: domain::Container) -> Self {
        let ports = ports(&one.network);
        let networks = one.network.networks.into_iter();
        let command = std::iter::once(one.path).chain(one.args);
        Self {
            id: one.id,
            name: one.name,
            created_at: one.created,
            image: one.config.image,
            image_id: one.image_id,
            platform: one.platform,
            command: command.filter(|word| !word.is_empty()).collect(),
            env: one.config.env,
            working_dir: one.config.working_dir,
            user: one.config.user,
            hostname: one.config.hostname,
            tty: one.config.tty,
            runtime: one.host_config.runtime.clone(),
            labels: one.config.labels,
            state: one.state.into(),
            restart_policy: RestartPolicy {
                name: policy_word(&one.host_config.restart_policy.name).to_owned(),
                max_retries: one.host_config.restart_policy.maximum_retry_count,
            },
            auto_remove: one.host_config.auto_remove,
            restart_count: one.restart_count,
            resources: (&one.host_config).into(),
            mounts: one.mounts.into_iter().map(Into::into).collect(),
            ports,
            networks: networks.map(|(name, at)| (name, at.into())).collect(),
            size_written: one.size_rw,
            size_total: one.size_root_fs,
        }
    }
}

/// Docker's word for a policy, in this API's style.
fn policy_word(name: &str) -> &str {
    match name {
        "" => "no",
        "unless-stopped" => "unlessStopped",
        "on-failure" => "onFailure",
        other => other,
    }
}

/// Ports by number, each with all of its host ends.
fn ports(network: &domain::NetworkSettings) -> Vec<Port> {
    let mut ports = Vec::new();
    for (key, bindings) in &network.ports {
        let (number, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
        let Ok(container_port) = number.parse() else {
            continue;
        };
        let port = Port {
            container_port,
            protocol: protocol.to_owned(),
            ..Port::default()
        };
        let bindings = bindings.as_deref().unwrap_or_default();
        if bindings.is_empty() {
            ports.push(port.clone());
        }
        ports.extend(bindings.iter().map(|binding| Port {
            host_ip: Some(binding.host_ip.clone()),
            host_port: binding.host_port.parse().ok(),
            ..port.clone()
        }));
    }
    ports.sort_by_key(|port| port.container_port);
    ports
}

impl From<domain::ContainerState> for State {
    fn from(state: domain::ContainerState) -> Self {
        Self {
            status: state.status.as_str().to_owned(),
            pid: state.pid,
            exit_code: state.exit_code,
            error: state.error,
            oom_killed: state.oom_killed,
            started_at: state.started_at,
            finished_at: state.finished_at,
            health: state.health.map(|health| ContainerHealth {
                status: health.status.as_str().to_owned(),
                failing_streak: health.failing_streak,
                output: health
                    .log
                    .into_iter()
                    .next_back()
                    .map(|last| last.output)
                    .unwrap_or_default(),
            }),
        }
    }
}

impl From<domain::MountPoint> for MountPoint {
    fn from(mount: domain::MountPoint) -> Self {
        Self {
            kind: mount.kind,
            name: mount.name,
            source: mount.source,
            target: mount.destination,
            read_only: !mount.rw,
        }
    }
}

impl From<EndpointSettings> for EndpointState {
    fn from(endpoint: EndpointSettings) -> Self {
        Self {
            network_id: endpoint.network_id,
            endpoint_id: endpoint.endpoint_id,
            aliases: endpoint.aliases.unwrap_or_default(),
            mac_address: endpoint.mac_address,
            ipv4_address: endpoint.ip_address,
            ipv4_gateway: endpoint.gateway,
            ipv6_address: endpoint.global_ipv6_address,
            ipv6_gateway: endpoint.ipv6_gateway,
        }
    }
}
