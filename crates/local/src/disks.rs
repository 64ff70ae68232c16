//! Disks of virtual machines: an image's root, made once and shared, and writable layers.
//!
//! ```text
//! <data-root>/disks/<chain id>.erofs      a root image, named as the topmost of its layers
//! <data-root>/disks/<chain id>.unsynced   the boot during which it was made, until it is on disk
//! <data-root>/disks/.<anything>           what is being made; of no use after a crash
//! ```
//! Nobody waits for the disk: as with unpacked layers, an image that isn't known to have reached it
//! is dropped when another boot finds it, and made again.

mod points;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coracle_disk::{ErofsOptions, Ext4Options, LayerReader, format_ext4, write_erofs};
use coracle_oci::Digest;
use coracle_runtime::{Result, RuntimeError};
use coracle_store::{Image, Store};

use crate::container::files::blocking;
use crate::{ident, images};

pub(crate) use points::tar as points;

const IMAGE: &str = "erofs";
const UNSYNCED: &str = "unsynced";
/// What a writable disk had free when it was made, in bytes.
const FREE: &str = "free";

/// The name of the image without any layers.
pub(crate) const EMPTY: &str = "empty";

/// The images' disks.
pub(crate) struct Disks {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    store: Store,
    /// Names this boot of the machine.
    boot: String,
    next: AtomicU64,
    /// Held by who makes an image, by its name.
    busy: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Stops the work of a future that was dropped.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Disks {
    /// Opens or creates the directory; removes what a crash left.
    pub(crate) fn open(data_root: &Path, store: Store) -> Result<Self> {
        let inner = Inner {
            root: data_root.join("disks"),
            store,
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .map_err(|error| failed("read the boot's id", &error))?,
            next: AtomicU64::new(0),
            busy: Mutex::default(),
        };
        inner
            .clear()
            .map_err(|error| failed("open the disks", &error))?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The disk of the image with this topmost layer, if it is there.
    pub(crate) fn find(&self, chain_id: Option<&Digest>) -> Option<PathBuf> {
        let path = self.inner.path(&name(chain_id), IMAGE);
        path.exists().then_some(path)
    }

    /// The disk of an image's layers, made if it isn't there. Whoever asks meanwhile waits for the
    /// same one; where all of them are gone the work is stopped.
    pub(crate) async fn root_image(&self, image: &Image) -> Result<PathBuf> {
        let name = name(image.chain_id().as_ref());
        let path = self.inner.path(&name, IMAGE);
        if path.exists() {
            return Ok(path);
        }
        let turn = Arc::clone(lock(&self.inner.busy).entry(name.clone()).or_default());
        let result = {
            let _turn = turn.lock().await;
            self.make(image, &name, &path).await
        };
        // Whoever waits has the same lock; only the last one of them takes it away.
        let mut busy = lock(&self.inner.busy);
        drop(turn);
        if busy
            .get(&name)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            busy.remove(&name);
        }
        result.map(|()| path)
    }

    async fn make(&self, image: &Image, name: &str, path: &Path) -> Result<()> {
        let cancel = Cancel(Arc::default());
        let cancelled = Arc::clone(&cancel.0);
        let inner = Arc::clone(&self.inner);
        let (image, name, path) = (image.clone(), name.to_owned(), path.to_owned());
        let work = move || {
            if path.exists() {
                return Ok(());
            }
            inner.write(&image, &name, &path, &cancelled)
        };
        let made = blocking(work).await;
        drop(cancel);
        made
    }

    /// Removes the disk whose topmost layer is gone; the bytes that it took. Machines that have it
    /// open keep it until they end.
    pub(crate) fn remove(&self, chain_id: &Digest) -> u64 {
        self.inner.remove(&name(Some(chain_id)))
    }

    /// Removes all disks but those of these topmost layers, and that of no layer.
    pub(crate) fn retain(&self, wanted: &dyn Fn(&str) -> bool) {
        for (name, _) in self.inner.list() {
            if name != EMPTY && !wanted(&name.replacen('-', ":", 1)) {
                self.inner.remove(&name);
            }
        }
    }

    /// All disks of images, by the digest of their topmost layer, and their bytes.
    pub(crate) fn all(&self) -> Vec<(String, u64)> {
        let mut all = self.inner.list();
        for (name, _) in &mut all {
            *name = name.replacen('-', ":", 1);
        }
        all.sort();
        all
    }

    /// The bytes of all disks of images.
    pub(crate) fn usage(&self) -> u64 {
        self.inner.list().into_iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Inner {
    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.root.join(format!("{name}.{extension}"))
    }

    /// Removes what is half made, and what another boot didn't get to disk.
    fn clear(&self) -> io::Result<()> {
        crate::durable::private_dir(&self.root)?;
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if stem.starts_with('.') {
                fs::remove_file(&path)?;
            } else if path.extension().is_some_and(|kind| kind == UNSYNCED) {
                if fs::read_to_string(&path)? == self.boot && self.path(&stem, IMAGE).exists() {
                    self.synchronise(&stem);
                } else {
                    tracing::warn!(path = %path.display(), "dropping a disk that the last boot didn't finish");
                    // First what may be damaged, then what says so.
                    remove(&self.path(&stem, IMAGE))?;
                    remove(&path)?;
                }
            }
        }
        Ok(())
    }

    fn write(
        self: &Arc<Self>,
        image: &Image,
        name: &str,
        path: &Path,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<()> {
        let layers = image.layers();
        let lease = self.store.lease();
        for layer in &layers {
            let digest = &layer.descriptor.digest;
            let held = self.store.hold(&lease, digest).map_err(images::error)?;
            if held.is_none() {
                let missing = coracle_store::StoreError::NoSuchBlob(digest.clone());
                return Err(images::error(missing));
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let stage = self.root.join(format!(".{name}.{number}"));
        let points = points::tar().map_err(|error| failed("describe the mount points", &error))?;
        let mut open = |index: usize| -> io::Result<LayerReader<'_>> {
            if index == layers.len() {
                return Ok(Box::new(points.as_slice()));
            }
            let layer = layers.get(index).ok_or(io::ErrorKind::NotFound)?;
            let blob = self.store.open_blob(&layer.descriptor.digest);
            let blob = blob.map_err(io::Error::other)?;
            let cancelled = Arc::clone(cancelled);
            let stream = stream::Stream::open(blob, &layer.diff_id, cancelled)?;
            Ok(Box::new(stream))
        };
        let options = ErofsOptions {
            uuid: uuid(image.chain_id().as_ref()),
            ..ErofsOptions::default()
        };
        let written = File::create(&stage)
            .map_err(|error| failed("create a disk", &error))
            .and_then(|file| {
                write_erofs(&file, layers.len() + 1, &mut open, &options).map_err(|e| error(&e))
            })
            .and_then(|_| {
                fs::write(self.path(name, UNSYNCED), &self.boot)
                    .and_then(|()| fs::rename(&stage, path))
                    .map_err(|error| failed("keep a disk", &error))
            });
        if written.is_err() {
            // The first error counts; the next start removes what is left.
            let _ = fs::remove_file(&stage);
        } else {
            self.synchronise(name);
        }
        written
    }

    /// Has an image written to disk in the background.
    fn synchronise(&self, name: &str) {
        let (image, marker) = (self.path(name, IMAGE), self.path(name, UNSYNCED));
        let root = self.root.clone();
        let work = move || {
            let done = File::open(&image)
                .and_then(|file| file.sync_all())
                .and_then(|()| File::open(root)?.sync_all());
            match done {
                Ok(()) => {
                    let _ = fs::remove_file(marker);
                }
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "cannot write a disk's image to disk"),
            }
        };
        // Without the thread the image counts as unfinished, no more.
        if let Err(error) = std::thread::Builder::new()
            .name("disk-sync".into())
            .spawn(work)
        {
            tracing::warn!(%error, "cannot write a disk's image to disk");
        }
    }

    /// Names and bytes of all images.
    fn list(&self) -> Vec<(String, u64)> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                let name = name.strip_suffix(".erofs")?;
                let bytes = entry.metadata().ok()?.len();
                (!name.starts_with('.')).then(|| (name.to_owned(), bytes))
            })
            .collect()
    }

    fn remove(&self, name: &str) -> u64 {
        let path = self.path(name, IMAGE);
        let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
        if let Err(error) = remove(&path).and_then(|()| remove(&self.path(name, UNSYNCED))) {
            tracing::warn!(path = %path.display(), %error, "cannot remove a disk's image");
            return 0;
        }
        bytes
    }
}

