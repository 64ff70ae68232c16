//! Tar archives in and out of a directory that they can never leave.
//!
//! # What it owns
//! - Reading tar streams ([`TarReader`]): v7, ustar, PAX and GNU headers, GNU and PAX sparse files,
//!   with a bound on everything that the stream declares about itself.
//! - [`apply_layer`]: an OCI layer into a directory that becomes an overlayfs lower layer.
//! - [`write_tree`] and [`TarWriter`]: a tree, or an overlay's upper directory, as a tar stream.
//! - [`copy`]: what the Docker API's archive routes do (stat, read, extract) inside a root.
//! - [`Decompressor`]: gzip and zstd recognised by their first bytes.
//! - [`remove_tree`] and [`Walker`]: going through trees that somebody else filled.
//!
//! # What it must not know
//! Images, digests, containers, mounts. It is synchronous: callers bring their own thread.
//!
//! # Invariants
//! - Every path is resolved beneath a directory descriptor, symbolic links as in a chroot to it
//!   (`openat2` with `RESOLVE_IN_ROOT`, or one component at a time without following). There is no
//!   moment at which a name from an archive is given to the kernel as a path from the process's
//!   own root, so a tree that changes meanwhile can't lead outside either.
//! - Archives are hostile: what doesn't parse, exceeds a [`Limits`] bound, or would leave the root
//!   is a typed [`Error`]. What was unpacked before the error stays, for the caller to discard:
//!   unpack into a directory that isn't in use yet.
//! - Nothing is synchronised to disk unless [`ApplyOptions::sync`] says so.

#![forbid(unsafe_code)]

mod apply;
pub mod copy;
mod decompress;
mod dump;
mod entry;
mod error;
mod header;
mod limits;
mod lower;
mod owner;
mod path;
mod pax;
mod place;
mod reader;
mod remove;
mod sparse;
mod tree;
mod walk;
mod write;
mod xattr;

pub use apply::{Applied, ApplyOptions, Lowers, Pending, apply_layer, settle};
pub use decompress::{Compression, Decompressor};
pub use dump::{WriteOptions, write_tree};
pub use entry::{Entry, Kind, Segment, Time};
pub use error::{Error, Limit, Result};
pub use limits::Limits;
pub use lower::{Found, LowerView, capability};
pub use owner::{IdMap, IdRange, Owners};
pub use path::{Resolved, open_dir_in_root, resolve_in_root};
pub use reader::TarReader;
pub use remove::remove_tree;
pub use walk::{Step, Walker};
pub use write::TarWriter;
pub use xattr::OverlayAttrs;
