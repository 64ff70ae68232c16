//! Containers.

use coracle_docker::container::{self as wire, ContainerInspect};
use coracle_docker::time::Time;
use coracle_runtime::container::{
    Container, ContainerState, Health, HealthResult, HealthStatus, MountPoint, NetworkSettings,
    Status,
};
use jiff::Timestamp;

pub(super) fn time(time: Time) -> Timestamp {
    time.0.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A container.
pub(crate) fn container(found: ContainerInspect) -> Container {
    Container {
        id: found.id,
        name: found
            .name
            .strip_prefix('/')
            .map_or_else(|| found.name.clone(), str::to_owned),
        linked_as: Vec::new(),
        created: time(found.created),
        image_id: image_id(found.image),
        manifest_digest: None,
        path: found.path,
        args: found.args,
        config: found.config,
        host_config: found.host_config,
        state: state(found.state),
        restart_count: found.restart_count,
        platform: found.platform,
        driver: found.driver,
        network: NetworkSettings {
            sandbox_id: found.network_settings.sandbox_id,
            sandbox_key: found.network_settings.sandbox_key,
            ports: found.network_settings.ports,
            networks: found.network_settings.networks,
        },
        mounts: found.mounts.into_iter().map(mount).collect(),
        exec_ids: found.exec_ids,
        log_path: found.log_path,
        resolv_conf_path: found.resolv_conf_path,
        hostname_path: found.hostname_path,
        hosts_path: found.hosts_path,
        size_rw: found.size_rw,
        size_root_fs: found.size_root_fs,
    }
}

/// An image's id as the trait has it; some engines leave the algorithm out.
pub(crate) fn image_id(id: String) -> String {
    if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        format!("sha256:{id}")
    } else {
        id
    }
}

fn status(state: &wire::State) -> Status {
    match state.status.as_str() {
        "created" | "configured" | "initialized" => Status::Created,
        "running" | "stopping" => Status::Running,
        "paused" => Status::Paused,
        "restarting" => Status::Restarting,
        "removing" => Status::Removing,
        "exited" | "stopped" => Status::Exited,
        "dead" => Status::Dead,
        // A word of the engine's own; what it means for the process is told beside it.
        _ if state.restarting => Status::Restarting,
        _ if state.paused => Status::Paused,
        _ if state.running => Status::Running,
        _ if state.dead => Status::Dead,
        _ => Status::Exited,
    }
}

fn state(state: wire::State) -> ContainerState {
    ContainerState {
        status: status(&state),
        pid: state.pid,
        exit_code: state.exit_code,
        error: state.error,
        oom_killed: state.oom_killed,
        started_at: state.started_at.0,
        finished_at: state.finished_at.0,
        health: state.health.and_then(health),
    }
}

fn health(health: wire::Health) -> Option<Health> {
    let status = match health.status.as_str() {
        "starting" => HealthStatus::Starting,
        "healthy" => HealthStatus::Healthy,
        "unhealthy" => HealthStatus::Unhealthy,
        // `none`, or nothing: it is not checked.
        _ => return None,
    };
    let log = health.log.into_iter().map(|result| HealthResult {
        start: time(result.start),
        end: time(result.end),
        exit_code: result.exit_code,
        output: result.output,
    });
    Some(Health {
        status,
        failing_streak: health.failing_streak,
        log: log.collect(),
    })
}

fn mount(mount: wire::MountPoint) -> MountPoint {
    MountPoint {
        kind: mount.kind,
        name: mount.name,
        source: mount.source,
        destination: mount.destination,
        driver: mount.driver,
        mode: mount.mode,
        rw: mount.rw,
        propagation: mount.propagation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_engines_are_understood() {
        let state = |word: &str, running| wire::State {
            status: word.into(),
            running,
            ..wire::State::default()
        };
        assert_eq!(status(&state("stopped", false)), Status::Exited);
        assert_eq!(status(&state("initialized", false)), Status::Created);
        assert_eq!(status(&state("levitating", true)), Status::Running);
        assert_eq!(status(&state("levitating", false)), Status::Exited);
        let digits = "a".repeat(64);
        assert_eq!(image_id(digits.clone()), format!("sha256:{digits}"));
        assert_eq!(image_id("sha256:a".into()), "sha256:a");
        let none = wire::Health {
            status: "none".into(),
            ..wire::Health::default()
        };
        assert_eq!(health(none), None);
    }
}
