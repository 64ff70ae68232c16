//! Which containers there are, and what they are called.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coracle_runtime::{Result, RuntimeError};

use super::handle::Handle;
use crate::ident;

/// All containers, by id and by name.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    handles: HashMap<String, Handle>,
    /// Names to ids. A name is taken before its container is there, so that no two race for it.
    names: HashMap<String, String>,
}

impl Containers {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Nothing panics with the lock held; a table is whole after every statement.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for an id, or says whose it is (Docker's text).
    pub(crate) fn take_name(&self, name: &str, id: &str) -> Result<()> {
        let mut tables = self.lock();
        if let Some(owner) = tables.names.get(name) {
            return Err(RuntimeError::AlreadyExists(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \
                 \"{owner}\". You have to remove (or rename) that container to be able to reuse \
                 that name."
            )));
        }
        tables.names.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    /// Takes a made-up name.
    pub(crate) fn take_random_name(&self, id: &str) -> String {
        let mut attempt = 0;
        loop {
            let name = ident::random_name(attempt);
            if self.take_name(&name, id).is_ok() {
                return name;
            }
            attempt += 1;
        }
    }

    pub(crate) fn release_name(&self, name: &str) {
        self.lock().names.remove(name);
    }

    pub(crate) fn insert(&self, handle: Handle) {
        self.lock().handles.insert(handle.id.to_string(), handle);
    }

    /// Forgets a container. Its name goes only if it is still its own.
    pub(crate) fn forget(&self, id: &str, name: &str) {
        let mut tables = self.lock();
        tables.handles.remove(id);
        if tables.names.get(name).is_some_and(|owner| owner == id) {
            tables.names.remove(name);
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Handle> {
        self.lock().handles.get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Handle> {
        self.lock().handles.values().cloned().collect()
    }

    /// Finds by id, name, or a prefix of an id that fits only one.
    pub(crate) fn find(&self, name: &str) -> Result<Handle> {
        let tables = self.lock();
        let bare = name.strip_prefix('/').unwrap_or(name);
        if let Some(handle) = tables.handles.get(bare) {
            return Ok(handle.clone());
        }
        let by_name = tables.names.get(bare).and_then(|id| tables.handles.get(id));
        if let Some(handle) = by_name {
            return Ok(handle.clone());
        }
        // `parent/alias` of a link.
        if let Some((parent, alias)) = bare.split_once('/') {
            let parent = tables
                .names
                .get(parent)
                .and_then(|id| tables.handles.get(id));
            let record = parent.map(|parent| parent.now().record);
            let links = record.iter().flat_map(|record| &record.links);
            return links
                .filter(|link| link.alias == alias)
                .find_map(|link| tables.handles.get(&link.target))
                .cloned()
                .ok_or_else(|| RuntimeError::no_such_container(name));
        }
        match ident::by_prefix(bare, tables.handles.keys()) {
            Some(Ok(id)) => tables
                .handles
                .get(id)
                .cloned()
                .ok_or_else(|| RuntimeError::no_such_container(name)),
            Some(Err(())) => Err(RuntimeError::InvalidArgument(format!(
                "multiple IDs found with provided prefix: {bare}"
            ))),
            None => Err(RuntimeError::no_such_container(name)),
        }
    }
}
