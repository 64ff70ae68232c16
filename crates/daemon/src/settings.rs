//! Flags and configuration file, as dockerd's: the same names in both, and each in one of them only.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use coracle_api::ServerConfig;
use coracle_local::{Config, HostDns, PortForwarder};
use coracle_network::{AddressPool, Subnet};
use coracle_runtime::spec::{LogConfig, Ulimit};
use serde::Deserialize;

use crate::error::Error;
use crate::rootless;

/// Most bytes of a configuration file.
const MAX_FILE: u64 = 1 << 20;
const DEFAULT_FILE: &str = "/etc/coracle/daemon.json";

/// A daemon that runs containers and speaks Docker's Engine API.
#[derive(Debug, Parser)]
#[command(name = "coracled", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Daemon configuration file [default: /etc/coracle/daemon.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,
    /// Validate the configuration and exit
    #[arg(long)]
    pub(crate) validate: bool,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Declares every setting once: as a flag, as a key of the file, and in the merge of both.
macro_rules! settings {
    ($($(#[doc = $doc:literal])* $(#[arg($($arg:tt)*)])? $(#[serde($($serde:tt)*)])? $field:ident: $kind:ident<$ty:ty>,)*) => {
        /// What can be set by flag or by file.
        #[derive(Clone, Debug, Default, clap::Args, Deserialize)]
        #[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
        pub(crate) struct Settings {
            $($(#[doc = $doc])* #[arg(long, $($($arg)*)?)] $(#[serde($($serde)*)])? pub(crate) $field: $kind<$ty>,)*
        }

        impl Settings {
            /// Puts both together; a setting in both is an error, as with dockerd.
            fn merge(self, file: Self) -> Result<Self, Vec<&'static str>> {
                let mut both = Vec::new();
                let merged = Self {
                    $($field: Given::merge(self.$field, file.$field, stringify!($field), &mut both),)*
                };
                if both.is_empty() { Ok(merged) } else { Err(both) }
            }

            /// The names of all that is given.
            pub(crate) fn given(&self) -> Vec<&'static str> {
                let all = [$((self.$field.is_given(), stringify!($field)),)*];
                all.into_iter().filter_map(|(given, name)| given.then_some(name)).collect()
            }
        }
    };
}

/// A value that may be given twice.
trait Given: Sized {
    fn is_given(&self) -> bool;

    fn merge(flag: Self, file: Self, name: &'static str, both: &mut Vec<&'static str>) -> Self {
        match (flag.is_given(), file.is_given()) {
            (true, true) => {
                both.push(name);
                flag
            }
            (true, false) => flag,
            _ => file,
        }
    }
}

impl<T> Given for Option<T> {
    fn is_given(&self) -> bool {
        self.is_some()
    }
}

impl<T> Given for Vec<T> {
    fn is_given(&self) -> bool {
        !self.is_empty()
    }
}

settings! {
    /// Socket to listen on: unix://PATH or tcp://ADDRESS:PORT (several may be given)
    #[arg(short = 'H', value_name = "HOST")]
    #[serde(rename = "hosts")]
    host: Vec<String>,
    /// What runs containers: local, or another engine: docker, podman, docker://unix://PATH,
    /// docker://tcp://HOST:PORT [default: local]
    #[arg(value_name = "BACKEND")]
    backend: Option<String>,
    /// Directory of what is kept
    #[arg(short = 'g', value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Directory of what is there while containers run
    #[arg(value_name = "DIR")]
    exec_root: Option<PathBuf>,
    /// Log everything
    #[arg(short = 'D', num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    debug: Option<bool>,
    /// How much to log: debug, info, warn, error
    #[arg(short = 'l', value_name = "LEVEL")]
    log_level: Option<String>,
    /// File to write the daemon's process id to
    #[arg(short = 'p', value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Group that may use the unix socket
    #[arg(short = 'G')]
    group: Option<String>,
    /// The shim's executable [default: beside this one]
    #[arg(value_name = "FILE")]
    shim: Option<PathBuf>,
    /// Isolation of containers that choose none: process, vm, or auto (vm where hardware helps)
    #[arg(value_name = "RUNTIME")]
    default_runtime: Option<String>,
    /// QEMU's program, for virtual machines [default: qemu-system-ARCHITECTURE on the PATH]
    #[arg(value_name = "FILE")]
    qemu: Option<PathBuf>,
    /// The first program of virtual machines, a static coracle-init [default: beside the shim]
    #[arg(value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Directory of qemu-ARCHITECTURE-static, for virtual machines [default: /usr/bin]
    #[arg(value_name = "DIR")]
    emulators: Option<PathBuf>,
    /// What executes virtual machines: auto, kvm, tcg
    #[arg(value_name = "NAME")]
    accelerator: Option<String>,
    /// Processors of virtual machines whose containers ask for none
    #[arg(value_name = "N")]
    vm_cpus: Option<u32>,
    /// Memory of virtual machines whose containers have no limit: 1g
    #[arg(value_name = "SIZE")]
    vm_memory: Option<String>,
    /// Room for translated code of each emulated virtual machine: 128m
    ///
    /// With 16m an idle one takes a quarter less memory, and large programs run at half the speed.
    #[arg(value_name = "SIZE")]
    vm_code_cache: Option<String>,
    /// How much a container in a virtual machine can write, if it doesn't say: 16g
    #[arg(value_name = "SIZE")]
    vm_disk: Option<String>,
    /// Virtual machines kept ready for containers without limits, each with some 100 MB of memory [default: 1]
    #[arg(value_name = "N")]
    vm_spares: Option<usize>,
    /// Mirror to pull Docker Hub's images from
    #[arg(value_name = "URL")]
    #[serde(rename = "registry-mirrors")]
    registry_mirror: Vec<String>,
    /// Registry to talk to without TLS, or without checking its certificate: HOST[:PORT] or a CIDR
    #[arg(value_name = "REGISTRY")]
    #[serde(rename = "insecure-registries")]
    insecure_registry: Vec<String>,
    /// Layers downloaded at once
    #[arg(value_name = "N")]
    max_concurrent_downloads: Option<usize>,
    /// Layers uploaded at once
    #[arg(value_name = "N")]
    max_concurrent_uploads: Option<usize>,
    /// Control group above all containers'
    #[arg(value_name = "PATH")]
    cgroup_parent: Option<String>,
    /// Give containers an init process
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    init: Option<bool>,
    /// Log driver of containers: json-file, local, none
    #[arg(value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Log driver's options: KEY=VALUE
    #[arg(value_name = "KEY=VALUE")]
    #[serde(rename = "log-opts", deserialize_with = "pairs")]
    log_opt: Vec<String>,
    /// Bytes of /dev/shm: 64m
    #[arg(value_name = "SIZE")]
    default_shm_size: Option<String>,
    /// Resource limits of containers: NAME=SOFT[:HARD]
    #[arg(value_name = "ULIMIT")]
    #[serde(rename = "default-ulimits", deserialize_with = "ulimits")]
    default_ulimit: Vec<String>,
    /// Containers may not gain privileges unless they say otherwise
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_new_privileges: Option<bool>,
    /// Seccomp profile of containers: a file, or unconfined
    #[arg(value_name = "FILE")]
    seccomp_profile: Option<String>,
    /// Label of the daemon: KEY=VALUE
    #[arg(value_name = "KEY=VALUE")]
    #[serde(rename = "labels")]
    label: Vec<String>,
    /// Name of the default network's bridge
    #[arg(short = 'b', value_name = "NAME")]
    bridge: Option<String>,
    /// Address of the default bridge, as ADDRESS/PREFIX
    #[arg(value_name = "CIDR")]
    bip: Option<String>,
    /// Part of the default subnet that addresses are given out of
    #[arg(value_name = "CIDR")]
    fixed_cidr: Option<String>,
    /// IPv6 subnet of the default network
    #[arg(value_name = "CIDR")]
    fixed_cidr_v6: Option<String>,
    /// IPv6 in the default network
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv6: Option<bool>,
    /// Subnets for networks: base=CIDR,size=PREFIX
    #[arg(value_name = "POOL")]
    #[serde(rename = "default-address-pools", deserialize_with = "pools")]
    default_address_pool: Vec<String>,
    /// Largest packet of the default network, bytes
    #[arg(value_name = "BYTES")]
    mtu: Option<u32>,
    /// Containers of the default network reach each other
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    icc: Option<bool>,
    /// What leaves the default network gets the host's address
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ip_masq: Option<bool>,
    /// Enable forwarding in the kernel
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ip_forward: Option<bool>,
    /// Make firewall rules
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    iptables: Option<bool>,
    /// A proxy serves published ports where the firewall can't
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    userland_proxy: Option<bool>,
    /// Host address of published ports that name none
    #[arg(value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// Loopback address where the host's programs find containers by name: 127.0.0.1:2053
    #[arg(value_name = "ADDRESS:PORT")]
    host_dns: Option<SocketAddr>,
    /// What the names of containers on the host end in [default: coracle]
    #[arg(value_name = "DOMAIN")]
    host_dns_domain: Option<String>,
    /// Containers outlive the daemon: always so
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    live_restore: Option<bool>,
    /// Seconds that requests may take to end when the daemon stops
    #[arg(value_name = "SECONDS")]
    shutdown_timeout: Option<u64>,
    /// Requests a second that one address may make over TCP; 0 for no limit [default: 200]
    #[arg(value_name = "N")]
    api_rate: Option<u32>,
    /// Bytes of a request's JSON body: 4m
    #[arg(value_name = "SIZE")]
    api_max_body: Option<String>,
    /// Seconds in which the headers of a request have to come, idle time included [default: 600]
    #[arg(value_name = "SECONDS")]
    api_header_timeout: Option<u64>,
    /// Seconds in which something of a request's body has to come [default: 600]
    #[arg(value_name = "SECONDS")]
    api_body_timeout: Option<u64>,
    /// Read all containers' statistics every so many seconds, not only of those that are asked about
    #[arg(value_name = "SECONDS")]
    stats_interval: Option<u64>,
    /// TLS on TCP sockets; with --tlscacert, client certificates are checked where clients have them
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls: Option<bool>,
    /// TLS on TCP sockets, with client certificates
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tlsverify: Option<bool>,
    /// Authority that signs client certificates
    #[arg(value_name = "FILE")]
    tlscacert: Option<PathBuf>,
    /// The daemon's certificate
    #[arg(value_name = "FILE")]
    tlscert: Option<PathBuf>,
    /// The daemon's key
    #[arg(value_name = "FILE")]
    tlskey: Option<PathBuf>,
}

/// `{"key": "value"}` as `key=value`.
fn pairs<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(map
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect())
}

/// `{"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}` as `nofile=1:2`.
fn ulimits<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = BTreeMap::<String, Ulimit>::deserialize(deserializer)?;
    Ok(map
        .into_iter()
        .map(|(name, limit)| format!("{name}={}:{}", limit.soft, limit.hard))
        .collect())
}

