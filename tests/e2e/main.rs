//! End-to-end tests, a module for each family of commands.

// Clippy's leave for tests ends at their helpers.
#![allow(clippy::unwrap_used)]

mod api;
mod arguments;
mod attach;
mod bridge;
mod cli;
mod compose;
mod cp;
mod crash;
mod daemon;
mod events;
mod exec;
mod health;
mod host_names;
mod hostile;
mod images;
mod inspect;
mod lifecycle;
mod links;
mod logs;
mod names;
mod network;
mod odd;
mod ps;
mod registry;
mod restart;
mod rootless;
mod run;
mod run_limits;
mod run_mounts;
mod run_security;
mod secrets;
mod sharing;
mod sockets;
mod system;
mod tls;
mod tree;
mod vm;
mod volume_options;
mod volume_sizes;
mod volumes;
