//! Starts one process as the OCI runtime specification says.
//!
//! A container's first process ([`create`], then [`Created::start`]) and one that joins a running
//! container ([`exec`]) go through the same last steps, so that limits, users, capabilities and the
//! system call filter can't differ.
//!
//! # How
//! The caller runs itself again ([`run_if_helper`]), by `posix_spawn` and from a form of the
//! program that no container can write to. The helper, a process with one thread, joins and makes
//! namespaces and clones the container's process as its own sibling, then ends: so the process is
//! a child of the caller, who alone may wait for it. Job and answers go over a socket pair.
//!
//! # What it must not know
//! Images, networks, logs, Docker's API. Control groups are made, limited and removed by their
//! owner; the launcher only joins them.
//!
//! # Invariants
//! - What the specification asks for is done or refused by name; nothing is left out in silence.
//!   What can only be done in part (a limit that can't be raised) is a warning.
//! - The container's paths are resolved in its own root; the host's files are reached only by the
//!   paths that the caller gave.
//! - No descriptor, signal disposition or key of the caller's reaches the container.
//! - When a call fails nothing is left: no process, mount or namespace.
//!
//! Needs Linux 5.12, `/proc` and `/dev/null`, and for a container a root of its own that is a mount
//! and not the initial ramfs: a PID 1 that starts from an initrd must switch_root first.

mod caps;
mod cgroup;
mod check;
mod console;
mod container;
mod devices;
mod error;
mod executable;
mod helper;
mod idmap;
mod job;
mod join;
mod launch;
mod lookup;
mod mounts;
mod namespaces;
mod path;
mod process;
mod reaper;
mod request;
mod rlimits;
mod rootfs;
mod sys;
mod sysctl;
mod user;
mod wire;

pub use error::{Error, Failure, Kind, Stage};
pub use helper::run_if_helper;
pub use launch::{Created, Helper, Process, create, exec};
pub use mounts::detached;
pub use request::{ExecRequest, InitRequest, Rootfs, Stdio};
