//! Volumes: trees that outlive containers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use coracle_runtime::container::Pruned;
use coracle_runtime::event::EventKind;
use coracle_runtime::filter::Filters;
use coracle_runtime::volume::{Volume, VolumeSpec};
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

use crate::engine::{Engine, State};
use crate::fs::Tree;
use crate::ident;

/// All volumes, by name.
pub(crate) type Volumes = BTreeMap<String, Stored>;

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) volume: Volume,
    pub(crate) tree: Arc<Mutex<Tree>>,
}

impl Stored {
    fn size(&self) -> u64 {
        self.tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .size()
    }
}

pub(crate) fn no_such_volume(name: &str) -> RuntimeError {
    RuntimeError::NotFound(format!("get {name}: no such volume"))
}

impl State {
    /// Makes a volume, or gives the one of that name. `true` where it is new.
    pub(crate) fn create_volume(
        &mut self,
        spec: VolumeSpec,
        anonymous: bool,
    ) -> Result<(Stored, bool)> {
        coracle_spec::check_volume(&spec)?;
        let anonymous = anonymous || spec.name.is_empty();
        let name = if spec.name.is_empty() {
            ident::new_id()
        } else {
            spec.name
        };
        if let Some(stored) = self.volumes.get(&name) {
            return Ok((stored.clone(), false));
        }
        let volume = Volume {
            name: name.clone(),
            driver: "local".into(),
            mountpoint: format!("/mock/volumes/{name}/_data"),
            created: Timestamp::now(),
            labels: spec.labels,
            options: spec.driver_opts,
            anonymous,
            ref_count: None,
            size: None,
        };
        let stored = Stored {
            volume,
            tree: Arc::default(),
        };
        self.volumes.insert(name, stored.clone());
        Ok((stored, true))
    }

    /// Ids of the containers that use a volume, but for one.
    pub(crate) fn volume_users(&self, name: &str, except: &str) -> Vec<String> {
        self.containers
            .values()
            .filter(|entry| entry.id != except)
            .filter(|entry| {
                entry
                    .mounts
                    .iter()
                    .any(|m| m.point.kind == "volume" && m.point.name == name)
            })
            .map(|entry| entry.id.clone())
            .collect()
    }

    /// Removes a volume that no container uses; `false` where there was none.
    pub(crate) fn remove_volume(&mut self, name: &str, force: bool) -> Result<bool> {
        if !self.volumes.contains_key(name) {
            return if force {
                Ok(false)
            } else {
                Err(no_such_volume(name))
            };
        }
        let users = self.volume_users(name, "");
        if !users.is_empty() {
            return Err(RuntimeError::InvalidState(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        self.volumes.remove(name);
        Ok(true)
    }

    /// All volumes, with who uses them and how large they are.
    pub(crate) fn measured_volumes(&self) -> Vec<Volume> {
        self.volumes
            .values()
            .map(|stored| {
                let mut volume = stored.volume.clone();
                volume.ref_count = Some(self.volume_users(&volume.name, "").len() as u64);
                volume.size = Some(stored.size());
                volume
            })
            .collect()
    }
}

/// Removes unused volumes that fit: anonymous ones, or all.
pub(crate) fn prune(engine: &Engine, filters: &Filters) -> Result<Pruned> {
    let all = filters.boolean("all")? == Some(true);
    let mut state = engine.lock();
    let mut pruned = Pruned::default();
    let volumes: Vec<Stored> = state.volumes.values().cloned().collect();
    for stored in volumes {
        let name = stored.volume.name.clone();
        let fits = (all || stored.volume.anonymous) && filters.labels(&stored.volume.labels);
        if fits && matches!(state.remove_volume(&name, true), Ok(true)) {
            engine.emit_volume("destroy", &name);
            pruned.space_reclaimed += stored.size();
            pruned.deleted.push(name);
        }
    }
    engine.emit_prune(EventKind::Volume, pruned.space_reclaimed);
    Ok(pruned)
}
