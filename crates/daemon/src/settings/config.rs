//! What the settings mean: configurations of the runtime and of the server.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_api::ServerConfig;
use coracle_local::{Config, HostDns, PortForwarder};
use coracle_network::Subnet;
use coracle_runtime::spec::LogConfig;

use super::{Settings, read_file, values};
use crate::error::Error;
use crate::rootless;

impl Settings {
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
            config.max_json = values::size(text)
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

    pub(super) fn host_dns(&self) -> Result<Option<HostDns>, Error> {
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

    pub(super) fn machine_settings(&self, config: &mut Config) -> Result<(), Error> {
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
                *place = values::size(text)
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
            host.default_shm_size = values::size(size).ok_or_else(|| {
                Error::setting("--default-shm-size", format!("{size:?} is no size"))
            })?;
        }
        host.default_ulimits = self
            .default_ulimit
            .iter()
            .map(|text| {
                values::ulimit(text).ok_or_else(|| {
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
                    values::pool(text).ok_or_else(|| {
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