/// `[{"base": "10.0.0.0/8", "size": 24}]` as `base=…,size=…`.
fn pools<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct Pool {
        base: String,
        size: u8,
    }
    let pools = Vec::<Pool>::deserialize(deserializer)?;
    Ok(pools
        .into_iter()
        .map(|pool| format!("base={},size={}", pool.base, pool.size))
        .collect())
}

impl Args {
    /// Flags and file together.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        let (path, required) = match &self.config_file {
            Some(path) => (path.clone(), true),
            None if rootless::is_rootless() => (rootless::dirs().config_file, false),
            None => (PathBuf::from(DEFAULT_FILE), false),
        };
        let Some(text) = read_file(&path, required)? else {
            return Ok(self.settings.clone());
        };
        let invalid = |why: String| Error::File {
            path: path.clone(),
            why,
        };
        let file: Settings =
            serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        self.settings.clone().merge(file).map_err(|both| {
            let names: Vec<String> = both.iter().map(|name| name.replace('_', "-")).collect();
            invalid(format!(
                "the following directives are specified both as a flag and in the configuration \
                 file: {}",
                names.join(", ")
            ))
        })
    }
}

fn read_file(path: &Path, required: bool) -> Result<Option<String>, Error> {
    let invalid = |why: String| Error::File {
        path: path.to_owned(),
        why,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => Ok(None),
        Err(error) => Err(invalid(error.to_string())),
        Ok(meta) if meta.len() > MAX_FILE => Err(invalid("it is too long".into())),
        Ok(_) => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|error| invalid(error.to_string())),
    }
}

