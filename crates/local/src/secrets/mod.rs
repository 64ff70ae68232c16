//! Secrets and configs: who may remove one, and what containers refer to. Values are in the
//! [vault](coracle_secret); how they get into a container is in [`mount`].
//!
//! Nothing removes one that a container refers to. From the moment when a container that is being
//! created finds it until everybody can find the container, a [`Hold`] says so.

pub(crate) mod mount;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_runtime::event::EventKind;
use coracle_runtime::secret::{Config, Secret, SecretSpec, SecretUpdate};
use coracle_runtime::spec::HostConfig;
use coracle_runtime::{Result, RuntimeError};
use coracle_secret::{Entry, Error, Kind, Vault};
use coracle_spec::FileKind;
use serde::{Deserialize, Serialize};

use crate::container::names::Containers;
use crate::container::record::MountRecord;
use crate::engine::Engine;

/// A secret or config that a container has as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) destination: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

type Held = Arc<Mutex<Vec<(Kind, String)>>>;

fn lock(held: &Held) -> MutexGuard<'_, Vec<(Kind, String)>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps secrets from being removed, for a container that is being created.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    held: Held,
    own: Vec<(Kind, String)>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        for own in &self.own {
            if let Some(index) = held.iter().position(|other| other == own) {
                held.swap_remove(index);
            }
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) vault: Vault,
    held: Held,
}

impl Secrets {
    /// Opens the vault, and finishes an exchange of its key that was cut short.
    pub(crate) fn open(data_root: &Path) -> Result<Self> {
        Ok(Self {
            vault: Vault::open(data_root.join("vault")).map_err(error)?,
            held: Held::default(),
        })
    }

    /// What a new container asks for, which stays as long as the hold does.
    pub(crate) fn resolve(
        &self,
        host: &HostConfig,
        mounts: &[MountRecord],
    ) -> Result<(Vec<FileRecord>, Hold)> {
        let mut hold = Hold {
            held: self.held.clone(),
            own: Vec::new(),
        };
        let wanted = coracle_spec::secret_files(host)?;
        let mut held = lock(&self.held);
        let mut files = Vec::with_capacity(wanted.len());
        for file in wanted {
            let kind = match file.kind {
                FileKind::Secret => Kind::Secret,
                FileKind::Config => Kind::Config,
            };
            // Not a 404: for the docker CLI that would be an image to pull.
            let entry = self.vault.find(kind, &file.source).map_err(|_| {
                RuntimeError::InvalidArgument(format!("{kind} not found: {}", file.source))
            })?;
            let destination = file.destination.to_string_lossy().into_owned();
            if mounts
                .iter()
                .any(|mount| mount.point.destination == destination)
            {
                return Err(RuntimeError::InvalidArgument(format!(
                    "Duplicate mount point: {destination}"
                )));
            }
            let key = (kind, entry.id.clone());
            held.push(key.clone());
            hold.own.push(key);
            files.push(FileRecord {
                kind,
                id: entry.id,
                name: entry.name,
                destination,
                uid: file.uid,
                gid: file.gid,
                mode: file.mode,
            });
        }
        // The hold's end takes this lock.
        drop(held);
        Ok((files, hold))
    }

    /// Removes one that no container refers to.
    fn remove(&self, containers: &Containers, kind: Kind, name: &str) -> Result<Entry> {
        let held = lock(&self.held);
        let entry = self.vault.find(kind, name).map_err(error)?;
        let mut users: Vec<String> = containers
            .all()
            .into_iter()
            .map(|handle| handle.now().record)
            .filter(|record| {
                let mut files = record.files.iter();
                files.any(|file| file.kind == kind && file.id == entry.id)
            })
            .map(|record| record.name.clone())
            .collect();
        users.sort();
        let being_made = held.contains(&(kind, entry.id.clone()));
        if being_made && users.is_empty() {
            users.push("one that is being created".into());
        }
        if !users.is_empty() {
            let word = if users.len() > 1 {
                "containers"
            } else {
                "container"
            };
            return Err(RuntimeError::InvalidArgument(format!(
                "{kind} '{}' is in use by the following {word}: {}",
                entry.name,
                users.join(", ")
            )));
        }
        self.vault.remove(kind, &entry.id).map_err(error)
    }
}

