//! Streams that tell what went by.

use std::io;
use std::io::Read;

use coracle_oci::Digester;

use crate::ArchiveError;
use crate::Ingest;
use crate::StoreError;

/// Remembers a failure of the caller's stream, which would else look like a damaged archive.
pub(crate) struct Source<R> {
    inner: R,
    pub(crate) failure: Option<io::Error>,
    pub(crate) bytes: u64,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            failure: None,
            bytes: 0,
        }
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.bytes += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// Writes to an ingest what is read.
pub(crate) struct Storing<'a, R> {
    pub(crate) inner: R,
    pub(crate) ingest: &'a mut Ingest,
    pub(crate) failure: Option<StoreError>,
}

impl<R: Read> Read for Storing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Err(error) = self.ingest.write(buffer.get(..count).unwrap_or_default()) {
            self.failure = Some(error);
            return Err(io::Error::other("the store failed"));
        }
        Ok(count)
    }
}

/// Hashes what is read.
pub(crate) struct Hashing<R> {
    pub(crate) inner: R,
    pub(crate) digester: Digester,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digester
            .update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Says why reading an archive failed: by the stream, else by the archive.
pub(crate) fn blame(
    failure: Option<io::Error>,
    error: coracle_archive::Error,
    action: &'static str,
) -> StoreError {
    match failure {
        Some(source) => StoreError::Stream { action, source },
        None => ArchiveError::Tar(error).into(),
    }
}
