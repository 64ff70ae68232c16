//! The store from outside, one directory for each test.
#![allow(clippy::unwrap_used)]

mod blobs;
mod common;
mod gc;
mod images;
mod remove;
