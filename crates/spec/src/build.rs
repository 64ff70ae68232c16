//! The specification itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use coracle_runtime::spec::{ContainerConfig, HostConfig};
use oci_spec::runtime::{
    Linux, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, Mount, Root, Spec,
};

use crate::devices::devices;
use crate::mounts::{Private, ResolvedMount, mounts};
use crate::process::init_process;
use crate::security::SecurityOptions;
use crate::{Host, SpecError, capabilities, empty, resources};

/// The version of the specification that is written.
const OCI_VERSION: &str = "1.2.0";

/// Paths hidden inside, as Docker's defaults.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths read-only inside, as Docker's defaults.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Where one of the container's namespaces comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// A new one.
    #[default]
    New,
    /// The host's.
    Host,
    /// That of this file.
    Path(PathBuf),
}

/// The namespaces that a user can choose.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    /// Network.
    pub network: Namespace,
    /// Process ids.
    pub pid: Namespace,
    /// System V IPC and POSIX queues.
    pub ipc: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// Control groups.
    pub cgroup: Namespace,
}

/// All that a specification is made of.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Configuration, image defaults [merged in](crate::merge).
    pub config: &'a ContainerConfig,
    /// Host configuration.
    pub host_config: &'a HostConfig,
    /// Host name inside.
    pub hostname: &'a str,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Binds, volumes, tmpfs, the hosts file and its like, and another's `/dev/shm`.
    pub mounts: &'a [ResolvedMount],
    /// The host.
    pub host: &'a Host,
}

/// Builds the specification. `root.path` is left to whoever mounts the root.
pub fn build(inputs: &Inputs<'_>) -> Result<Spec, SpecError> {
    let Inputs {
        config,
        host_config,
        host,
        ..
    } = *inputs;
    let security = SecurityOptions::parse(&host_config.security_opt, host_config.privileged, host)?;
    let capabilities = capabilities(host_config, host)?;
    let process = init_process(
        config,
        host_config,
        inputs.hostname,
        &capabilities,
        security.no_new_privileges,
        host,
    )?;

    let devices = devices(host_config)?;
    let mut resources = resources(host_config)?;
    resources.set_devices(Some(devices.rules));
    let mut linux: Linux = empty()?;
    linux
        .set_resources(Some(resources))
        .set_namespaces(Some(namespaces(&inputs.namespaces)?))
        .set_devices(Some(devices.nodes))
        .set_seccomp(security.filter(&capabilities)?)
        .set_rootfs_propagation(propagation(inputs.mounts))
        .set_masked_paths(Some(paths(
            host_config.masked_paths.as_deref(),
            &MASKED,
            host_config.privileged || security.system_paths_unconfined,
        )))
        .set_readonly_paths(Some(paths(
            host_config.readonly_paths.as_deref(),
            &READ_ONLY,
            host_config.privileged || security.system_paths_unconfined,
        )))
        .set_sysctl(sysctls(
            config,
            host_config,
            &inputs.namespaces,
            host.rootless,
        ));

    let mut root: Root = serde_json::from_str(r#"{"path":"/"}"#).map_err(SpecError::Shape)?;
    root.set_readonly(Some(host_config.readonly_rootfs));
    let private = Private {
        shm: inputs.namespaces.ipc == Namespace::New,
    };
    let mut mounts = mounts(host_config, inputs.mounts, host.default_shm_size, private)?;
    if inputs.namespaces.ipc == Namespace::Host {
        host_ipc(&mut mounts, inputs.mounts)?;
    }
    let mut spec: Spec = empty()?;
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process))
        .set_mounts(Some(mounts))
        .set_annotations(annotations(host_config))
        .set_linux(Some(linux));
    if inputs.namespaces.uts == Namespace::New {
        spec.set_hostname(Some(inputs.hostname.to_owned()));
        if !config.domainname.is_empty() {
            spec.set_domainname(Some(config.domainname.clone()));
        }
    }
    Ok(spec)
}

/// With the host's IPC namespace come its shared memory and its queues.
fn host_ipc(mounts: &mut Vec<Mount>, user: &[ResolvedMount]) -> Result<(), SpecError> {
    let shared: Vec<ResolvedMount> = ["/dev/shm", "/dev/mqueue"]
        .iter()
        .filter(|path| Path::new(path).is_dir())
        .filter(|path| {
            user.iter()
                .all(|mount| mount.destination != Path::new(path))
        })
        .map(|path| ResolvedMount::bind(path, path, false))
        .collect();
    mounts.retain(|mount| {
        !shared
            .iter()
            .any(|shared| shared.destination == *mount.destination())
    });
    let first_user = mounts
        .iter()
        .position(|mount| mount.typ().as_deref() == Some("bind"))
        .unwrap_or(mounts.len());
    for (offset, mount) in shared.iter().enumerate() {
        mounts.insert(first_user + offset, crate::mounts::user_mount(mount)?);
    }
    Ok(())
}

