//! What a container is asked to be.

use std::collections::BTreeMap;

use coracle_runtime::spec::{
    ContainerConfig, ContainerSpec, DeviceMapping, Empty, HealthConfig, HostConfig, LogConfig,
    NetworkingConfig, StringOrList,
};

use crate::mount::MountRequest;
use crate::network::Endpoint;
use crate::port::PortRequest;
use crate::secret::FileMount;
use crate::update::{Resources, RestartRule};
use crate::wire::body;

body! {
    /// A container to make.
    pub struct ContainerCreate {
        /// The image, by name or id. It must be there: pull it first.
        image: String,
        ; // What may be left out:
        /// Name; made up where there is none.
        name: String,
        /// `os/arch[/variant]`; the host's where none is given.
        platform: String,
        /// How it is isolated: `process`, `vm`; the daemon's default where none is given.
        runtime: String,
        /// The fixed part of the command, instead of the image's.
        entrypoint: Option<Vec<String>>,
        /// The rest of it, instead of the image's.
        command: Option<Vec<String>>,
        /// Environment beyond the image's.
        env: BTreeMap<String, String>,
        /// Working directory; the image's where none is given.
        working_dir: String,
        /// `user|uid[:group|gid]`; the image's where none is given.
        user: String,
        /// Additional groups, by name or number.
        groups: Vec<String>,
        /// Host name inside; the beginning of the id where none is given.
        hostname: String,
        /// Labels.
        labels: BTreeMap<String, String>,
        /// A terminal.
        tty: bool,
        /// Standard input stays open.
        open_stdin: bool,
        /// The signal that asks for an end: a name or a number.
        stop_signal: String,
        /// Seconds between that and SIGKILL; 10 where not given.
        stop_timeout: Option<i64>,
        /// An init process that reaps orphans; the daemon's default where not given.
        init: Option<bool>,
        /// Removed when it ends.
        auto_remove: bool,
        /// What happens when it ends.
        restart_policy: RestartRule,
        /// How its health is checked; as the image says where not given.
        healthcheck: Option<Healthcheck>,
        /// Limits.
        resources: Resources,
        /// Mounts.
        mounts: Vec<MountRequest>,
        /// Published ports.
        ports: Vec<PortRequest>,
        /// `bridge`, `host`, `none`, `container:<name|id>`, or a network's name. The first of
        /// `networks` where none is given, or else the default network.
        network_mode: String,
        /// Networks to be on, by name or id.
        networks: BTreeMap<String, Endpoint>,
        /// Name servers, instead of the host's.
        dns: Vec<String>,
        /// Search domains.
        dns_search: Vec<String>,
        /// Resolver options.
        dns_options: Vec<String>,
        /// `host:ip` for the hosts file.
        extra_hosts: Vec<String>,
        /// Root file system read-only.
        read_only: bool,
        /// All capabilities, all devices, no confinement.
        privileged: bool,
        /// Capabilities beyond the default ones.
        cap_add: Vec<String>,
        /// Capabilities taken away.
        cap_drop: Vec<String>,
        /// `no-new-privileges`, `seccomp=…`, `apparmor=…`, `label=…`.
        security_options: Vec<String>,
        /// Secrets, as files that are on no disk.
        secrets: Vec<FileMount>,
        /// Configs, as files.
        configs: Vec<FileMount>,
        /// Kernel parameters of its namespaces.
        sysctls: BTreeMap<String, String>,
        /// Devices of the host.
        devices: Vec<Device>,
        /// `host` or `container:<name|id>`; its own where none is given.
        pid_mode: String,
        /// `private`, `shareable`, `host`, `none`, `container:<name|id>`.
        ipc_mode: String,
        /// Bytes of /dev/shm; 64 MiB where not given.
        shm_size: i64,
        /// Where its output is logged; the daemon's default where not given.
        log: Log,
    }

    /// How health is checked.
    pub struct Healthcheck {
        ; // What may be left out:
        /// The command; empty inherits the image's.
        command: Vec<String>,
        /// One line for the shell, instead of `command`.
        shell: String,
        /// No checks.
        disabled: bool,
        /// Milliseconds between two checks; 0 means 30 s.
        interval_ms: u32,
        /// Milliseconds for one check; 0 means 30 s.
        timeout_ms: u32,
        /// Milliseconds after the start in which failures do not count.
        start_period_ms: u32,
        /// Milliseconds between checks in that time; 0 means 5 s.
        start_interval_ms: u32,
        /// Failures before it is unhealthy; 0 means 3.
        retries: u32,
    }

    /// A device of the host.
    pub struct Device {
        /// Device node on the host.
        source: String,
        ; // What may be left out:
        /// Where inside; the same where none is given.
        target: String,
        /// Any of `rwm`; all where none is given.
        permissions: String,
    }

    /// Where output is logged.
    pub struct Log {
        ; // What may be left out:
        /// `json-file`, `local`, `none`.
        driver: String,
        /// `max-size`, `max-file`, `compress`, `labels`, `env`, `tag`.
        options: BTreeMap<String, String>,
    }
}

