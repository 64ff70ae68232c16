//! What a shim is given: the specification, the root file system, the log, the ports.

use std::borrow::Cow;
use std::path::PathBuf;

use coracle_log::{Driver, LogConfig};
use coracle_runtime::spec::ContainerConfig;
use coracle_runtime::{Result, RuntimeError};
use coracle_spec::{Inputs, MountKind, Namespace, Namespaces, ResolvedMount};
use coracle_task::{Rootfs, TaskConfig};
use oci_spec::runtime::Process;

use super::handle::Handle;
use super::record::{Dirs, MountRecord, Record};
use crate::engine::Engine;
use crate::links;
use crate::machine;
use crate::networks::Joined;
use crate::secrets;
use crate::volumes;

/// The task of a container that has joined its networks, and its first process.
pub(crate) fn task(
    engine: &Engine,
    record: &Record,
    dirs: &Dirs,
    joined: &Joined,
) -> Result<(TaskConfig, Process)> {
    let hostname = hostname(engine, record);
    let namespaces = namespaces(engine, record, joined.namespace.clone())?;
    let mut mounts: Vec<ResolvedMount> = record
        .mounts
        .iter()
        .map(|mount| resolve(engine, &record.id, mount))
        .collect::<Result<_>>()?;
    mounts.extend(system_files(engine, record));
    mounts.extend(shared_memory(engine, record)?);
    mounts.extend(secrets::mount::mounts(&record.files));
    let config = with_links(&record.config, &joined.environment);
    let spec = coracle_spec::build(&Inputs {
        config: &config,
        host_config: &record.host_config,
        hostname: &hostname,
        namespaces,
        mounts: &mounts,
        host: &machine::facts(&engine.config, &record.host_config),
    })?;
    let process = spec
        .process()
        .clone()
        .ok_or_else(|| RuntimeError::Internal("the specification has no process".into()))?;
    let host_config = &record.host_config;
    let config = TaskConfig {
        id: record.id.clone(),
        spec,
        rootfs: rootfs(engine, record)?,
        terminal: record.config.tty,
        console_size: host_config
            .console_size
            .filter(|size| *size != [0, 0])
            .map(|[rows, cols]| (rows, cols)),
        open_stdin: record.config.open_stdin,
        stdin_once: record.config.stdin_once,
        user: Some(record.config.user.clone()).filter(|user| !user.is_empty()),
        groups: host_config.group_add.clone(),
        init: host_config.init.unwrap_or(engine.config.init),
        cgroup_parent: engine.cgroup_parent(record),
        cgroup_name: record.id.clone(),
        log: log_config(engine, record, dirs)?,
        exit_file: dirs.exit_file(),
        durable: !host_config.auto_remove,
        ports: joined.ports.clone(),
        sockets: joined.listeners.len(),
        published: Vec::new(),
        machine: None,
    };
    Ok((config, process))
}

/// A configuration with the variables that links give it.
fn with_links<'a>(config: &'a ContainerConfig, links: &[String]) -> Cow<'a, ContainerConfig> {
    let mut config = Cow::Borrowed(config);
    if !links.is_empty() {
        // Its own go before those of others.
        config.to_mut().env.splice(..0, links.iter().cloned());
    }
    config
}

/// What further processes of a running container take after: its first one, but with the variables that its
/// links give it now.
///
/// # Errors
/// `InvalidState` where the other end of a link doesn't run.
pub(crate) fn model<'a>(
    engine: &Engine,
    handle: &Handle,
    init: &'a Process,
) -> Result<Cow<'a, Process>> {
    let record = handle.now().record;
    let mut process = Cow::Borrowed(init);
    if links::is_on_default(&record) {
        let linked = engine.networks.links.told(handle)?;
        let config = with_links(&record.config, &linked);
        let env = coracle_spec::environment(&config, &hostname(engine, &record));
        process.to_mut().set_env(Some(env));
    }
    Ok(process)
}