fn namespaces(chosen: &Namespaces) -> Result<Vec<LinuxNamespace>, SpecError> {
    use LinuxNamespaceType as T;
    let kinds = [
        (T::Mount, &Namespace::New),
        (T::Network, &chosen.network),
        (T::Uts, &chosen.uts),
        (T::Pid, &chosen.pid),
        (T::Ipc, &chosen.ipc),
        (T::Cgroup, &chosen.cgroup),
    ];
    let mut namespaces = Vec::new();
    for (kind, choice) in kinds {
        let builder = LinuxNamespaceBuilder::default().typ(kind);
        let builder = match choice {
            Namespace::Host => continue,
            Namespace::New => builder,
            Namespace::Path(path) => builder.path(path.clone()),
        };
        namespaces.push(
            builder
                .build()
                .map_err(|error| SpecError::invalid(error.to_string()))?,
        );
    }
    Ok(namespaces)
}

fn paths(own: Option<&[String]>, defaults: &[&str], unconfined: bool) -> Vec<String> {
    match own {
        Some(own) => own.to_vec(),
        None if unconfined => Vec::new(),
        None => defaults.iter().map(|path| (*path).to_owned()).collect(),
    }
}

/// A mount can only be shared with the host if the root above it is (as runc demands).
fn propagation(mounts: &[ResolvedMount]) -> Option<String> {
    let asked = |words: &[&str]| {
        mounts.iter().any(|mount| match &mount.kind {
            crate::MountKind::Bind { propagation, .. } => words.contains(&propagation.as_str()),
            crate::MountKind::Tmpfs { .. }
            | crate::MountKind::FileSystem { .. }
            | crate::MountKind::Disk { .. }
            | crate::MountKind::Handed { .. } => false,
        })
    };
    if asked(&["shared", "rshared"]) {
        Some("shared".to_owned())
    } else if asked(&["slave", "rslave"]) {
        Some("rslave".to_owned())
    } else {
        None
    }
}

/// The user's, over Docker's own: ports below 1024 and ping for everybody, in a network of one's own.
fn sysctls(
    config: &ContainerConfig,
    host_config: &HostConfig,
    namespaces: &Namespaces,
    rootless: bool,
) -> Option<HashMap<String, String>> {
    let mut sysctls = HashMap::new();
    if namespaces.network != Namespace::Host && !config.network_disabled {
        sysctls.insert(
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "0".to_owned(),
        );
        // A user namespace does not have all those groups, and the kernel refuses what it has not.
        if !rootless {
            sysctls.insert(
                "net.ipv4.ping_group_range".to_owned(),
                "0 2147483647".to_owned(),
            );
        }
    }
    sysctls.extend(
        host_config
            .sysctls
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    Some(sysctls).filter(|sysctls| !sysctls.is_empty())
}

fn annotations(host_config: &HostConfig) -> Option<HashMap<String, String>> {
    let annotations: HashMap<_, _> = host_config
        .annotations
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Some(annotations).filter(|annotations| !annotations.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_runtime::spec::StringOrList;

    fn spec(host_config: &HostConfig, namespaces: Namespaces) -> Spec {
        let config = ContainerConfig {
            cmd: Some(StringOrList(vec!["true".into()])),
            ..Default::default()
        };
        let host = Host {
            capabilities: crate::CAPABILITIES
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            ..Default::default()
        };
        build(&Inputs {
            config: &config,
            host_config,
            hostname: "box",
            namespaces,
            mounts: &[],
            host: &host,
        })
        .unwrap()
    }

    #[test]
    fn the_default_is_confined() {
        let spec = spec(&HostConfig::default(), Namespaces::default());
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.namespaces().as_ref().unwrap().len(), 6);
        assert!(linux.seccomp().is_some());
        assert!(
            linux
                .masked_paths()
                .as_ref()
                .unwrap()
                .contains(&"/proc/kcore".to_owned())
        );
        assert_eq!(spec.hostname().as_deref(), Some("box"));
    }

    #[test]
    fn privileged_is_not() {
        let config = HostConfig {
            privileged: true,
            ..Default::default()
        };
        let spec = spec(&config, Namespaces::default());
        let linux = spec.linux().as_ref().unwrap();
        assert!(linux.seccomp().is_none());
        assert!(linux.masked_paths().as_ref().unwrap().is_empty());
    }

    #[test]
    fn host_namespaces_are_left_out() {
        let namespaces = Namespaces {
            network: Namespace::Host,
            uts: Namespace::Host,
            ..Default::default()
        };
        let spec = spec(&HostConfig::default(), namespaces);
        assert_eq!(
            spec.linux()
                .as_ref()
                .unwrap()
                .namespaces()
                .as_ref()
                .unwrap()
                .len(),
            4
        );
        assert_eq!(spec.hostname(), &None);
        assert!(spec.linux().as_ref().unwrap().sysctl().is_none());
    }

    #[test]
    fn host_ipc_brings_the_hosts_shared_memory() {
        let namespaces = Namespaces {
            ipc: Namespace::Host,
            ..Default::default()
        };
        let spec = spec(&HostConfig::default(), namespaces);
        let shm: Vec<_> = spec
            .mounts()
            .as_ref()
            .unwrap()
            .iter()
            .filter(|mount| mount.destination() == Path::new("/dev/shm"))
            .collect();
        assert_eq!(shm.len(), 1);
        assert_eq!(shm[0].typ().as_deref(), Some("bind"));
    }
}
