//! Garbage collection: what nothing reaches is removed.
//!
//! Content becomes reachable in two ways only: it is committed or held under a lease, or it is named
//! by an image; both take the read side of one lock. The collector takes the write side from before
//! it marks until nothing that it will remove can be seen any more.

use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;

use coracle_oci::Algorithm;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Document;
use coracle_oci::limits;
use coracle_oci::media;

use crate::Store;
use crate::StoreError;
use crate::ingest;
use crate::store::locked;

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The blobs.
    pub digests: Vec<Digest>,
    /// Their bytes, and those of abandoned downloads.
    pub bytes: u64,
}

impl Store {
    /// Removes what no image, no lease and none of `roots` reaches. A root that is an image's id
    /// keeps that image; any other keeps the content with that digest, and what it points to.
    ///
    /// `roots` is called while new content waits, so it must be quick and must not use the store.
    ///
    /// # Errors
    /// [`StoreError::SetAside`] while an unreadable image index lies beside the store;
    /// [`StoreError::Damaged`] or [`StoreError::Document`] if it can't tell what an image needs.
    /// Nothing is removed then.
    pub fn gc(&self, roots: &dyn Fn() -> Vec<Digest>) -> Result<Collected, StoreError> {
        let mut removed = Vec::new();
        let mut collected = Collected::default();
        {
            let _collecting = self.inner.collecting();
            if let Some(path) = self.inner.images.set_aside()? {
                return Err(StoreError::SetAside(path));
            }
            let marked = self.mark(roots())?;
            for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
                let dir = self.inner.root.join("blobs").join(algorithm.as_str());
                for (digest, path, size) in list(&dir, algorithm)? {
                    if marked.contains(&digest) {
                        continue;
                    }
                    // Large files take long to remove: others need not wait for that.
                    let doomed = self.inner.stage_path();
                    std::fs::rename(&path, &doomed).map_err(StoreError::io("removing", &path))?;
                    removed.push(doomed);
                    collected.bytes += size;
                    collected.digests.push(digest);
                }
            }
            locked(&self.inner.cache).clear();
        }
        for path in removed {
            ingest::remove(&path)?;
        }
        collected.bytes += ingest::clear_partials(&self.inner.ingest_dir())?;
        Ok(collected)
    }

    /// Everything that is reachable.
    fn mark(&self, roots: Vec<Digest>) -> Result<HashSet<Digest>, StoreError> {
        let state = self.inner.images.state();
        let mut marked = HashSet::new();
        let mut queue: Vec<Descriptor> = state
            .images
            .values()
            .flat_map(|record| record.roots().cloned())
            .collect();
        for digest in roots.into_iter().chain(self.inner.leases.digests()) {
            match state.images.get(&digest) {
                Some(record) => queue.extend(record.roots().cloned()),
                None => queue.extend(self.sniff(&digest)?),
            }
            marked.insert(digest);
        }
        let mut walked = HashSet::new();
        while let Some(descriptor) = queue.pop() {
            marked.insert(descriptor.digest.clone());
            let kind = &descriptor.media_type;
            if !(media::is_index(kind) || media::is_manifest(kind))
                || !walked.insert(descriptor.digest.clone())
            {
                continue;
            }
            match self.document(&descriptor) {
                Ok(Document::Index(index)) => queue.extend(index.manifests),
                Ok(Document::Manifest(manifest)) => {
                    queue.extend(manifest.children().cloned());
                }
                // Other platforms of an index need not be there.
                Err(StoreError::NoSuchBlob(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(marked)
    }

    /// What a digest without a media type points to: it may be a manifest under a lease.
    fn sniff(&self, digest: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        match self.blob(digest)? {
            Some(blob) if blob.size <= limits::MANIFEST_BYTES as u64 => {}
            _ => return Ok(Vec::new()),
        }
        let bytes = self.read_small(digest, limits::MANIFEST_BYTES)?;
        Ok(match Document::parse(&bytes, None) {
            Ok(Document::Index(index)) => index.manifests,
            Ok(Document::Manifest(manifest)) => manifest.children().cloned().collect(),
            Err(_) => Vec::new(),
        })
    }
}

/// The blobs of a directory. What isn't named like one is left alone.
pub(crate) fn list(
    dir: &Path,
    algorithm: Algorithm,
) -> Result<Vec<(Digest, PathBuf, u64)>, StoreError> {
    let listing = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(StoreError::io("listing", dir))?,
    };
    let mut blobs = Vec::new();
    for entry in listing {
        let entry = entry.map_err(StoreError::io("listing", dir))?;
        let name = entry.file_name();
        let Ok(digest) = Digest::from_hex(algorithm, &name.to_string_lossy()) else {
            continue;
        };
        let path = entry.path();
        let size = entry
            .metadata()
            .map_err(StoreError::io("inspecting", &path))?
            .len();
        blobs.push((digest, path, size));
    }
    Ok(blobs)
}
