//! Content on its way in.
//!
//! ```text
//! ingest/new-<unique>          written once; dropped means removed
//! ingest/<algorithm>-<hex>     a download that can be resumed; dropped means kept
//! ```

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_oci::Algorithm;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Digester;
use coracle_oci::VerifyError;

use crate::Lease;
use crate::Store;
use crate::StoreError;
use crate::files;
use crate::files::LockedFile;
use crate::store::Inner;
use crate::store::make_dir;

/// How long an interrupted download is kept.
const PARTIAL_AGE: Duration = Duration::from_secs(24 * 3600);

/// Content being written. It becomes visible by [`commit`](Ingest::commit).
///
/// Dropped before that, it is removed, unless it came from [`Store::resume`] and has any bytes.
pub struct Ingest {
    stage: Stage,
    file: Output,
    expected: Option<Descriptor>,
    digester: Digester,
    lease: Lease,
}

/// The file that is written to.
enum Output {
    /// Nobody else knows its name.
    Own(File),
    /// A download that others may want to go on with.
    Resumable(LockedFile),
}

impl Output {
    fn file(&mut self) -> &mut File {
        match self {
            Self::Own(file) => file,
            Self::Resumable(locked) => locked.file(),
        }
    }

    fn resumable(&self) -> bool {
        matches!(self, Self::Resumable(_))
    }
}

