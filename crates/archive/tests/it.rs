//! Archives in and out of real directories. The tests that need root say so when they skip.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "it/common.rs"]
mod common;
#[path = "it/copy.rs"]
mod copy;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/layers.rs"]
mod layers;
#[path = "it/lowers.rs"]
mod lowers;
#[path = "it/reader.rs"]
mod reader;
#[path = "it/sparse.rs"]
mod sparse;
#[path = "it/write.rs"]
mod write;
