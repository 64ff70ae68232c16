//! Mounts as users ask for them (`-v`, `--mount`, `--tmpfs`, `VOLUME`, `--volumes-from`), as records.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use coracle_runtime::container::MountPoint;
use coracle_runtime::spec::{ContainerConfig, HostConfig, Mount};
use coracle_runtime::volume::VolumeSpec;
use coracle_runtime::{Result, RuntimeError};
use coracle_spec::VolumeBacking;

use super::record::MountRecord;
use crate::engine::Engine;
use crate::volumes::{self, Hold};

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// The mounts of a container, and the volumes that were made for it (to be filled from the image,
/// and removed again if the creation fails).
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// The container's id.
    container: String,
    pub(crate) mounts: Vec<MountRecord>,
    pub(crate) made: Vec<String>,
    /// Volumes to be filled with the image's content if they are empty: name and path inside.
    pub(crate) fill: Vec<(String, String)>,
    /// Keep all of its volumes there until the container can be found as their user.
    pub(crate) holds: Vec<Hold>,
    /// Keeps its secrets there as long.
    pub(crate) secrets: Option<crate::secrets::Hold>,
}

impl Resolved {
    pub(crate) fn of(container: &str) -> Self {
        Self {
            container: container.to_owned(),
            ..Default::default()
        }
    }
}

/// Resolves all of them. On an error, `resolved.made` still tells what to undo.
pub(crate) fn resolve(
    engine: &Engine,
    config: &ContainerConfig,
    host: &HostConfig,
    resolved: &mut Resolved,
) -> Result<()> {
    let mut all: BTreeMap<String, MountRecord> = BTreeMap::new();
    for from in &host.volumes_from {
        for mount in volumes_from(engine, from)? {
            if mount.point.kind == "volume" {
                let hold = engine
                    .volumes
                    .hold(&resolved.container, &mount.point.name)?;
                resolved.holds.push(hold);
            }
            all.insert(mount.point.destination.clone(), mount);
        }
    }
    let mut explicit = std::collections::BTreeSet::new();
    let mut add = |all: &mut BTreeMap<String, MountRecord>, mount: MountRecord| {
        let destination = mount.point.destination.clone();
        if !explicit.insert(destination.clone()) {
            return Err(invalid(format!("Duplicate mount point: {destination}")));
        }
        all.insert(destination, mount);
        Ok(())
    };
    for bind in &host.binds {
        let mount = parse_bind(engine, bind, resolved)?;
        add(&mut all, mount)?;
    }
    for mount in &host.mounts {
        let mount = long_form(engine, mount, resolved)?;
        add(&mut all, mount)?;
    }
    for (path, options) in &host.tmpfs {
        let mut mount = record("tmpfs", "", path, !options.split(',').any(|o| o == "ro"))?;
        mount.tmpfs = coracle_spec::tmpfs_options(options)?;
        mount.point.mode.clone_from(options);
        add(&mut all, mount)?;
    }
    for path in config.volumes.keys() {
        let destination = clean(path)?;
        if all.contains_key(&destination) {
            continue;
        }
        let mount = volume(
            engine,
            "",
            &destination,
            true,
            true,
            VolumeSpec::default(),
            resolved,
        )?;
        all.insert(destination, mount);
    }
    resolved.mounts = all.into_values().collect();
    Ok(())
}

