//! Images from a root file system's tar (`docker import`), and single layers.

use std::io;
use std::io::Read;

use coracle_archive::Compression;
use coracle_archive::Decompressor;
use coracle_archive::Limits;
use coracle_archive::TarReader;
use coracle_oci::ContainerConfig;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Digester;
use coracle_oci::History;
use coracle_oci::Platform;
use coracle_oci::Reference;
use coracle_oci::media;

use crate::ArchiveError;
use crate::Ingest;
use crate::Lease;
use crate::NewImage;
use crate::Store;
use crate::StoreError;
use crate::images::set::Replaced;
use crate::stream::Hashing;
use crate::stream::Source;
use crate::stream::Storing;
use crate::stream::blame;

/// What an imported image is to be.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// How containers of it start.
    pub config: ContainerConfig,
    /// Its comment; Docker's is `Imported from -` when the user gives none.
    pub message: String,
    /// What it runs on; the host's if not set.
    pub platform: Option<Platform>,
}

impl Store {
    /// Makes an image with one layer of a tar stream, which may be compressed with gzip or zstd.
    /// The layer is stored as it comes.
    ///
    /// # Errors
    /// [`StoreError::Archive`] if it is no tar; [`StoreError::Stream`] if `tar` fails. Nothing is
    /// left then.
    pub fn import(
        &self,
        tar: impl Read,
        import: Import,
        reference: Option<&Reference>,
    ) -> Result<Replaced, StoreError> {
        let lease = self.lease();
        let layer = self.put_layer(&lease, tar)?;
        let comment = Some(import.message).filter(|message| !message.is_empty());
        let new = NewImage {
            container: None,
            parent: None,
            layer: Some(layer),
            config: import.config,
            history: History {
                comment,
                ..History::default()
            },
            platform: import.platform,
        };
        self.commit_image(new, reference)
    }

    /// Stores a layer as it comes, plain or compressed with gzip or zstd, kept by `lease`. Returns
    /// its descriptor and the digest of its uncompressed tar.
    ///
    /// # Errors
    /// As [`Store::import`].
    pub fn put_layer(
        &self,
        lease: &Lease,
        tar: impl Read,
    ) -> Result<(Descriptor, Digest), StoreError> {
        let mut ingest = self.ingest(lease, None)?;
        let mut source = Source::new(tar);
        let (compression, diff_id) = store_layer(&mut source, &mut ingest)?;
        if source.bytes == 0 {
            return Err(ArchiveError::Empty.into());
        }
        let mut descriptor = ingest.commit()?;
        descriptor.media_type = match compression {
            Compression::None => media::OCI_LAYER,
            Compression::Gzip => media::OCI_LAYER_GZIP,
            Compression::Zstd => media::OCI_LAYER_ZSTD,
        }
        .into();
        Ok((descriptor, diff_id))
    }
}

/// Reads a layer to its end: what comes is stored, what it unpacks to is checked and hashed.
fn store_layer(
    source: &mut Source<impl Read>,
    ingest: &mut Ingest,
) -> Result<(Compression, Digest), StoreError> {
    let mut storing = Storing {
        inner: &mut *source,
        ingest,
        failure: None,
    };
    let result = walk(&mut storing);
    if let Some(error) = storing.failure {
        return Err(error);
    }
    let (compression, digester) =
        result.map_err(|error| blame(source.failure.take(), error, "reading the layer"))?;
    Ok((compression, digester.finish()))
}

fn walk(mut stored: impl Read) -> Result<(Compression, Digester), coracle_archive::Error> {
    let decompressor = Decompressor::new(&mut stored)?;
    let compression = decompressor.compression();
    let mut hashing = Hashing {
        inner: decompressor,
        digester: Digester::sha256(),
    };
    let limits = Limits::default();
    let most = limits.max_bytes;
    let mut reader = TarReader::new(&mut hashing, limits);
    while reader.next_entry()?.is_some() {}
    // Writers pad archives, with zeros as a rule; a digest is of everything.
    let rest = most.saturating_sub(hashing.digester.bytes());
    let drained = io::copy(&mut (&mut hashing).take(rest), &mut io::sink())
        .map_err(coracle_archive::Error::Read)?;
    if drained == rest {
        let limit = coracle_archive::Limit::Bytes;
        return Err(coracle_archive::Error::LimitExceeded { limit, max: most });
    }
    let digester = hashing.digester;
    drop(hashing.inner);
    io::copy(&mut stored, &mut io::sink()).map_err(coracle_archive::Error::Read)?;
    Ok((compression, digester))
}
