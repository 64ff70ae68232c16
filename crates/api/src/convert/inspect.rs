//! `GET /containers/{id}/json`.

use std::collections::BTreeMap;

use coracle_docker::container::{
    ContainerInspect, GraphDriver, Health, HealthResult, NetworkSettings, State,
};
use coracle_runtime::Status;
use coracle_runtime::container::{self, Container, ContainerState};
use coracle_runtime::spec::HostConfig;

use crate::convert::container::{mount, network_mode};
use crate::version::ApiVersion;

/// Paths that dockerd hides in containers, where nobody said otherwise.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Paths that are read-only in containers, where nobody said otherwise.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// All there is to say about a container.
pub(crate) fn inspect(mut container: Container, version: ApiVersion) -> ContainerInspect {
    if version.before(45) {
        add_aliases(&mut container);
    }
    let host_config = host_config(container.host_config);
    ContainerInspect {
        id: container.id,
        created: container.created.into(),
        path: container.path,
        args: container.args,
        state: state(container.state),
        image: container.image_id,
        resolv_conf_path: container.resolv_conf_path,
        hostname_path: container.hostname_path,
        hosts_path: container.hosts_path,
        log_path: container.log_path,
        name: format!("/{}", container.name),
        restart_count: container.restart_count,
        platform: os(&container.platform).to_owned(),
        exec_ids: container.exec_ids,
        host_config,
        graph_driver: GraphDriver {
            data: BTreeMap::new(),
            name: container.driver.clone(),
        },
        driver: container.driver,
        size_rw: container.size_rw,
        size_root_fs: container.size_root_fs,
        mounts: container.mounts.iter().map(mount).collect(),
        config: container.config,
        network_settings: network_settings(container.network),
        ..ContainerInspect::default()
    }
}

/// Until 1.45, a container's short id and host name were aliases on user-defined networks.
fn add_aliases(container: &mut Container) {
    let short: String = container.id.chars().take(12).collect();
    let names = [short, container.config.hostname.clone()];
    for (network, endpoint) in &mut container.network.networks {
        if matches!(network.as_str(), "bridge" | "host" | "none") {
            continue;
        }
        let aliases = endpoint.aliases.get_or_insert_default();
        for name in &names {
            if !name.is_empty() && !aliases.contains(name) {
                aliases.push(name.clone());
            }
        }
    }
}

fn os(platform: &str) -> &str {
    platform
        .split('/')
        .next()
        .filter(|os| !os.is_empty())
        .unwrap_or("linux")
}

/// The host configuration with the defaults that dockerd fills in.
fn host_config(mut host: HostConfig) -> HostConfig {
    host.network_mode = network_mode(&host.network_mode);
    host.console_size.get_or_insert([0, 0]);
    if host.log_config.driver.is_empty() {
        host.log_config.driver = "json-file".to_owned();
    }
    if host.restart_policy.name.is_empty() {
        host.restart_policy.name = "no".to_owned();
    }
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    if !host.privileged {
        host.masked_paths.get_or_insert_with(|| owned(&MASKED));
        host.readonly_paths.get_or_insert_with(|| owned(&READ_ONLY));
    }
    host
}

fn state(state: ContainerState) -> State {
    let status = state.status;
    State {
        status: status.as_str().to_owned(),
        // Docker counts a container between two restarts as running.
        running: status.is_alive() || status == Status::Restarting,
        paused: status == Status::Paused,
        restarting: status == Status::Restarting,
        oom_killed: state.oom_killed,
        dead: status == Status::Dead,
        pid: state.pid,
        exit_code: state.exit_code,
        error: state.error,
        started_at: state.started_at.into(),
        finished_at: state.finished_at.into(),
        health: state.health.map(health),
    }
}

fn health(health: container::Health) -> Health {
    Health {
        status: health.status.as_str().to_owned(),
        failing_streak: health.failing_streak,
        log: health
            .log
            .into_iter()
            .map(|result| HealthResult {
                start: result.start.into(),
                end: result.end.into(),
                exit_code: result.exit_code,
                output: result.output,
            })
            .collect(),
    }
}

fn network_settings(network: container::NetworkSettings) -> NetworkSettings {
    let default = network.networks.get("bridge").cloned().unwrap_or_default();
    NetworkSettings {
        sandbox_id: network.sandbox_id,
        sandbox_key: network.sandbox_key,
        ports: network.ports,
        endpoint_id: default.endpoint_id,
        gateway: default.gateway,
        global_ipv6_address: default.global_ipv6_address,
        global_ipv6_prefix_len: default.global_ipv6_prefix_len,
        ip_address: default.ip_address,
        ip_prefix_len: default.ip_prefix_len,
        ipv6_gateway: default.ipv6_gateway,
        mac_address: default.mac_address,
        networks: network.networks,
        ..NetworkSettings::default()
    }
}
