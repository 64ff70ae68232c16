//! Collecting shims that ended.
//!
//! A shim is our child until we die, and then init's. It may run for months, so none gets a thread:
//! one task looks at all of them whenever the kernel says that some child ended.

use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

/// The children to be collected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reaper {
    children: Arc<Mutex<Vec<Child>>>,
}

impl Reaper {
    /// Begins to collect. Must be called within the runtime.
    pub(crate) fn begin() -> std::io::Result<Self> {
        let reaper = Self::default();
        let mut ended = signal(SignalKind::child())?;
        let children = reaper.children.clone();
        tokio::spawn(async move {
            while ended.recv().await.is_some() {
                collect(&children);
            }
        });
        Ok(reaper)
    }

    /// Collects this one too, when it ends.
    pub(crate) fn add(&self, child: Child) {
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(child);
        // It may have ended before it was in the list.
        collect(&self.children);
    }
}

fn collect(children: &Mutex<Vec<Child>>) {
    children
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain_mut(|child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(_)) => false,
            Err(error) => {
                tracing::warn!(%error, "cannot collect a shim");
                false
            }
        });
}