/// `[source:]target[:options]`.
fn parse_bind(engine: &Engine, text: &str, resolved: &mut Resolved) -> Result<MountRecord> {
    let bad = || invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(bad()),
    };
    if (parts.len() > 1 && source.is_empty()) || target.is_empty() {
        return Err(bad());
    }
    let target = clean(target)?;
    let mut writable = true;
    let mut copy = true;
    let mut propagation = String::new();
    let mut recursive = true;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "rw" => writable = true,
            "ro" => writable = false,
            "nocopy" => copy = false,
            // Nothing to relabel without SELinux; and consistency is macOS'.
            "z" | "Z" | "consistent" | "cached" | "delegated" | "rbind" => {}
            "bind" => recursive = false,
            word if PROPAGATIONS.contains(&word) => word.clone_into(&mut propagation),
            _ => return Err(invalid(format!("invalid mode: {options}"))),
        }
    }
    if !source.starts_with('/') {
        if !propagation.is_empty() {
            return Err(invalid(format!("invalid mode: {options}")));
        }
        let mut mount = volume(
            engine,
            source,
            &target,
            writable,
            copy,
            VolumeSpec::default(),
            resolved,
        )?;
        options.clone_into(&mut mount.point.mode);
        return Ok(mount);
    }
    // Docker's old habit: a missing source becomes a directory.
    let source = clean(source)?;
    if !Path::new(&source).exists() {
        fs::create_dir_all(&source).map_err(|error| {
            invalid(format!(
                "error while creating mount source path '{source}': {error}"
            ))
        })?;
    }
    let mut mount = record("bind", &source, &target, writable)?;
    options.clone_into(&mut mount.point.mode);
    mount.point.propagation = if propagation.is_empty() {
        "rprivate".into()
    } else {
        propagation
    };
    mount.non_recursive = !recursive;
    Ok(mount)
}

fn long_form(engine: &Engine, mount: &Mount, resolved: &mut Resolved) -> Result<MountRecord> {
    let target = clean(&mount.target)?;
    let misplaced = |option: &str| {
        invalid(format!(
            "invalid mount config for type \"{}\": {option} must not be specified",
            mount.kind
        ))
    };
    if mount.kind != "bind" && mount.bind_options.is_some() {
        return Err(misplaced("BindOptions"));
    }
    if mount.kind != "volume" && mount.volume_options.is_some() {
        return Err(misplaced("VolumeOptions"));
    }
    if mount.kind != "tmpfs" && mount.tmpfs_options.is_some() {
        return Err(misplaced("TmpfsOptions"));
    }
    match mount.kind.as_str() {
        "bind" => bind(mount, &target),
        "volume" => {
            let options = mount.volume_options.clone().unwrap_or_default();
            let driver = options.driver_config.clone().unwrap_or_default();
            if !volumes::is_local(&options.subpath) {
                return Err(invalid(
                    "invalid mount config for type \"volume\": subpath must be a relative path \
                     within the volume"
                        .into(),
                ));
            }
            if mount.source.starts_with('/') {
                return Err(invalid(format!(
                    "invalid mount config for type \"volume\": invalid mount path: '{}' mount path must be a volume's name",
                    mount.source
                )));
            }
            let mut made = volume(
                engine,
                &mount.source,
                &target,
                !mount.read_only,
                !options.no_copy && options.subpath.is_empty(),
                VolumeSpec {
                    labels: options.labels,
                    driver: driver.name,
                    driver_opts: driver.options,
                    ..VolumeSpec::default()
                },
                resolved,
            )?;
            made.subpath = options.subpath;
            Ok(made)
        }
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(misplaced("Source"));
            }
            let mut made = record("tmpfs", "", &target, !mount.read_only)?;
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let mut words: Vec<String> = Vec::new();
            if options.size_bytes > 0 {
                words.push(format!("size={}", options.size_bytes));
            }
            if options.mode != 0 {
                words.push(format!("mode={:o}", options.mode));
            }
            if mount.read_only {
                words.push("ro".into());
            }
            words.extend(options.options.iter().map(|pair| pair.join("=")));
            made.tmpfs = coracle_spec::tmpfs_options(&words.join(","))?;
            Ok(made)
        }
        "" => Err(invalid("mount type unknown: \"\"".into())),
        other => Err(invalid(format!("mount type unknown: \"{other}\""))),
    }
}