fn rootfs(engine: &Engine, record: &Record) -> Result<Rootfs> {
    if machine::is_machine(&record.host_config) {
        return Ok(Rootfs::Disks);
    }
    let root = engine.snapshots.rootfs(&record.id)?;
    Ok(Rootfs::Overlay {
        lower: root.lower,
        upper: root.upper,
        work: root.work,
    })
}

/// The container's own name, or the host's where it has the host's.
pub(crate) fn hostname(engine: &Engine, record: &Record) -> String {
    let short = || record.id.chars().take(12).collect();
    // With another's network comes its name.
    if let Some(other) = record.host_config.network_mode.strip_prefix("container:")
        && let Ok(other) = engine.find(other)
    {
        return hostname(engine, &other.now().record);
    }
    if record.config.hostname.is_empty() {
        if record.host_config.uts_mode == "host" || record.host_config.network_mode == "host" {
            return engine.hostname();
        }
        return short();
    }
    record.config.hostname.clone()
}

fn namespaces(engine: &Engine, record: &Record, network: Namespace) -> Result<Namespaces> {
    let host = &record.host_config;
    let in_machine = machine::is_machine(host);
    let mode = |mode: &str, kind: &str| -> Result<Namespace> {
        match mode {
            "host" => Ok(Namespace::Host),
            mode => match mode.strip_prefix("container:") {
                Some(other) if in_machine => {
                    let place = machine::pod::place(engine, record, other)?;
                    Ok(Namespace::Path(place.join("ns").join(kind)))
                }
                Some(other) => {
                    machine::pod::check_kind(record, &engine.find(other)?)?;
                    let pid = engine.running_pid(other, &kind.to_ascii_uppercase())?;
                    Ok(Namespace::Path(PathBuf::from(format!(
                        "/proc/{pid}/ns/{kind}"
                    ))))
                }
                None => Ok(Namespace::New),
            },
        }
    };
    if let Some(other) = host.ipc_mode.strip_prefix("container:") {
        shareable_ipc(engine, other)?;
    }
    if in_machine {
        return Ok(Namespaces {
            uts: Namespace::New,
            pid: mode(&host.pid_mode, "pid")?,
            ipc: mode(&host.ipc_mode, "ipc")?,
            cgroup: Namespace::New,
            network,
        });
    }
    let cgroup = match host.cgroupns_mode.as_str() {
        "host" => Namespace::Host,
        "private" => Namespace::New,
        // Docker's default: private with cgroup v2, the host's with v1, and for privileged ones.
        _ if engine.config.host.cgroup_v2 && !host.privileged => Namespace::New,
        _ => Namespace::Host,
    };
    // With the host's network comes the host's name, unless another is asked for.
    let shares_name = host.uts_mode == "host"
        || (host.network_mode == "host" && record.config.hostname.is_empty());
    Ok(Namespaces {
        uts: if shares_name {
            Namespace::Host
        } else {
            Namespace::New
        },
        pid: mode(&host.pid_mode, "pid")?,
        ipc: mode(&host.ipc_mode, "ipc")?,
        cgroup,
        network,
    })
}

/// Docker's rule: only who says so shares its IPC namespace.
fn shareable_ipc(engine: &Engine, name: &str) -> Result<()> {
    let other = engine.find(name)?.now().record;
    if matches!(other.host_config.ipc_mode.as_str(), "shareable" | "host") {
        return Ok(());
    }
    Err(RuntimeError::InvalidArgument(format!(
        "cannot join IPC of container {name}: non-shareable IPC (hint: use --ipc shareable for the \
         donor container)"
    )))
}