/// Bytes that are used of a writable disk beyond what it had when it was made, as its file system
/// says: while a machine has it mounted, as of before.
pub(crate) fn layer_usage(path: &Path) -> u64 {
    let free = |path: &Path| coracle_disk::free_bytes(&File::open(path)?);
    let unused = fs::read_to_string(path.with_extension(FREE));
    let unused = unused.ok().and_then(|text| text.trim().parse::<u64>().ok());
    match (unused, free(path)) {
        (Some(unused), Ok(free)) => unused.saturating_sub(free),
        _ => 0,
    }
}

/// Makes a container's writable disk, unless it is there: an empty ext4 of `bytes` in a sparse
/// file. It reaches the disk in its own time.
pub(crate) async fn new_layer(path: &Path, bytes: u64) -> Result<()> {
    let path = path.to_owned();
    blocking(move || {
        if path.exists() {
            return Ok(());
        }
        let options = Ext4Options {
            uuid: random_uuid(),
            ..Ext4Options::default()
        };
        let stage = path.with_extension("stage");
        let made = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&stage)
            .map_err(|error| failed("create the writable layer", &error))
            .and_then(|file| {
                format_ext4(&file, bytes, &options).map_err(|e| error(&e))?;
                let free = coracle_disk::free_bytes(&file);
                free.map_err(|error| failed("read the writable layer", &error))
            })
            .and_then(|free| {
                fs::write(path.with_extension(FREE), free.to_string())
                    .map_err(|error| failed("describe the writable layer", &error))?;
                fs::rename(&stage, &path).map_err(|error| failed("keep the writable layer", &error))
            });
        if made.is_err() {
            // The first error counts.
            let _ = fs::remove_file(&stage);
        }
        made
    })
    .await
}

