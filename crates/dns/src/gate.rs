//! Bounds on what is done at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Questions to other servers at once, of all containers.
const TOTAL: usize = 1024;
/// Of one container, so that it can't take all.
const EACH: usize = 128;
/// TCP connections of one container.
const CONNECTIONS: usize = 32;

/// The bounds of all.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL)))
    }

    /// The bounds of one listener.
    pub(crate) fn door(&self) -> Door {
        Door {
            total: self.0.clone(),
            each: Arc::new(Semaphore::new(EACH)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }
}

/// The bounds of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    total: Arc<Semaphore>,
    each: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Leave to ask; given back when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    _total: OwnedSemaphorePermit,
    _each: OwnedSemaphorePermit,
}

impl Door {
    /// Leave to ask another server, if there is any left now.
    pub(crate) fn pass(&self) -> Option<Pass> {
        Some(Pass {
            _each: self.each.clone().try_acquire_owned().ok()?,
            _total: self.total.clone().try_acquire_owned().ok()?,
        })
    }

    /// Leave to hold a connection.
    pub(crate) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().ok()
    }
}
