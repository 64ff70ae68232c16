//! Container root file systems: one directory per layer, overlays over them, and what changed.
//!
//! # What it owns
//! - [`Snapshots`]: a directory with every unpacked layer, by chain id, and every container's
//!   writable directories.
//! - [`mount_detached`]: a container's overlay as a descriptor that is attached nowhere, for
//!   copying, exporting and comparing while the container isn't running.
//! - [`changes`], [`diff_tar`], [`diff_gzip`]: `docker diff` and `docker commit`.
//!
//! # What it must not know
//! Registries, blobs and images: it is given streams and digests. Containers' configuration and
//! processes: the running container's overlay is mounted by the launcher, in the container's own
//! mount namespace, from what [`ContainerFs`] says.
//!
//! # On disk
//! ```text
//! <root>/lock                       held by the one process that uses the root
//! <root>/layers/sha256-<chain id>/
//!     fs/                           the layer's files, with overlayfs's whiteouts
//!     layer.json                    a Layer
//!     pending                       what is still to be taken from the layers below, if anything
//!     unsynced                      the boot during which it was unpacked, until it is on disk
//!     init/                         mount points for containers, made for the first of them
//! <root>/l/<name>                   short links to fs and init, for mount options
//! <root>/containers/<id>/{layer,upper/,work/}
//! <root>/scratch/                   the mount points for images without layers
//! <root>/ingest/, <root>/trash/     what a crash leaves is removed by the next open
//! ```
//!
//! # Invariants
//! - A layer in `layers/` is complete, and its uncompressed stream had the diff id that it claims:
//!   it is unpacked in `ingest/` and renamed.
//! - Layers don't survive a power failure that came before they were on disk: instead of waiting
//!   for the disk, [`Snapshots::prepare_layer`] marks them, and [`Snapshots::open`] drops marked
//!   layers of another boot. They are unpacked again from their blobs.
//! - Layers are unpacked in any order, side by side. What one takes from those below it (hard
//!   links, attributes of directories that it doesn't describe) is settled when they are there, at
//!   the latest by [`Snapshots::create_container`].
//! - Nothing is ever removed in place: it is renamed into `trash/` and deleted by a thread.
//! - No mount outlives the descriptor that stands for it.
//!
//! # Rootless
//! The process is root of a user namespace: [`Options::rootless`] unpacks without device nodes, marks
//! opaque directories with `user.overlay.opaque`, and mounts with `userxattr` (Linux 5.11).
//!
//! All functions block; async callers use `spawn_blocking`.

#![deny(unsafe_code)]

mod changes;
mod container;
mod diff;
mod error;
mod ingest;
mod init;
mod layers;
mod legacy;
mod overlay;
mod pending;
mod sync;
mod trash;
mod usage;
mod worker;

pub use changes::{Change, ChangeKind, changes};
pub use container::ContainerFs;
pub use diff::{Diff, diff_gzip, diff_tar};
pub use error::{Error, Result};
pub use init::{MOUNT_POINTS, MountPoint};
pub use layers::{Layer, Options, Snapshots};
pub use overlay::{mount_detached, overlay_options};
pub use usage::Usage;