pub(crate) fn error(error: Error) -> RuntimeError {
    let text = error.to_string();
    match error {
        Error::NotFound { .. } => RuntimeError::NotFound(text),
        Error::AlreadyExists { .. } => RuntimeError::AlreadyExists(text),
        Error::Ambiguous { .. } | Error::Invalid(_) => RuntimeError::InvalidArgument(text),
        Error::Exposed { .. }
        | Error::Damaged { .. }
        | Error::Unfinished(_)
        | Error::Io { .. }
        | Error::Cipher => RuntimeError::Internal(text),
    }
}

fn describe(entry: Entry) -> Secret {
    Secret {
        id: entry.id,
        name: entry.name,
        labels: entry.labels,
        version: entry.version,
        created: entry.created,
        updated: entry.updated,
    }
}

fn emit(engine: &Engine, action: &str, entry: &Entry) {
    let kind = match entry.kind {
        Kind::Secret => EventKind::Secret,
        Kind::Config => EventKind::Config,
    };
    let attributes = BTreeMap::from([("name".to_owned(), entry.name.clone())]);
    engine.events.publish(kind, action, &entry.id, attributes);
}

// What follows is the trait's. All but lists and look-ups block.

pub(crate) fn list(engine: &Engine, kind: Kind) -> Vec<Secret> {
    let entries = engine.secrets.vault.list(kind);
    entries.into_iter().map(describe).collect()
}

pub(crate) fn inspect(engine: &Engine, kind: Kind, name: &str) -> Result<Secret> {
    let found = engine.secrets.vault.find(kind, name);
    found.map(describe).map_err(error)
}

pub(crate) fn list_configs(engine: &Engine) -> Result<Vec<Config>> {
    let entries = engine.secrets.vault.list(Kind::Config);
    let configs = entries.into_iter().map(|entry| open(engine, entry));
    // One that was removed meanwhile is no error, one that is damaged is told where it is looked at.
    Ok(configs.filter_map(Result::ok).collect())
}

pub(crate) fn inspect_config(engine: &Engine, name: &str) -> Result<Config> {
    let entry = engine.secrets.vault.find(Kind::Config, name);
    open(engine, entry.map_err(error)?)
}

fn open(engine: &Engine, entry: Entry) -> Result<Config> {
    let value = engine.secrets.vault.value(Kind::Config, &entry.id);
    Ok(Config {
        data: value.map_err(error)?.to_vec(),
        about: describe(entry),
    })
}

pub(crate) fn create(engine: &Engine, kind: Kind, spec: SecretSpec) -> Result<String> {
    let SecretSpec { name, labels, data } = spec;
    let made = engine
        .secrets
        .vault
        .create(kind, &name, labels, data.expose());
    let entry = made.map_err(error)?;
    emit(engine, "create", &entry);
    Ok(entry.id)
}

pub(crate) fn update(engine: &Engine, kind: Kind, name: &str, update: SecretUpdate) -> Result<()> {
    let vault = &engine.secrets.vault;
    let id = vault.find(kind, name).map_err(error)?.id;
    let changed = vault.relabel(kind, &id, update.version, update.labels);
    emit(engine, "update", &changed.map_err(error)?);
    Ok(())
}

pub(crate) fn remove(engine: &Engine, kind: Kind, name: &str) -> Result<()> {
    let removed = engine.secrets.remove(&engine.containers, kind, name)?;
    emit(engine, "remove", &removed);
    Ok(())
}

pub(crate) fn rotate(engine: &Engine) -> Result<usize> {
    let count = engine.secrets.vault.rotate().map_err(error)?;
    tracing::info!(count, "secrets and configs are under a new key");
    Ok(count)
}
