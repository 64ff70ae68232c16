//! Directories and files of the host, shared with a guest as FUSE over a byte stream.
//!
//! The guest's kernel asks (`/dev/fuse`), the guest's agent carries (feature `relay`: [`mount`],
//! [`relay`]), the host answers from a directory or a file of its own (feature `serve`:
//! [`serve`]). The protocol is the kernel's own, version 7.31 or later (`linux/fuse.h`); host and
//! guest have the same architecture. A message says its own length, so that the stream needs no
//! framing of its own.
//!
//! This crate knows nothing of machines, containers, or where the stream comes from.
//!
//! Invariants:
//! - Whatever the guest sends is hostile: every length, number, name and id is checked; memory,
//!   descriptors, threads and waiting requests are bounded; a broken stream ends the server.
//! - The server never leaves its source: names are single components, no symbolic link of the
//!   host is followed, only regular files and directories are opened.
//! - The guest's kernel decides who may do what (`default_permissions`); the server has what is
//!   made owned as the guest says, and refuses every change of a read-only share itself.

#![deny(unsafe_code)]

#[cfg(any(feature = "relay", feature = "serve"))]
mod abi;
#[cfg(feature = "relay")]
mod device;
#[cfg(feature = "relay")]
mod mount;
#[cfg(feature = "relay")]
mod relay;
#[cfg(feature = "serve")]
mod serve;

#[cfg(feature = "relay")]
pub use mount::{Fuse, mount};
#[cfg(feature = "relay")]
pub use relay::relay;
#[cfg(feature = "serve")]
pub use serve::{ServeOptions, serve};