/// Another container's `/dev/shm`, where its IPC namespace is shared.
fn shared_memory(engine: &Engine, record: &Record) -> Result<Option<ResolvedMount>> {
    let Some(other) = record.host_config.ipc_mode.strip_prefix("container:") else {
        return Ok(None);
    };
    let place = match machine::is_machine(&record.host_config) {
        true => machine::pod::place(engine, record, other)?,
        false => PathBuf::from(format!("/proc/{}", engine.running_pid(other, "IPC")?)),
    };
    let source = place.join("root/dev/shm");
    Ok(Some(ResolvedMount::bind(source, "/dev/shm", false)))
}

fn resolve(engine: &Engine, container: &str, mount: &MountRecord) -> Result<ResolvedMount> {
    let point = &mount.point;
    if point.kind == "volume" {
        return volumes::mount(engine, container, mount);
    }
    let kind = match point.kind.as_str() {
        "tmpfs" => MountKind::Tmpfs {
            options: mount.tmpfs.clone(),
        },
        _ => MountKind::Bind {
            propagation: point.propagation.clone(),
            recursive: !mount.non_recursive,
            recursive_read_only: mount.recursive_read_only,
        },
    };
    Ok(ResolvedMount {
        kind,
        source: PathBuf::from(&point.source),
        subpath: mount.subpath.clone(),
        destination: PathBuf::from(&point.destination),
        read_only: !point.rw,
    })
}

/// `/etc/hosts` and its like, unless the user mounts their own there.
fn system_files(engine: &Engine, record: &Record) -> Vec<ResolvedMount> {
    // A container's network comes with its names.
    let dirs = machine::pod::files(engine, record);
    let sources = [dirs.hosts(), dirs.resolv_conf(), dirs.hostname()];
    let targets = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];
    sources
        .into_iter()
        .zip(targets)
        .filter(|(source, target)| {
            source.exists()
                && record
                    .mounts
                    .iter()
                    .all(|mount| mount.point.destination != *target)
        })
        .map(|(source, target)| {
            ResolvedMount::bind(source, target, record.host_config.readonly_rootfs)
        })
        .collect()
}

/// Where the container logs: its own driver, else the daemon's.
pub(crate) fn log_config(engine: &Engine, record: &Record, dirs: &Dirs) -> Result<LogConfig> {
    let own = &record.host_config.log_config;
    let invalid =
        |error: coracle_log::OptionError| RuntimeError::InvalidArgument(error.to_string());
    let driver = Driver::from_name(&own.driver).map_err(invalid)?;
    if driver == Driver::None {
        return Ok(LogConfig::none());
    }
    let env = |name: &str| {
        record.config.env.iter().find_map(|entry| {
            let (key, value) = entry.split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
    };
    let options: Vec<(String, String)> = own
        .config
        .iter()
        .map(|(key, value)| (key.clone(), expand_tag(key, value, record)))
        .collect();
    let path = match driver {
        Driver::Local => dirs.root.join("local-logs").join("container.log"),
        _ => dirs.log_file(&record.id),
    };
    if let Some(parent) = path.parent()
        && engine.config.data_root.exists()
        && dirs.root.exists()
    {
        std::fs::create_dir_all(parent).map_err(|error| {
            RuntimeError::Internal(format!("cannot make the log's directory: {error}"))
        })?;
    }
    LogConfig::parse(
        driver,
        path,
        options
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
        |name| record.config.labels.get(name).cloned(),
        env,
    )
    .map_err(invalid)
}

/// Docker's tag templates, as far as they name the container and its image.
fn expand_tag(key: &str, value: &str, record: &Record) -> String {
    if key != "tag" {
        return value.to_owned();
    }
    let short: String = record.id.chars().take(12).collect();
    let image = record.image_id.trim_start_matches("sha256:");
    let image_short: String = image.chars().take(12).collect();
    value
        .replace("{{.ID}}", &short)
        .replace("{{.FullID}}", &record.id)
        .replace("{{.Name}}", &record.name)
        .replace("{{.ImageID}}", &image_short)
        .replace("{{.ImageFullID}}", &record.image_id)
        .replace("{{.ImageName}}", &record.config.image)
        .replace("{{.DaemonName}}", "coracled")
}
