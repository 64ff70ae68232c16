//! What all parts of the mock share: one table of everything, behind one lock.
//!
//! Every request is one step under the lock, and publishes its events under it too, so that their
//! order is that of what happened. Only simulated processes run outside, as tasks; they come back in
//! through [`Engine::ended`].

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use coracle_catalog::User;
use coracle_runtime::event::{EventBus, EventKind};
use coracle_runtime::{Result, RuntimeError};

use crate::container::Entry;
use crate::container::exec::Execs;
use crate::ident::{self, Prefix};
use crate::images::Images;
use crate::images::remove::Use;
use crate::kernels::Kernels;
use crate::networks::Networks;
use crate::secrets::Secrets;
use crate::volumes::Volumes;

pub(crate) struct Engine {
    pub(crate) id: String,
    pub(crate) events: EventBus,
    /// What options are checked against.
    pub(crate) host: coracle_spec::Host,
    pub(crate) kernels: Kernels,
    state: Mutex<State>,
    last_pid: AtomicI32,
}

/// Everything that there is.
#[derive(Default)]
pub(crate) struct State {
    /// By id.
    pub(crate) containers: BTreeMap<String, Entry>,
    /// Names to ids.
    pub(crate) names: HashMap<String, String>,
    pub(crate) execs: Execs,
    pub(crate) images: Images,
    pub(crate) volumes: Volumes,
    pub(crate) secrets: Secrets,
    pub(crate) networks: Networks,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self {
            id: ident::new_id(),
            events: EventBus::new(),
            host: coracle_spec::Host {
                capabilities: coracle_spec::CAPABILITIES.map(str::to_owned).to_vec(),
                default_shm_size: 64 << 20,
                cpus: std::thread::available_parallelism()
                    .map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
                swap_accounting: true,
                layer_size: false,
                ..Default::default()
            },
            kernels: Kernels::default(),
            state: Mutex::default(),
            last_pid: AtomicI32::new(1000),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of a test that held it is that test's own affair.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process id on the simulated host.
    pub(crate) fn new_pid(&self) -> i32 {
        self.last_pid.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn emit_image(&self, action: &str, id: &str, name: &str) {
        let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
        self.events
            .publish(EventKind::Image, action, id, attributes);
    }

    pub(crate) fn emit_volume(&self, action: &str, name: &str) {
        let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        self.events
            .publish(EventKind::Volume, action, name, attributes);
    }

    pub(crate) fn emit_prune(&self, kind: EventKind, reclaimed: u64) {
        let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
        self.events.publish(kind, "prune", "", attributes);
    }

    /// Publishes an event about a container, with what Docker says with each.
    pub(crate) fn emit(&self, entry: &Entry, action: &str, extra: &[(&str, &str)]) {
        let mut attributes = entry.config.labels.clone();
        attributes.insert("image".into(), entry.config.image.clone());
        attributes.insert("name".into(), entry.name.clone());
        for (key, value) in extra {
            attributes.insert((*key).to_owned(), (*value).to_owned());
        }
        self.events
            .publish(EventKind::Container, action, entry.id.as_str(), attributes);
    }
}

impl State {
    /// The id of a container by its id, its name, or a prefix of its id that fits only one.
    pub(crate) fn find(&self, name: &str) -> Result<String> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        if self.containers.contains_key(bare) {
            return Ok(bare.to_owned());
        }
        if let Some(id) = self
            .names
            .get(bare)
            .filter(|id| self.containers.contains_key(*id))
        {
            return Ok(id.clone());
        }
        if let Some(id) = self.find_linked(bare) {
            return Ok(id);
        }
        match ident::by_prefix(bare, self.containers.keys().map(String::as_str)) {
            Prefix::One(id) => Ok(id.to_owned()),
            Prefix::Several => Err(RuntimeError::InvalidArgument(format!(
                "multiple IDs found with provided prefix: {bare}"
            ))),
            Prefix::None => Err(RuntimeError::no_such_container(name)),
        }
    }

    pub(crate) fn container(&self, name: &str) -> Result<&Entry> {
        let id = self.find(name)?;
        self.containers
            .get(&id)
            .ok_or_else(|| RuntimeError::no_such_container(name))
    }

    pub(crate) fn container_mut(&mut self, name: &str) -> Result<&mut Entry> {
        let id = self.find(name)?;
        self.containers
            .get_mut(&id)
            .ok_or_else(|| RuntimeError::no_such_container(name))
    }

    /// Takes a name for an id, or says whose it is.
    pub(crate) fn take_name(&mut self, name: &str, id: &str) -> Result<()> {
        if let Some(owner) = self.names.get(name) {
            return Err(RuntimeError::AlreadyExists(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \
                 \"{owner}\". You have to remove (or rename) that container to be able to reuse \
                 that name."
            )));
        }
        self.names.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    /// Which container uses which image.
    pub(crate) fn image_uses(&self) -> Vec<Use> {
        self.containers
            .values()
            .map(|entry| Use {
                image: entry.image_id.clone(),
                user: User {
                    container: entry.id.clone(),
                    running: entry.state.status.is_alive(),
                },
            })
            .collect()
    }
}
