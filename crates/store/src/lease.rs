//! Leases: what keeps content alive that no image has yet.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;

use coracle_oci::Digest;

use crate::Blob;
use crate::Store;
use crate::StoreError;
use crate::store::locked;

/// Keeps content from being collected until it, and all its clones, are dropped. What a leased
/// manifest or index points to is kept too.
///
/// Work that brings content in (pull, build, load, commit) takes one, does everything under it,
/// names the image, and drops it. Leases live in the process: a crash ends them.
#[derive(Clone)]
pub struct Lease {
    held: Arc<Held>,
}

struct Held {
    leases: Arc<Leases>,
    digests: Mutex<HashSet<Digest>>,
}

/// How often each digest is held.
#[derive(Default)]
pub(crate) struct Leases {
    counts: Mutex<HashMap<Digest, usize>>,
}

impl Leases {
    /// Everything that is held by some lease.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        locked(&self.counts).keys().cloned().collect()
    }
}

impl Lease {
    /// Keeps `digest` from now on, whether it is there yet or not.
    ///
    /// For content that must be there, use [`Store::hold`]: only that is safe against a collection
    /// under way.
    pub fn add(&self, digest: &Digest) {
        let mut digests = locked(&self.held.digests);
        if digests.insert(digest.clone()) {
            *locked(&self.held.leases.counts)
                .entry(digest.clone())
                .or_insert(0) += 1;
        }
    }

    /// What it keeps.
    pub fn digests(&self) -> Vec<Digest> {
        locked(&self.held.digests).iter().cloned().collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = locked(&self.leases.counts);
        for digest in locked(&self.digests).drain() {
            if let Some(count) = counts.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&digest);
                }
            }
        }
    }
}

impl Store {
    /// A lease that keeps nothing yet.
    pub fn lease(&self) -> Lease {
        let held = Held {
            leases: Arc::clone(&self.inner.leases),
            digests: Mutex::default(),
        };
        Lease {
            held: Arc::new(held),
        }
    }

    /// The content of `digest` if it is there, kept by `lease` from then on.
    pub fn hold(&self, lease: &Lease, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        let _growing = self.inner.growing();
        let blob = self.blob(digest)?;
        if blob.is_some() {
            lease.add(digest);
        }
        Ok(blob)
    }
}
