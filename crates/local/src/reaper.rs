//! Collecting shims that ended.
//!
//! A shim is our child until we die, and then init's. It may run for months, so none gets a thread:
//! one task looks at all of them whenever the kernel says that some child ended.

use std::fmt;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

/// The children to be collected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reaper {
    children: Arc<Mutex<Vec<Awaited>>>,
}

/// A child, and what is to be done when it has ended.
struct Awaited(Child, Option<Box<dyn FnOnce() + Send>>);

impl fmt::Debug for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
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
        self.push(Awaited(child, None));
    }

    /// The same, and does this then.
    pub(crate) fn add_then(&self, child: Child, then: impl FnOnce() + Send + 'static) {
        self.push(Awaited(child, Some(Box::new(then))));
    }

    fn push(&self, awaited: Awaited) {
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(awaited);
        // It may have ended before it was in the list.
        collect(&self.children);
    }
}

fn collect(children: &Mutex<Vec<Awaited>>) {
    let mut ended = Vec::new();
    children
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain_mut(|Awaited(child, then)| {
            match child.try_wait() {
                Ok(None) => return true,
                Ok(Some(_)) => {}
                Err(error) => tracing::warn!(%error, "cannot collect a shim"),
            }
            ended.extend(then.take());
            false
        });
    for then in ended {
        then();
    }
}
