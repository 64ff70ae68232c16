//! The API over a stub runtime, driven by raw requests and by the real docker CLI.
#![allow(clippy::unwrap_used)]

mod cli;
mod containers;
mod content;
mod harness;
mod images;
mod kernels;
mod native;
mod noise;
mod server;
mod streams;
mod stub;
mod system;
