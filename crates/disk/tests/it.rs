//! The images against the kernel, the file systems' own tools, and the same layers unpacked.
//!
//! What mounts needs root, and says that it skips otherwise. Nothing is ever attached to a mount
//! namespace; loop devices go with their last descriptor.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "it/bounds.rs"]
mod bounds;
#[path = "it/common.rs"]
mod common;
#[path = "it/ext4.rs"]
mod ext4;
#[path = "it/fixtures.rs"]
mod fixtures;
#[path = "it/layers.rs"]
mod layers;
#[path = "it/mounts.rs"]
mod mounts;
#[path = "it/random.rs"]
mod random;
#[path = "it/scan.rs"]
mod scan;
#[path = "it/sparse.rs"]
mod sparse;
