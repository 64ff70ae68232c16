//! Reading content by digest.

use std::fs::File;
use std::path::PathBuf;

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Document;
use coracle_oci::limits;

use crate::Lease;
use crate::Store;
use crate::StoreError;
use crate::files;

/// Content that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The file it is in. It must not be changed.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

impl Store {
    /// Where the content of `digest` is, or would be.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.inner.root.join("blobs");
        path.push(digest.algorithm().as_str());
        path.push(digest.hex());
        path
    }

    /// The content of `digest`, if it is there.
    ///
    /// Without a lease or an image that keeps it, it may be collected at any time.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        let path = self.blob_path(digest);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(Blob {
                path,
                size: metadata.len(),
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("inspecting", path)(error)),
        }
    }

    /// Opens the content of `digest` for reading. It can be read to its end even if it is collected
    /// meanwhile.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(StoreError::NoSuchBlob(digest.clone()))
            }
            Err(error) => Err(StoreError::io("opening", path)(error)),
        }
    }

    /// Reads the content of `digest` if it has at most `limit` bytes, and checks it again.
    pub fn read_small(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, StoreError> {
        let blob = self
            .blob(digest)?
            .ok_or_else(|| StoreError::NoSuchBlob(digest.clone()))?;
        let limit = limit as u64;
        if blob.size > limit {
            return Err(StoreError::TooLarge {
                digest: digest.clone(),
                size: blob.size,
                limit,
            });
        }
        let bytes = files::read(&blob.path, limit)
            .map_err(StoreError::io("reading", &blob.path))?
            .ok_or_else(|| StoreError::NoSuchBlob(digest.clone()))?;
        if !digest.verify(&bytes) {
            return Err(StoreError::Damaged(digest.clone()));
        }
        Ok(bytes)
    }

    /// Puts `bytes` into the store, kept by `lease`.
    pub fn put_bytes(
        &self,
        lease: &Lease,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Descriptor, StoreError> {
        let descriptor = Descriptor::of(media_type, bytes);
        if self.hold(lease, &descriptor.digest)?.is_none() {
            let mut ingest = self.ingest(lease, Some(&descriptor))?;
            ingest.write(bytes)?;
            ingest.commit()?;
        }
        Ok(descriptor)
    }

    /// Reads the manifest or index that `descriptor` names.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Document, StoreError> {
        let bytes = self.read_small(&descriptor.digest, limits::MANIFEST_BYTES)?;
        Document::parse(&bytes, Some(&descriptor.media_type)).map_err(|source| {
            StoreError::Document {
                digest: descriptor.digest.clone(),
                source,
            }
        })
    }
}