/// A file in `ingest/`, removed on drop.
pub(crate) struct Stage {
    inner: Arc<Inner>,
    path: PathBuf,
    keep: bool,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keep {
            // What stays behind is removed by the next open.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Content that is complete and checked, but not visible yet; removed on drop.
pub(crate) struct Staged {
    stage: Stage,
    /// Keeps a resumable download locked until its file has left `ingest/`.
    _lock: Option<LockedFile>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    lease: Lease,
}

impl Store {
    /// Starts to write content that `lease` will keep. With `expected`, anything else is refused;
    /// without, it is addressed by SHA-256.
    pub fn ingest(
        &self,
        lease: &Lease,
        expected: Option<&Descriptor>,
    ) -> Result<Ingest, StoreError> {
        let path = self.inner.stage_path();
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(StoreError::io("creating", &path))?;
        let algorithm = expected.map_or(Algorithm::Sha256, |e| e.digest.algorithm());
        Ok(Ingest {
            stage: Stage {
                inner: Arc::clone(&self.inner),
                path,
                keep: false,
            },
            file: Output::Own(file),
            expected: expected.cloned(),
            digester: Digester::new(algorithm),
            lease: lease.clone(),
        })
    }

    /// Goes on with a download of `expected` where an earlier one stopped, or starts it: see
    /// [`Ingest::offset`].
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody else has it.
    pub fn resume(&self, lease: &Lease, expected: &Descriptor) -> Result<Ingest, StoreError> {
        let digest = &expected.digest;
        let name = format!("{}-{}", digest.algorithm(), digest.hex());
        let path = self.inner.ingest_dir().join(name);
        let file = lock_partial(&path, digest)?;
        let mut ingest = Ingest {
            stage: Stage {
                inner: Arc::clone(&self.inner),
                path,
                keep: false,
            },
            file: Output::Resumable(file),
            expected: Some(expected.clone()),
            digester: Digester::new(digest.algorithm()),
            lease: lease.clone(),
        };
        ingest.rehash()?;
        Ok(ingest)
    }
}

/// Opens and locks the file of a partial download.
fn lock_partial(path: &Path, digest: &Digest) -> Result<LockedFile, StoreError> {
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(StoreError::io("opening", path))?;
        let mut file = LockedFile::try_lock(file)
            .map_err(StoreError::io("locking", path))?
            .ok_or_else(|| StoreError::Busy(digest.clone()))?;
        // Who had the lock before may have moved the file into the store, or removed it.
        if is_at(file.file(), path).map_err(StoreError::io("inspecting", path))? {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let mine = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((mine.dev(), mine.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Ingest {
    /// How many bytes are there: where a resumed download goes on.
    pub fn offset(&self) -> u64 {
        self.digester.bytes()
    }

    /// Writes the next bytes. More than were announced are refused before they are written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if let Some(Descriptor { digest, size, .. }) = &self.expected
            && self.offset().saturating_add(bytes.len() as u64) > *size
        {
            self.stage.keep = false;
            let (digest, size) = (digest.clone(), *size);
            return Err(VerifyError::TooLong { digest, size }.into());
        }
        self.file
            .file()
            .write_all(bytes)
            .map_err(StoreError::io("writing", &self.stage.path))?;
        self.digester.update(bytes);
        self.stage.keep = self.file.resumable();
        Ok(())
    }

    /// Throws away what is there, for a server that can't send from the middle.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        let file = self.file.file();
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .map_err(StoreError::io("truncating", &self.stage.path))?;
        self.digester = Digester::new(self.algorithm());
        self.stage.keep = false;
        Ok(())
    }

    /// Checks the content and makes it visible, kept by the lease. If somebody else was faster,
    /// theirs stays.
    ///
    /// # Errors
    /// [`StoreError::Verify`]; a resumable download that is merely too short is kept.
    pub fn commit(self) -> Result<Descriptor, StoreError> {
        let expected = self.expected.clone();
        let staged = self.finish()?;
        let (digest, size) = (staged.digest.clone(), staged.size);
        staged.commit()?;
        Ok(expected.unwrap_or_else(|| Descriptor::new("application/octet-stream", digest, size)))
    }

    /// Checks the content.
    pub(crate) fn finish(mut self) -> Result<Staged, StoreError> {
        let size = self.offset();
        let fresh = Digester::new(self.algorithm());
        let digester = std::mem::replace(&mut self.digester, fresh);
        if let Some(expected) = &self.expected
            && size < expected.size
        {
            let digest = expected.digest.clone();
            self.stage.keep = self.file.resumable() && size > 0;
            return Err(VerifyError::TooShort {
                digest,
                size: expected.size,
                got: size,
            }
            .into());
        }
        // From here on the file is of no use if anything fails.
        self.stage.keep = false;
        let got = digester.finish();
        if let Some(expected) = &self.expected
            && got != expected.digest
        {
            return Err(VerifyError::Digest {
                digest: expected.digest.clone(),
                got,
            }
            .into());
        }
        let lock = match self.file {
            Output::Own(_) => None,
            Output::Resumable(locked) => Some(locked),
        };
        Ok(Staged {
            stage: self.stage,
            _lock: lock,
            digest: got,
            size,
            lease: self.lease,
        })
    }

    fn algorithm(&self) -> Algorithm {
        self.expected
            .as_ref()
            .map_or(Algorithm::Sha256, |e| e.digest.algorithm())
    }

    /// Takes in what an earlier download left.
    fn rehash(&mut self) -> Result<(), StoreError> {
        let limit = self.expected.as_ref().map_or(0, |e| e.size);
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = self
                .file
                .file()
                .read(&mut buffer)
                .map_err(StoreError::io("reading", &self.stage.path))?;
            if count == 0 {
                self.stage.keep = self.offset() > 0;
                return Ok(());
            }
            if self.offset() + count as u64 > limit {
                return self.restart();
            }
            self.digester
                .update(buffer.get(..count).unwrap_or_default());
        }
    }
}

impl Staged {
    /// Reads it if it has at most `limit` bytes.
    pub(crate) fn read_small(&self, limit: usize) -> Result<Vec<u8>, StoreError> {
        let (digest, limit) = (self.digest.clone(), limit as u64);
        if self.size > limit {
            return Err(StoreError::TooLarge {
                digest,
                size: self.size,
                limit,
            });
        }
        files::read(&self.stage.path, limit)
            .map_err(StoreError::io("reading", &self.stage.path))?
            .ok_or(StoreError::NoSuchBlob(digest))
    }

    /// Makes it visible.
    pub(crate) fn commit(mut self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.stage.inner);
        let dir = inner
            .root
            .join("blobs")
            .join(self.digest.algorithm().as_str());
        let path = dir.join(self.digest.hex());
        let stage = &self.stage.path;
        File::open(stage)
            .and_then(|file| file.sync_all())
            .map_err(StoreError::io("synchronising", stage))?;
        {
            let _growing = inner.growing();
            self.lease.add(&self.digest);
            if path.exists() {
                return Ok(());
            }
            if self.digest.algorithm() != Algorithm::Sha256 {
                make_dir(&dir)?;
            }
            std::fs::rename(stage, &path).map_err(StoreError::io("storing", &path))?;
            self.stage.keep = true;
        }
        files::sync_dir(&dir)
    }
}

/// Removes what a crash left in `ingest/`, but for downloads that can be resumed.
pub(crate) fn clear_stages(dir: &Path) -> Result<(), StoreError> {
    for_each_stage(dir, |path, name| {
        if partial_digest(name).is_none() {
            remove(path)?;
        }
        Ok(())
    })
}

/// Removes downloads that nobody has gone on with for a day. Returns the bytes freed.
pub(crate) fn clear_partials(dir: &Path) -> Result<u64, StoreError> {
    let mut freed = 0;
    for_each_stage(dir, |path, name| {
        if partial_digest(name).is_none() {
            return Ok(());
        }
        let Ok(file) = File::open(path) else {
            return Ok(());
        };
        let Ok(metadata) = file.metadata() else {
            return Ok(());
        };
        let old = metadata
            .modified()
            .is_ok_and(|at| at.elapsed().is_ok_and(|e| e > PARTIAL_AGE));
        if old && let Ok(Some(_lock)) = LockedFile::try_lock(file) {
            remove(path)?;
            freed += metadata.len();
        }
        Ok(())
    })?;
    Ok(freed)
}

fn for_each_stage(
    dir: &Path,
    mut each: impl FnMut(&Path, &str) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(dir).map_err(StoreError::io("listing", dir))? {
        let path = entry.map_err(StoreError::io("listing", dir))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        each(&path, &name)?;
    }
    Ok(())
}

fn partial_digest(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.split_once('-')?;
    Digest::from_hex(algorithm.parse().ok()?, hex).ok()
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}
