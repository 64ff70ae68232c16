//! What a runtime is told at its start.

use std::path::PathBuf;

use coracle_registry::RegistriesConfig;
use coracle_runtime::spec::LogConfig;
use coracle_spec::Host;

use crate::forward::PortForwarder;
use crate::machine::MachineSettings;

/// How a [`LocalRuntime`](crate::LocalRuntime) is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is kept: images, containers, volumes, networks (`--data-root`).
    pub data_root: PathBuf,
    /// What is there while something runs (`--exec-root`); best on a tmpfs.
    pub exec_root: PathBuf,
    /// The shim's executable.
    pub shim: PathBuf,
    /// The control group above all containers' (`--cgroup-parent`).
    pub cgroup_parent: String,
    /// Whether containers get an init process unless they say otherwise (`--init`).
    pub init: bool,
    /// Log driver and options of containers that name none (`--log-driver`, `--log-opt`).
    pub log_config: LogConfig,
    /// What the host can do.
    pub host: Host,
    /// Networks.
    pub network: coracle_network::Config,
    /// How names that aren't containers' are answered.
    pub dns: coracle_dns::Config,
    /// Who publishes ports on the host, where the daemon is not in the host's network (rootless).
    pub port_forwarder: Option<PortForwarder>,
    /// Registries.
    pub registries: RegistriesConfig,
    /// Registries reached without TLS, as given; for `info`.
    pub insecure_registries: Vec<String>,
    /// Layers that are downloaded at once (`--max-concurrent-downloads`).
    pub max_downloads: usize,
    /// Layers that are uploaded at once (`--max-concurrent-uploads`).
    pub max_uploads: usize,
    /// The runtime of containers that name none: `process` or `vm` (`--default-runtime`).
    pub default_runtime: String,
    /// How virtual machines are made.
    pub machine: MachineSettings,
    /// The daemon's labels (`--label`).
    pub labels: Vec<String>,
}

impl Config {
    /// Docker's defaults, on this host.
    pub fn new(
        data_root: impl Into<PathBuf>,
        exec_root: impl Into<PathBuf>,
        shim: impl Into<PathBuf>,
    ) -> Self {
        let (data_root, exec_root) = (data_root.into(), exec_root.into());
        let shim = shim.into();
        Self {
            default_runtime: crate::machine::PROCESS.into(),
            machine: MachineSettings::new(&shim),
            shim,
            cgroup_parent: "/coracle".into(),
            init: false,
            log_config: LogConfig {
                driver: "json-file".into(),
                ..Default::default()
            },
            host: crate::host::facts(),
            network: coracle_network::Config::new(
                data_root.join("network"),
                exec_root.join("network"),
            ),
            dns: coracle_dns::Config::default(),
            port_forwarder: None,
            registries: RegistriesConfig::default(),
            insecure_registries: Vec::new(),
            max_downloads: 3,
            max_uploads: 5,
            labels: Vec::new(),
            data_root,
            exec_root,
        }
    }
}
