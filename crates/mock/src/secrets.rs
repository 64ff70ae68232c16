//! Secrets and configs, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coracle_runtime::event::EventKind;
use coracle_runtime::secret::{Config, Secret, SecretSpec, SecretUpdate};
use coracle_runtime::spec::HostConfig;
use coracle_runtime::{Result, RuntimeError};
use coracle_secret::Kind;
use coracle_spec::FileKind;
use jiff::Timestamp;

use crate::container::MountRecord;
use crate::engine::{Engine, State};
use crate::fs::Node;
use crate::ident;

/// All of them, by kind and id.
pub(crate) type Secrets = BTreeMap<(Kind, String), (Secret, Bytes)>;

/// A secret or config that a container has as a file.
#[derive(Debug)]
pub(crate) struct FileRecord {
    kind: Kind,
    id: String,
    pub(crate) destination: String,
    pub(crate) node: Arc<Node>,
}

fn invalid(text: String) -> RuntimeError {
    RuntimeError::InvalidArgument(text)
}

impl State {
    pub(crate) fn secret(&self, kind: Kind, name: &str) -> Result<&(Secret, Bytes)> {
        let of_kind = || self.secrets.iter().filter(|((of, _), _)| *of == kind);
        if let Some(found) = self.secrets.get(&(kind, name.to_owned())) {
            return Ok(found);
        }
        if let Some((_, found)) = of_kind().find(|(_, (secret, _))| secret.name == name) {
            return Ok(found);
        }
        let found: Vec<_> = of_kind()
            .filter(|((_, id), _)| !name.is_empty() && id.starts_with(name))
            .collect();
        match found.as_slice() {
            [(_, one)] => Ok(one),
            [] => Err(RuntimeError::NotFound(format!("{kind} {name} not found"))),
            several => Err(invalid(format!(
                "{kind} {name} is ambiguous ({} matches found)",
                several.len()
            ))),
        }
    }

    /// What a new container asks for.
    pub(crate) fn files(
        &self,
        host: &HostConfig,
        mounts: &[MountRecord],
    ) -> Result<Vec<FileRecord>> {
        let mut files = Vec::new();
        for file in coracle_spec::secret_files(host)? {
            let kind = match file.kind {
                FileKind::Secret => Kind::Secret,
                FileKind::Config => Kind::Config,
            };
            let (secret, value) = self
                .secret(kind, &file.source)
                .map_err(|_| invalid(format!("{kind} not found: {}", file.source)))?;
            let destination = file.destination.to_string_lossy().into_owned();
            if mounts
                .iter()
                .any(|mount| mount.point.destination == destination)
            {
                return Err(invalid(format!("Duplicate mount point: {destination}")));
            }
            let mut node = Node::file(value.clone(), file.mode);
            (node.uid, node.gid) = (file.uid, file.gid);
            files.push(FileRecord {
                kind,
                id: secret.id.clone(),
                destination,
                node: Arc::new(node),
            });
        }
        Ok(files)
    }
}

impl Engine {
    fn emit_secret(&self, kind: Kind, action: &str, secret: &Secret) {
        let of = match kind {
            Kind::Secret => EventKind::Secret,
            Kind::Config => EventKind::Config,
        };
        let attributes = BTreeMap::from([("name".to_owned(), secret.name.clone())]);
        self.events.publish(of, action, &secret.id, attributes);
    }

    pub(crate) fn list_secrets(&self, kind: Kind) -> Vec<Secret> {
        self.configs(kind)
            .into_iter()
            .map(|config| config.about)
            .collect()
    }

    pub(crate) fn configs(&self, kind: Kind) -> Vec<Config> {
        let state = self.lock();
        let of_kind = state.secrets.iter().filter(|((of, _), _)| *of == kind);
        of_kind.map(|(_, stored)| config(stored)).collect()
    }

    pub(crate) fn config(&self, kind: Kind, name: &str) -> Result<Config> {
        self.lock().secret(kind, name).map(config)
    }

    pub(crate) fn create_secret(&self, kind: Kind, spec: SecretSpec) -> Result<String> {
        let refused = |error: coracle_secret::Error| invalid(error.to_string());
        coracle_secret::check_name(&spec.name).map_err(refused)?;
        kind.check(spec.data.expose()).map_err(refused)?;
        let mut state = self.lock();
        let mut all = state.secrets.iter();
        if all.any(|((of, _), (secret, _))| *of == kind && secret.name == spec.name) {
            let name = spec.name;
            return Err(RuntimeError::AlreadyExists(format!(
                "{kind} {name} already exists"
            )));
        }
        let (mut id, now) = (ident::new_id(), Timestamp::now());
        id.truncate(25);
        let secret = Secret {
            id: id.clone(),
            name: spec.name,
            labels: spec.labels,
            version: 1,
            created: now,
            updated: now,
        };
        self.emit_secret(kind, "create", &secret);
        let value = Bytes::copy_from_slice(spec.data.expose());
        state.secrets.insert((kind, id.clone()), (secret, value));
        Ok(id)
    }

    pub(crate) fn update_secret(&self, kind: Kind, name: &str, update: SecretUpdate) -> Result<()> {
        let mut state = self.lock();
        let id = state.secret(kind, name)?.0.id.clone();
        if let Some((secret, _)) = state.secrets.get_mut(&(kind, id)) {
            if secret.version != update.version {
                return Err(invalid("update out of sequence".into()));
            }
            secret.version += 1;
            secret.labels = update.labels;
            secret.updated = Timestamp::now();
            self.emit_secret(kind, "update", secret);
        }
        Ok(())
    }

    pub(crate) fn remove_secret(&self, kind: Kind, name: &str) -> Result<()> {
        let mut state = self.lock();
        let secret = state.secret(kind, name)?.0.clone();
        let uses = |file: &FileRecord| file.kind == kind && file.id == secret.id;
        let users = state.containers.values();
        let users = users.filter(|entry| entry.files.iter().any(uses));
        let mut users: Vec<&str> = users.map(|entry| entry.name.as_str()).collect();
        users.sort_unstable();
        if !users.is_empty() {
            let word = if users.len() > 1 {
                "containers"
            } else {
                "container"
            };
            return Err(invalid(format!(
                "{kind} '{}' is in use by the following {word}: {}",
                secret.name,
                users.join(", ")
            )));
        }
        state.secrets.remove(&(kind, secret.id.clone()));
        self.emit_secret(kind, "remove", &secret);
        Ok(())
    }
}

fn config((about, data): &(Secret, Bytes)) -> Config {
    Config {
        about: about.clone(),
        data: data.to_vec(),
    }
}
