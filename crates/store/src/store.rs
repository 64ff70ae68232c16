//! The store's directory, and what its parts share.

use std::fs::DirBuilder;
use std::fs::OpenOptions;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::StoreError;
use crate::files;
use crate::files::LockedFile;
use crate::image::Cache;
use crate::images::Images;
use crate::ingest;
use crate::lease::Leases;

const LAYOUT_FILE: &str = "oci-layout";
const LAYOUT_VERSION: &str = "1.0.0";

/// How often, and how long apart, a locked store is tried.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The content of `oci-layout` (image-spec, image-layout.md).
#[derive(Serialize, Deserialize)]
struct Layout {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

/// A content store and its image index. Clones share one.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) images: Images,
    pub(crate) leases: Arc<Leases>,
    pub(crate) cache: Mutex<Cache>,
    /// Read-held while content becomes visible or gains a root, write-held by the collector between
    /// marking and sweeping.
    collecting: RwLock<()>,
    stages: AtomicU64,
    /// Locked for as long as the store is open.
    _lock: LockedFile,
}

impl Store {
    /// Opens the store in `root`, which is made if there is none, and clears away what a crash left.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it open, [`StoreError::Layout`] if it was made
    /// by something else.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root: PathBuf = root.into();
        make_dir(&root)?;
        let lock = lock(&root)?;
        check_layout(&root)?;
        for dir in ["blobs", "blobs/sha256", "ingest"] {
            make_dir(&root.join(dir))?;
        }
        ingest::clear_stages(&root.join("ingest"))?;
        let images = Images::open(&root)?;
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                images,
                leases: Arc::default(),
                cache: Mutex::default(),
                collecting: RwLock::default(),
                stages: AtomicU64::new(0),
                _lock: lock,
            }),
        })
    }

    /// The directory it is in.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }
}

impl Inner {
    pub(crate) fn ingest_dir(&self) -> PathBuf {
        self.root.join("ingest")
    }

    /// A name in `ingest/` that nobody has, and that the next open removes.
    pub(crate) fn stage_path(&self) -> PathBuf {
        let number = self.stages.fetch_add(1, Ordering::Relaxed);
        self.ingest_dir()
            .join(format!("new-{}-{number}", std::process::id()))
    }

    /// Keeps the collector out.
    pub(crate) fn growing(&self) -> RwLockReadGuard<'_, ()> {
        self.collecting
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps everybody else out.
    pub(crate) fn collecting(&self) -> RwLockWriteGuard<'_, ()> {
        self.collecting
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks a mutex; a panic of another holder can't have left these values half changed.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::io("creating directory", path))
}

fn lock(root: &Path) -> Result<LockedFile, StoreError> {
    let path = root.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(StoreError::io("opening", &path))?;
    // A daemon that was killed may have left a child on its way to `exec`, with a copy of the
    // descriptor for some milliseconds more.
    for _ in 0..LOCK_TRIES {
        let copy = file.try_clone().map_err(StoreError::io("opening", &path))?;
        if let Some(lock) = LockedFile::try_lock(copy).map_err(StoreError::io("locking", &path))? {
            return Ok(lock);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(StoreError::Locked(root.to_owned()))
}

fn check_layout(root: &Path) -> Result<(), StoreError> {
    let path = root.join(LAYOUT_FILE);
    let bytes = files::read(&path, 4096).map_err(StoreError::io("reading", &path))?;
    let Some(bytes) = bytes else {
        return files::replace(root, LAYOUT_FILE, layout().as_bytes());
    };
    match serde_json::from_slice::<Layout>(&bytes) {
        Ok(layout) if layout.version == LAYOUT_VERSION => Ok(()),
        Ok(layout) => {
            let reason = format!(
                "layout version {:?}, expected {LAYOUT_VERSION:?}",
                layout.version
            );
            Err(StoreError::Layout(root.to_owned(), reason))
        }
        Err(error) => Err(StoreError::Layout(
            root.to_owned(),
            format!("{LAYOUT_FILE}: {error}"),
        )),
    }
}

/// The content of `oci-layout`.
pub(crate) fn layout() -> String {
    format!(r#"{{"imageLayoutVersion":"{LAYOUT_VERSION}"}}"#)
}