impl From<Healthcheck> for HealthConfig {
    fn from(check: Healthcheck) -> Self {
        let test = match (
            check.disabled,
            check.shell.is_empty(),
            check.command.is_empty(),
        ) {
            (true, ..) => vec!["NONE".to_owned()],
            (_, false, _) => vec!["CMD-SHELL".to_owned(), check.shell],
            (_, true, false) => std::iter::once("CMD".to_owned())
                .chain(check.command)
                .collect(),
            (_, true, true) => Vec::new(),
        };
        let nanoseconds = |ms: u32| i64::from(ms) * 1_000_000;
        Self {
            test,
            interval: nanoseconds(check.interval_ms),
            timeout: nanoseconds(check.timeout_ms),
            retries: check.retries.into(),
            start_period: nanoseconds(check.start_period_ms),
            start_interval: nanoseconds(check.start_interval_ms),
        }
    }
}

/// None where it is empty.
fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<ContainerCreate> for ContainerSpec {
    fn from(body: ContainerCreate) -> Self {
        let mut host = HostConfig {
            runtime: body.runtime,
            init: body.init,
            auto_remove: body.auto_remove,
            restart_policy: body.restart_policy.into(),
            mounts: body.mounts.into_iter().map(Into::into).collect(),
            dns: body.dns,
            dns_search: body.dns_search,
            dns_options: body.dns_options,
            extra_hosts: body.extra_hosts,
            group_add: body.groups,
            readonly_rootfs: body.read_only,
            privileged: body.privileged,
            cap_add: body.cap_add,
            cap_drop: body.cap_drop,
            security_opt: body.security_options,
            secrets: body.secrets.into_iter().map(Into::into).collect(),
            configs: body.configs.into_iter().map(Into::into).collect(),
            sysctls: body.sysctls,
            devices: body.devices.into_iter().map(Into::into).collect(),
            pid_mode: body.pid_mode,
            ipc_mode: body.ipc_mode,
            shm_size: body.shm_size,
            log_config: LogConfig {
                driver: body.log.driver,
                config: body.log.options,
            },
            ..HostConfig::default()
        };
        body.resources.put(&mut host);
        let mut exposed = BTreeMap::new();
        for port in body.ports {
            let inside = port.inside();
            exposed.insert(inside.clone(), Empty {});
            host.port_bindings
                .entry(inside)
                .or_default()
                .get_or_insert_default()
                .push(port.into());
        }
        host.network_mode = if body.network_mode.is_empty() {
            body.networks.keys().next().cloned().unwrap_or_default()
        } else {
            body.network_mode
        };
        let networks = body.networks.into_iter();
        let config = ContainerConfig {
            image: body.image,
            entrypoint: body.entrypoint.map(StringOrList),
            cmd: body.command.map(StringOrList),
            env: body
                .env
                .into_iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect(),
            working_dir: body.working_dir,
            user: body.user,
            hostname: body.hostname,
            labels: body.labels,
            tty: body.tty,
            open_stdin: body.open_stdin,
            stop_signal: given(body.stop_signal),
            stop_timeout: body.stop_timeout,
            healthcheck: body.healthcheck.map(Into::into),
            exposed_ports: exposed,
            ..ContainerConfig::default()
        };
        Self {
            name: given(body.name),
            platform: given(body.platform),
            config,
            host,
            networking: NetworkingConfig {
                endpoints_config: networks.map(|(name, at)| (name, at.into())).collect(),
            },
        }
    }
}

impl From<Device> for DeviceMapping {
    fn from(device: Device) -> Self {
        let same = device.target.is_empty();
        Self {
            path_in_container: if same {
                device.source.clone()
            } else {
                device.target
            },
            path_on_host: device.source,
            cgroup_permissions: given(device.permissions).unwrap_or_else(|| "rwm".to_owned()),
        }
    }
}
