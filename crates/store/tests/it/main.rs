//! The store from outside, one directory for each test.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod blobs;
mod common;
mod crash;
mod gc;
mod images;
mod import;
mod load;
mod remove;
mod save;
