//! Files that hold a file system, mounted on this host by way of loop devices (loop(4)).
//!
//! # What it owns
//! - [`mount`]: a file's file system at a directory, by the loop device that the file has, or a new one.
//! - [`is_mounted`], [`unmount`], and [`check`]: whether there are loop devices here at all.
//!
//! # What it must not know
//! What the files are for, and who uses what is mounted. It is synchronous: callers bring their own thread.
//!
//! # Invariants
//! - A file is behind one loop device, however often it is mounted: two would be two caches of the same
//!   blocks, and would destroy what is in them. Mounts by one device are one file system to the kernel.
//!   Callers mount a file one after the other.
//! - A device goes by itself with the last that uses it (`LO_FLAGS_AUTOCLEAR`): a mount, in whatever
//!   namespace, or a descriptor. Whoever dies on the way leaves none behind.
//! - What is on the disk is trusted, as all that the kernel mounts: only files that nobody but the kernel
//!   writes to are to be mounted.

#![deny(unsafe_code)]

mod device;
mod error;
mod place;
#[allow(unsafe_code)]
mod sys;

pub use device::check;
pub use error::{Error, Result};
pub use place::{is_mounted, mount, unmount};