impl Settings {
    pub(crate) fn data_root(&self) -> PathBuf {
        let default = || match rootless::is_rootless() {
            true => rootless::dirs().data_root,
            false => "/var/lib/coracle".into(),
        };
        self.data_root.clone().unwrap_or_else(default)
    }

    pub(crate) fn exec_root(&self) -> PathBuf {
        let default = || match rootless::is_rootless() {
            true => rootless::dirs().exec_root,
            false => "/run/coracle".into(),
        };
        self.exec_root.clone().unwrap_or_else(default)
    }

    /// The sockets to serve.
    pub(crate) fn hosts(&self) -> Vec<String> {
        if self.host.is_empty() {
            vec![format!(
                "unix://{}",
                self.exec_root().join("coracle.sock").display()
            )]
        } else {
            self.host.clone()
        }
    }

    /// The runtime's configuration.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        let shim = match &self.shim {
            Some(path) => path.clone(),
            None => beside_us("coracle-shim")?,
        };
        let mut config = Config::new(self.data_root(), self.exec_root(), shim);
        if let Some(parent) = &self.cgroup_parent {
            config.cgroup_parent = format!("/{}", parent.trim_matches('/'));
        }
        if rootless::is_inside() {
            config.dns.resolvers = Some(vec![(rootless::RESOLVER, 53).into()]);
            config.port_forwarder = Some(PortForwarder {
                socket: rootless::port_socket(&config.exec_root),
                guest: rootless::GUEST.into(),
                default_ip: match self.ip {
                    None => Ipv4Addr::UNSPECIFIED,
                    Some(IpAddr::V4(ip)) => ip,
                    Some(IpAddr::V6(ip)) => {
                        return Err(Error::setting(
                            "--ip",
                            format!("{ip}: rootless mode publishes ports on IPv4 addresses only"),
                        ));
                    }
                },
            });
        }
        config.dns.host = self.host_dns()?;
        if config.dns.host.is_some() && rootless::is_rootless() {
            let why = "in rootless mode the host does not reach containers by their addresses";
            return Err(Error::setting("--host-dns", why));
        }
        config.init = self.init.unwrap_or_default();
        config.labels.clone_from(&self.label);
        config.log_config = LogConfig {
            driver: self
                .log_driver
                .clone()
                .unwrap_or_else(|| "json-file".into()),
            config: self
                .log_opt
                .iter()
                .map(|option| {
                    option
                        .split_once('=')
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .ok_or_else(|| {
                            Error::setting("--log-opt", format!("{option} has no \"=\""))
                        })
                })
                .collect::<Result<_, _>>()?,
        };
        if let Some(n) = self.max_concurrent_downloads {
            config.max_downloads = n.max(1);
        }
        if let Some(n) = self.max_concurrent_uploads {
            config.max_uploads = n.max(1);
        }
        for mirror in &self.registry_mirror {
            config
                .registries
                .add_mirror(mirror)
                .map_err(|error| Error::setting("--registry-mirror", error))?;
        }
        for registry in &self.insecure_registry {
            config
                .registries
                .add_insecure(registry)
                .map_err(|error| Error::setting("--insecure-registry", error))?;
        }
        config
            .insecure_registries
            .clone_from(&self.insecure_registry);
        self.host_settings(&mut config)?;
        self.machine_settings(&mut config)?;
        self.network_settings(&mut config)?;
        Ok(config)
    }

    /// How the API is served.
    pub(crate) fn server(&self) -> Result<ServerConfig, Error> {
        let mut config = ServerConfig::default();
        let seconds = |given: Option<u64>, place: &mut Duration| {
            if let Some(seconds) = given {
                *place = Duration::from_secs(seconds.max(1));
            }
        };
        seconds(self.api_header_timeout, &mut config.header_timeout);
        seconds(self.api_body_timeout, &mut config.body_timeout);
        if let Some(limit) = self.shutdown_timeout {
            config.drain_limit = Duration::from_secs(limit);
        }
        if let Some(rate) = self.api_rate {
            config.rate = rate;
        }
        if let Some(text) = &self.api_max_body {
            config.max_json = parse_size(text)
                .and_then(|size| usize::try_from(size).ok())
                .filter(|size| *size >= 64 << 10)
                .ok_or_else(|| {
                    Error::setting("--api-max-body", format!("{text:?}: want 64k or more"))
                })?;
        }
        config.stats_interval = self
            .stats_interval
            .map(|seconds| Duration::from_secs(seconds.clamp(1, 600)));
        Ok(config)
    }

    fn host_dns(&self) -> Result<Option<HostDns>, Error> {
        let domain = self.host_dns_domain.as_deref();
        let Some(address) = self.host_dns else {
            return match domain {
                Some(_) => Err(Error::setting(
                    "--host-dns-domain",
                    "without --host-dns nobody is answered",
                )),
                None => Ok(None),
            };
        };
        HostDns::new(address, domain.unwrap_or("coracle"))
            .map(Some)
            .map_err(|error| Error::setting("--host-dns", error))
    }

    fn machine_settings(&self, config: &mut Config) -> Result<(), Error> {
        if let Some(runtime) = &self.default_runtime {
            if !matches!(runtime.as_str(), "process" | "vm" | "auto") {
                let why = format!("{runtime:?} is none of process, vm, auto");
                return Err(Error::setting("--default-runtime", why));
            }
            config.default_runtime.clone_from(runtime);
        }
        let machine = &mut config.machine;
        if let Some(qemu) = &self.qemu {
            machine.qemu = Some(qemu.clone());
        }
        if let Some(agent) = &self.agent {
            machine.agent.clone_from(agent);
        }
        if let Some(emulators) = &self.emulators {
            machine.emulators.clone_from(emulators);
        }
        if let Some(accelerator) = &self.accelerator {
            if !matches!(accelerator.as_str(), "auto" | "kvm" | "tcg") {
                let why = format!("{accelerator:?} is none of auto, kvm, tcg");
                return Err(Error::setting("--accelerator", why));
            }
            machine.accelerator.clone_from(accelerator);
        }
        if let Some(cpus) = self.vm_cpus {
            machine.cpus = cpus.max(1);
        }
        if let Some(spares) = self.vm_spares {
            machine.spares = spares;
        }
        let sizes = [
            (
                "--vm-memory",
                64 << 20,
                &self.vm_memory,
                &mut machine.memory,
            ),
            ("--vm-disk", 64 << 20, &self.vm_disk, &mut machine.layer),
            (
                "--vm-code-cache",
                8 << 20,
                &self.vm_code_cache,
                &mut machine.code_cache,
            ),
        ];
        for (flag, least, given, place) in sizes {
            if let Some(text) = given {
                *place = parse_size(text)
                    .and_then(|size| u64::try_from(size).ok())
                    .filter(|size| *size >= least)
                    .ok_or_else(|| {
                        let least = least >> 20;
                        Error::setting(flag, format!("{text:?} is no size of at least {least}m"))
                    })?;
            }
        }
        Ok(())
    }

    fn host_settings(&self, config: &mut Config) -> Result<(), Error> {
        let host = &mut config.host;
        if let Some(size) = &self.default_shm_size {
            host.default_shm_size = parse_size(size).ok_or_else(|| {
                Error::setting("--default-shm-size", format!("{size:?} is no size"))
            })?;
        }
        host.default_ulimits = self
            .default_ulimit
            .iter()
            .map(|text| {
                parse_ulimit(text).ok_or_else(|| {
                    Error::setting(
                        "--default-ulimit",
                        format!("{text:?}: want NAME=SOFT[:HARD]"),
                    )
                })
            })
            .collect::<Result<_, _>>()?;
        host.no_new_privileges = self.no_new_privileges.unwrap_or_default();
        host.seccomp_profile = match self.seccomp_profile.as_deref() {
            None | Some("builtin") => None,
            Some("unconfined") => Some("unconfined".into()),
            Some(path) => Some(read_file(Path::new(path), true)?.unwrap_or_default()),
        };
        Ok(())
    }

    fn network_settings(&self, config: &mut Config) -> Result<(), Error> {
        let subnet =
            |setting: &'static str, text: &Option<String>| -> Result<Option<Subnet>, Error> {
                text.as_ref()
                    .map(|text| {
                        text.parse::<Subnet>()
                            .map_err(|error| Error::setting(setting, error))
                    })
                    .transpose()
            };
        let network = &mut config.network;
        network.rootless = rootless::is_rootless();
        // Daemons with roots of their own have firewall tables of their own.
        network.instance = instance(&self.data_root());
        if let Some(bridge) = &self.bridge {
            network.bridge.clone_from(bridge);
        }
        network.bip.clone_from(&self.bip);
        network.fixed_cidr = subnet("--fixed-cidr", &self.fixed_cidr)?;
        network.fixed_cidr_v6 = subnet("--fixed-cidr-v6", &self.fixed_cidr_v6)?;
        network.ipv6 = self.ipv6.unwrap_or(network.ipv6);
        network.mtu = self.mtu.unwrap_or(network.mtu);
        network.icc = self.icc.unwrap_or(network.icc);
        network.ip_masq = self.ip_masq.unwrap_or(network.ip_masq);
        network.ip_forward = self.ip_forward.unwrap_or(network.ip_forward);
        network.firewall = self.iptables.unwrap_or(network.firewall);
        network.userland_proxy = self.userland_proxy.unwrap_or(network.userland_proxy);
        network.default_host_ip = self.ip.filter(|ip| !ip.is_unspecified());
        if !self.default_address_pool.is_empty() {
            network.pools = self
                .default_address_pool
                .iter()
                .map(|text| {
                    parse_pool(text).ok_or_else(|| {
                        Error::setting(
                            "--default-address-pool",
                            format!("{text:?}: want base=CIDR,size=PREFIX"),
                        )
                    })
                })
                .collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}

