//! Flags and configuration file, as dockerd's: the same names in both, and each in one of them only.

mod config;
mod values;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Parser;
use coracle_runtime::spec::Ulimit;
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
}

#[cfg(test)]
mod tests {
    use coracle_local::Config;

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
}
