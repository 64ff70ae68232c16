//! The content store: blobs by digest, image names, leases, garbage collection, save and load.
//!
//! # What it owns
//! One directory, for one process at a time:
//!
//! ```text
//! oci-layout             the mark of an OCI image layout
//! blobs/sha256/<hex>     content: layers, configurations, manifests, indexes
//! ingest/                content on its way in
//! images.json            the image index: names, and what they stand for
//! lock                   held while the store is open
//! ```
//!
//! # What it must not know
//! Registries, containers, snapshots, mounts. Who uses an image is told to it by closures.
//!
//! # Invariants
//! - A blob is visible only after its digest and size were checked, and after it is on disk:
//!   write, fsync, rename, fsync of the directory. A crash leaves files in `ingest/` and nothing
//!   else; the next [`Store::open`] removes them, but for downloads that can be resumed.
//! - `images.json` is replaced atomically before a change is visible. If it can't be read it is set
//!   aside, and nothing is collected until somebody has looked at it.
//! - [`Store::gc`] removes what no image, no [`Lease`] and no root of the caller's reaches. All
//!   content comes in under a lease, so that work in flight is safe from it.
//!
//! # Blocking
//! Everything here blocks on files: async callers run it on blocking threads. All types can be
//! shared among threads; no lock is held while a caller's reader or writer is served.
#![forbid(unsafe_code)]

mod blobs;
mod commit;
mod error;
mod files;
mod gc;
mod image;
mod images;
mod import;
mod ingest;
mod lease;
mod load;
mod save;
mod store;
mod stream;
mod usage;

pub use blobs::Blob;
pub use commit::NewImage;
pub use coracle_catalog::User as ImageUse;
pub use error::ArchiveError;
pub use error::ErrorKind;
pub use error::StoreError;
pub use gc::Collected;
pub use image::Image;
pub use image::Layer;
pub use images::ImageId;
pub use images::Origin;
pub use images::remove::Removed;
pub use images::set::Replaced;
pub use import::Import;
pub use ingest::Ingest;
pub use lease::Lease;
pub use load::LoadProgress;
pub use load::Loaded;
pub use load::LoadedImage;
pub use store::Store;
pub use usage::ImageUsage;
pub use usage::Usage;
