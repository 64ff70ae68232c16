//! Mounts as users ask for them (`-v`, `--mount`, `--tmpfs`, `VOLUME`, `--volumes-from`).
//!
//! A bind mount of the host is a tree of its own, empty at first: the mock never touches the host.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use coracle_runtime::container::MountPoint;
use coracle_runtime::spec::{ContainerConfig, HostConfig, Mount};
use coracle_runtime::volume::VolumeSpec;
use coracle_runtime::{Result, RuntimeError};

use super::MountRecord;
use crate::engine::{Engine, State};
use crate::fs::tree::clean;
use crate::fs::{self, Node, Tree};

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// The mounts of a container, and the anonymous volumes that were made for it.
#[derive(Default)]
pub(crate) struct Resolved {
    pub(crate) mounts: Vec<MountRecord>,
    pub(crate) made: Vec<String>,
}

fn invalid(text: impl Into<String>) -> RuntimeError {
    RuntimeError::InvalidArgument(text.into())
}

fn target(path: &str) -> Result<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(invalid(format!(
            "invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    match clean("/", path) {
        root if root == "/" => Err(invalid("invalid specification: destination can't be '/'")),
        path => Ok(path),
    }
}

fn record(kind: &str, source: &str, destination: &str, rw: bool) -> MountRecord {
    MountRecord {
        point: MountPoint {
            kind: kind.into(),
            source: source.into(),
            destination: destination.into(),
            rw,
            ..MountPoint::default()
        },
        anonymous: false,
        tree: None,
        hidden: false,
    }
}

impl Resolved {
    /// Resolves all of them. On an error, `made` still tells what to undo.
    pub(crate) fn all(
        &mut self,
        engine: &Engine,
        state: &mut State,
        config: &ContainerConfig,
        host: &HostConfig,
        image: &Tree,
    ) -> Result<()> {
        let mut all: BTreeMap<String, MountRecord> = BTreeMap::new();
        for from in &host.volumes_from {
            for mount in volumes_from(state, from)? {
                all.insert(mount.point.destination.clone(), mount);
            }
        }
        let mut explicit = Vec::new();
        for bind in &host.binds {
            explicit.push(self.short_form(engine, state, bind, image)?);
        }
        for mount in &host.mounts {
            explicit.push(self.long_form(engine, state, mount, image)?);
        }
        for (path, options) in &host.tmpfs {
            coracle_spec::tmpfs_options(options)?;
            let rw = !options.split(',').any(|option| option == "ro");
            let mut mount = record("tmpfs", "", &target(path)?, rw);
            mount.hidden = true;
            explicit.push(mount);
        }
        let mut seen = BTreeSet::new();
        for mount in explicit {
            let destination = mount.point.destination.clone();
            if !seen.insert(destination.clone()) {
                return Err(invalid(format!("Duplicate mount point: {destination}")));
            }
            all.insert(destination, mount);
        }
        for path in config.volumes.keys() {
            let destination = target(path)?;
            if let Entry::Vacant(place) = all.entry(destination.clone()) {
                let spec = VolumeSpec::default();
                place.insert(self.volume(engine, state, spec, &destination, true, Some(image))?);
            }
        }
        self.mounts = all.into_values().collect();
        Ok(())
    }

    /// `[source:]target[:options]`.
    fn short_form(
        &mut self,
        engine: &Engine,
        state: &mut State,
        text: &str,
        image: &Tree,
    ) -> Result<MountRecord> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, options) = match parts.as_slice() {
            [target] if !target.is_empty() => ("", *target, ""),
            [source, target] if !source.is_empty() && !target.is_empty() => (*source, *target, ""),
            [source, target, options] if !source.is_empty() && !target.is_empty() => {
                (*source, *target, *options)
            }
            _ => return Err(invalid(format!("invalid volume specification: '{text}'"))),
        };
        let destination = target(destination)?;
        let bad_mode = || invalid(format!("invalid mode: {options}"));
        let (mut rw, mut copy, mut propagation) = (true, true, "");
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "rw" => rw = true,
                "ro" => rw = false,
                "nocopy" => copy = false,
                "z" | "Z" | "consistent" | "cached" | "delegated" | "rbind" | "bind" => {}
                word if PROPAGATIONS.contains(&word) => propagation = word,
                _ => return Err(bad_mode()),
            }
        }
        let mut mount = if source.starts_with('/') {
            let mut mount = bind(state, &clean("/", source), &destination, rw);
            mount.point.propagation = if propagation.is_empty() {
                "rprivate"
            } else {
                propagation
            }
            .into();
            mount
        } else {
            if !propagation.is_empty() {
                return Err(bad_mode());
            }
            let spec = VolumeSpec {
                name: source.into(),
                ..VolumeSpec::default()
            };
            self.volume(engine, state, spec, &destination, rw, copy.then_some(image))?
        };
        options.clone_into(&mut mount.point.mode);
        Ok(mount)
    }

    fn long_form(
        &mut self,
        engine: &Engine,
        state: &mut State,
        mount: &Mount,
        image: &Tree,
    ) -> Result<MountRecord> {
        let destination = target(&mount.target)?;
        let kind = mount.kind.as_str();
        let misplaced = |option: &str| {
            invalid(format!(
                "invalid mount config for type \"{kind}\": {option} must not be specified"
            ))
        };
        let options = [
            ("bind", mount.bind_options.is_some(), "BindOptions"),
            ("volume", mount.volume_options.is_some(), "VolumeOptions"),
            ("tmpfs", mount.tmpfs_options.is_some(), "TmpfsOptions"),
        ];
        if let Some((_, _, option)) = options.iter().find(|(of, given, _)| *given && *of != kind) {
            return Err(misplaced(option));
        }
        let rw = !mount.read_only;
        match kind {
            "bind" => {
                if !mount.source.starts_with('/') {
                    return Err(invalid(format!(
                        "invalid mount config for type \"bind\": invalid mount path: '{}' mount path must be absolute",
                        mount.source
                    )));
                }
                let options = mount.bind_options.clone().unwrap_or_default();
                let mut made = bind(state, &clean("/", &mount.source), &destination, rw);
                made.point.propagation = match options.propagation.as_str() {
                    "" => "rprivate".into(),
                    word if PROPAGATIONS.contains(&word) => word.to_owned(),
                    word => return Err(invalid(format!("invalid propagation mode: {word}"))),
                };
                Ok(made)
            }
            "volume" => {
                let options = mount.volume_options.clone().unwrap_or_default();
                let driver = options.driver_config.clone().unwrap_or_default();
                if mount.source.starts_with('/') {
                    return Err(invalid(format!(
                        "invalid mount config for type \"volume\": invalid mount path: '{}' mount path must be a volume's name",
                        mount.source
                    )));
                }
                if !options.subpath.is_empty() {
                    return Err(invalid("volume subpaths are not simulated"));
                }
                let spec = VolumeSpec {
                    name: mount.source.clone(),
                    labels: options.labels,
                    driver: driver.name,
                    driver_opts: driver.options,
                };
                let fill = (!options.no_copy).then_some(image);
                self.volume(engine, state, spec, &destination, rw, fill)
            }
            "tmpfs" if !mount.source.is_empty() => Err(misplaced("Source")),
            "tmpfs" => Ok(record("tmpfs", "", &destination, rw)),
            other => Err(invalid(format!("mount type unknown: \"{other}\""))),
        }
    }

    /// A volume's mount; an empty one is filled from what the image has there.
    fn volume(
        &mut self,
        engine: &Engine,
        state: &mut State,
        spec: VolumeSpec,
        destination: &str,
        rw: bool,
        fill: Option<&Tree>,
    ) -> Result<MountRecord> {
        let anonymous = spec.name.is_empty();
        let (stored, new) = state.create_volume(spec, anonymous)?;
        let name = stored.volume.name.clone();
        if new {
            engine.emit_volume("create", &name);
            if anonymous {
                self.made.push(name.clone());
            }
        }
        if let Some(image) = fill {
            let mut tree = stored.tree.lock().unwrap_or_else(PoisonError::into_inner);
            if tree.below("/").next().is_none() {
                for (path, node) in image.below(destination) {
                    let below = path.get(destination.len()..).unwrap_or_default();
                    tree.put(below, Node::clone(node));
                }
            }
        }
        let mut mount = record("volume", &stored.volume.mountpoint, destination, rw);
        mount.point.name = name;
        mount.point.driver = "local".into();
        mount.anonymous = anonymous;
        mount.tree = Some(stored.tree);
        Ok(mount)
    }
}