/// A name that differs between data roots.
fn instance(data_root: &Path) -> String {
    if data_root == Path::new("/var/lib/coracle") {
        return "default".into();
    }
    let text = data_root.to_string_lossy();
    // FNV-1a: short, and stable between versions.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn beside_us(name: &str) -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(|error| Error::Host {
        what: "find my own executable",
        error,
    })?;
    let beside = own.with_file_name(name);
    if beside.exists() {
        return Ok(beside);
    }
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|dir| dir.join(name))
            .find(|p| p.exists())
    });
    found.ok_or_else(|| {
        Error::setting(
            "--shim",
            format!("there is no {name} beside coracled or in PATH"),
        )
    })
}

/// Reads `64m`: bytes, with a unit of 1024.
fn parse_size(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.chars().last()? {
        'k' => (lower.strip_suffix('k')?, 10),
        'm' => (lower.strip_suffix('m')?, 20),
        'g' => (lower.strip_suffix('g')?, 30),
        _ => (lower, 0),
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

fn parse_ulimit(text: &str) -> Option<Ulimit> {
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text {
        "unlimited" => Some(-1),
        text => text.parse().ok(),
    };
    Some(Ulimit {
        name: name.into(),
        soft: number(soft)?,
        hard: number(hard)?,
    })
}

fn parse_pool(text: &str) -> Option<AddressPool> {
    let mut base = None;
    let mut size = None;
    for part in text.split(',') {
        match part.split_once('=')? {
            ("base", value) => base = value.parse().ok(),
            ("size", value) => size = value.parse().ok(),
            _ => return None,
        }
    }
    Some(AddressPool {
        base: base?,
        size: size?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str], file: &str) -> Result<Settings, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.json");
        std::fs::write(&path, file).unwrap();
        let path = path.to_string_lossy().into_owned();
        let line = ["coracled", "--config-file", &path];
        Args::parse_from(line.iter().chain(args)).settings()
    }

    #[test]
    fn the_file_has_dockerds_keys() {
        let settings = parsed(
            &[],
            r#"{"hosts":["unix:///a"],"data-root":"/d","insecure-registries":["x:5000"],
                "log-opts":{"max-size":"1m"},"default-ulimits":{"nofile":{"Name":"nofile","Soft":1,"Hard":2}},
                "default-address-pools":[{"base":"10.0.0.0/8","size":24}],"icc":false}"#,
        )
        .unwrap();
        assert_eq!(settings.hosts(), ["unix:///a"]);
        assert_eq!(settings.log_opt, ["max-size=1m"]);
        assert_eq!(settings.default_ulimit, ["nofile=1:2"]);
        assert_eq!(settings.default_address_pool, ["base=10.0.0.0/8,size=24"]);
        assert_eq!(settings.icc, Some(false));
    }

    #[test]
    fn sizes_of_machines_have_a_least() {
        let machine = |flag: &str, size: &str| {
            let mut config = Config::new("/d", "/e", "/shim");
            let set = parsed(&[flag, size], "{}").unwrap();
            set.machine_settings(&mut config).map(|()| config.machine)
        };
        assert_eq!(
            machine("--vm-code-cache", "16m").unwrap().code_cache,
            16 << 20
        );
        assert_eq!(machine("--vm-memory", "64m").unwrap().memory, 64 << 20);
        for (flag, size) in [
            ("--vm-code-cache", "4m"),
            ("--vm-disk", "63m"),
            ("--vm-memory", "x"),
        ] {
            assert!(machine(flag, size).is_err(), "{flag} {size}");
        }
    }

    #[test]
    fn a_setting_in_both_or_an_unknown_one_is_refused_by_name() {
        let both = parsed(&["--data-root", "/x"], r#"{"data-root":"/d"}"#)
            .unwrap_err()
            .to_string();
        assert!(both.contains("data-root"), "{both}");
        let unknown = parsed(&[], r#"{"nope":1}"#).unwrap_err().to_string();
        assert!(unknown.contains("nope"), "{unknown}");
    }

    #[test]
    fn flags_are_dockerds() {
        let args = [
            "--icc=false",
            "--init",
            "-H",
            "unix:///a",
            "-H",
            "tcp://127.0.0.1:0",
        ];
        let settings = parsed(&args, "{}").unwrap();
        assert_eq!((settings.icc, settings.init), (Some(false), Some(true)));
        assert_eq!(settings.host.len(), 2);
    }

    #[test]
    fn names_on_the_host_are_for_the_host_alone() {
        let host = |args: &[&str], file: &str| parsed(args, file).unwrap().host_dns();
        assert!(host(&[], "{}").unwrap().is_none());
        let made = host(&["--host-dns", "127.0.0.1:2053"], "{}")
            .unwrap()
            .unwrap();
        assert_eq!(made.domain(), "coracle");
        let file = r#"{"host-dns":"[::1]:53","host-dns-domain":"box.test"}"#;
        assert_eq!(host(&[], file).unwrap().unwrap().domain(), "box.test");
        for args in [
            &["--host-dns", "0.0.0.0:53"][..],
            &["--host-dns", "127.0.0.1:53", "--host-dns-domain", "a b"],
            &["--host-dns-domain", "coracle"],
        ] {
            assert!(host(args, "{}").is_err(), "{args:?}");
        }
    }

    #[test]
    fn sizes_ulimits_and_pools() {
        assert_eq!(parse_size("64m"), Some(64 << 20));
        assert_eq!(parse_size("1GB"), Some(1 << 30));
        assert_eq!(parse_size("x"), None);
        assert_eq!(parse_ulimit("nofile=1:2").unwrap().hard, 2);
        assert!(parse_ulimit("nofile").is_none());
        assert_eq!(parse_pool("base=10.0.0.0/8,size=24").unwrap().size, 24);
        assert!(parse_pool("base=10.0.0.0/8").is_none());
    }
}