fn bind(mount: &Mount, target: &str) -> Result<MountRecord> {
    let options = mount.bind_options.clone().unwrap_or_default();
    if !mount.source.starts_with('/') {
        return Err(invalid(format!(
            "invalid mount config for type \"bind\": invalid mount path: '{}' mount path must be absolute",
            mount.source
        )));
    }
    let source = clean(&mount.source)?;
    if !Path::new(&source).exists() {
        if !options.create_mountpoint {
            return Err(invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {source}"
            )));
        }
        fs::create_dir_all(&source).map_err(|error| {
            invalid(format!(
                "error while creating mount source path '{source}': {error}"
            ))
        })?;
    }
    let mut made = record("bind", &source, target, !mount.read_only)?;
    made.point.propagation = match options.propagation.as_str() {
        "" => "rprivate".into(),
        word if PROPAGATIONS.contains(&word) => word.to_owned(),
        word => return Err(invalid(format!("invalid propagation mode: {word}"))),
    };
    made.non_recursive = options.non_recursive;
    made.recursive_read_only = match mount.read_only {
        true if options.read_only_force_recursive => Some(true),
        true if options.read_only_non_recursive => Some(false),
        _ => None,
    };
    Ok(made)
}

fn volume(
    engine: &Engine,
    name: &str,
    target: &str,
    writable: bool,
    copy: bool,
    given: VolumeSpec,
    resolved: &mut Resolved,
) -> Result<MountRecord> {
    let anonymous = name.is_empty();
    let spec = VolumeSpec {
        name: name.to_owned(),
        ..given
    };
    let (volume, new, hold) = engine.volumes.create_for(&resolved.container, spec)?;
    resolved.holds.push(hold);
    if new {
        engine.emit_volume("create", &volume.name);
        if anonymous {
            resolved.made.push(volume.name.clone());
        }
    }
    // What is in a file system is there while a container has it mounted.
    let is_directory = !matches!(
        engine.volumes.backing(&volume.name)?,
        VolumeBacking::FileSystem { .. } | VolumeBacking::Disk { .. }
    );
    if copy && is_directory {
        resolved.fill.push((volume.name.clone(), target.to_owned()));
    }
    let mut mount = record("volume", &volume.mountpoint, target, writable)?;
    mount.point.name = volume.name;
    mount.point.driver = "local".into();
    mount.anonymous = anonymous;
    Ok(mount)
}

fn volumes_from(engine: &Engine, text: &str) -> Result<Vec<MountRecord>> {
    let (name, mode) = text.split_once(':').unwrap_or((text, ""));
    let read_only = match mode {
        "" | "rw" | "z" | "Z" => false,
        "ro" => true,
        _ => return Err(invalid(format!("invalid mode for volumes-from: {mode}"))),
    };
    let record = engine.find(name)?.now().record;
    Ok(record
        .mounts
        .iter()
        .filter(|mount| mount.point.kind != "tmpfs")
        .cloned()
        .map(|mut mount| {
            mount.point.rw &= !read_only;
            // It is the other one's: removing this container must not take it away.
            mount.anonymous = false;
            mount
        })
        .collect())
}

fn record(kind: &str, source: &str, destination: &str, rw: bool) -> Result<MountRecord> {
    let destination = clean(destination)?;
    if destination == "/" {
        return Err(invalid(
            "invalid specification: destination can't be '/'".into(),
        ));
    }
    Ok(MountRecord {
        point: MountPoint {
            kind: kind.into(),
            source: source.into(),
            destination,
            rw,
            ..Default::default()
        },
        ..Default::default()
    })
}

/// An absolute path without `.` and `..`.
fn clean(path: &str) -> Result<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(invalid(format!(
            "invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    let mut cleaned = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            _ => {}
        }
    }
    Ok(cleaned.to_string_lossy().into_owned())
}

fn invalid(text: String) -> RuntimeError {
    RuntimeError::InvalidArgument(text)
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean("/a//b/./c/../d/").unwrap(), "/a/b/d");
        assert_eq!(clean("/../..").unwrap(), "/");
        assert!(clean("a").is_err());
    }
}
