//! Layers and containers on a real overlayfs. The tests that need root say so when they skip.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "it/changes.rs"]
mod changes;
#[path = "it/common.rs"]
mod common;
#[path = "it/containers.rs"]
mod containers;
#[path = "it/diff.rs"]
mod diff;
#[path = "it/kill.rs"]
mod kill;
#[path = "it/layers.rs"]
mod layers;
#[path = "it/overlay.rs"]
mod overlay;
#[path = "it/rootless.rs"]
mod rootless;