/// All mounts of one source share a tree.
fn bind(state: &State, source: &str, destination: &str, rw: bool) -> MountRecord {
    let shared = state
        .containers
        .values()
        .flat_map(|entry| &entry.mounts)
        .find(|mount| mount.point.kind == "bind" && mount.point.source == source);
    let mut mount = record("bind", source, destination, rw);
    mount.tree = Some(match shared {
        Some(mount) => mount.tree.clone().unwrap_or_default(),
        None => Arc::<Mutex<Tree>>::default(),
    });
    mount
}

fn volumes_from(state: &State, text: &str) -> Result<Vec<MountRecord>> {
    let (name, mode) = text.split_once(':').unwrap_or((text, ""));
    let read_only = match mode {
        "" | "rw" | "z" | "Z" => false,
        "ro" => true,
        _ => return Err(invalid(format!("invalid mode for volumes-from: {mode}"))),
    };
    let mounts = state.container(name)?.mounts.iter();
    Ok(mounts
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

impl super::Entry {
    /// Puts the mounts, and what every container has, into the file system.
    pub(crate) fn mount_all(&mut self) {
        let mut fs = self.fs.lock().unwrap_or_else(PoisonError::into_inner);
        fs.mounts = self
            .mounts
            .iter()
            .map(|mount| fs::Mount {
                destination: mount.point.destination.clone(),
                tree: mount.tree.clone().unwrap_or_default(),
                writable: mount.point.rw,
            })
            .collect();
        let device = |minor| {
            Arc::new(Node::new(
                fs::Kind::Device {
                    block: false,
                    numbers: (1, minor),
                },
                0o666,
            ))
        };
        let file = |text: String| Arc::new(Node::file(text, 0o644));
        let hostname = &self.config.hostname;
        let mut addresses = self
            .network
            .networks
            .values()
            .map(|endpoint| endpoint.ip_address.as_str());
        let address = addresses
            .find(|address| !address.is_empty())
            .unwrap_or("127.0.0.1");
        fs.special = [
            ("/dev".to_owned(), Arc::new(Node::dir())),
            ("/dev/null".to_owned(), device(3)),
            ("/dev/zero".to_owned(), device(5)),
            ("/proc".to_owned(), Arc::new(Node::dir())),
            ("/sys".to_owned(), Arc::new(Node::dir())),
            ("/etc/hostname".to_owned(), file(format!("{hostname}\n"))),
            (
                "/etc/hosts".to_owned(),
                file(format!("127.0.0.1\tlocalhost\n{address}\t{hostname}\n")),
            ),
            (
                "/etc/resolv.conf".to_owned(),
                file("nameserver 127.0.0.11\n".into()),
            ),
        ]
        .into();
        for file in &self.files {
            let mut above = file.destination.as_str();
            while let Some((parent, _)) = above.rsplit_once('/') {
                above = parent;
                if !parent.is_empty() && fs.root.get(parent).is_none() {
                    fs.root.put(parent, Node::dir());
                }
            }
            fs.special
                .insert(file.destination.clone(), file.node.clone());
        }
    }
}