/// An image's name among the files.
fn name(chain_id: Option<&Digest>) -> String {
    chain_id.map_or_else(
        || EMPTY.to_owned(),
        |id| format!("{}-{}", id.algorithm().as_str(), id.hex()),
    )
}

/// The same for the same layers (RFC 9562, version 8).
fn uuid(chain_id: Option<&Digest>) -> [u8; 16] {
    hex_uuid(chain_id.map_or("", Digest::hex), 0x80)
}

/// Another each time (RFC 9562, version 4).
fn random_uuid() -> [u8; 16] {
    hex_uuid(&ident::new_id(), 0x40)
}

fn hex_uuid(hex: &str, version: u8) -> [u8; 16] {
    let mut uuid = [0; 16];
    for (n, byte) in uuid.iter_mut().enumerate() {
        let digits = hex.get(2 * n..2 * n + 2).unwrap_or("0");
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    uuid[6] = uuid[6] & 0x0f | version;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// Removes a file; none there is no error.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> RuntimeError {
    RuntimeError::Internal(format!("cannot {what}: {error}"))
}

/// What a disk's error means to the user.
fn error(error: &coracle_disk::Error) -> RuntimeError {
    use coracle_disk::Error;
    let text = format!("cannot make a disk: {error}");
    match error {
        Error::Open { .. } | Error::Write(_) | Error::Changed { .. } => {
            RuntimeError::Internal(text)
        }
        _ => RuntimeError::InvalidArgument(text),
    }
}
