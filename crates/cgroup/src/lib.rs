//! Control groups, v1, v2 and hybrid: limits, statistics, freezing, killing.
//!
//! Owns: what the host's cgroup file systems look like ([`Hierarchy`]), one container's directories
//! in them ([`Cgroup`]), the translation of the OCI runtime specification's `linux.resources` to
//! their files, and reading them back ([`Stats`], [`OomWatcher`]).
//!
//! Must not know: containers, images, or how a process is started.
//!
//! Every function blocks, though only on the kernel; nothing keeps state outside of the cgroup
//! file systems, so a [`Cgroup`] can be opened again by name at any time.
//!
//! How the two versions are told apart: per controller, by where it is. A controller that a v1
//! hierarchy has is used there, else the v2 tree is, so hybrid hosts need no rules of their own.
//! Freezing, killing and waiting use the v2 tree wherever there is one, because there they are
//! atomic and give events.
//!
//! Invariants:
//! * A path never has `..` in it, and is never a hierarchy's root, so nothing outside the cgroup
//!   that was named is signalled or removed.
//! * A limit that can't be set is an error that names it; nothing is passed over. Only device
//!   rules are, and only for an unprivileged user ([`Hierarchy::rootless`]), who can't reach
//!   devices anyway.
//! * A [`Cgroup::create`] that fails leaves no directory.

mod cgroup;
mod create;
mod delete;
mod error;
mod features;
mod files;
#[cfg(test)]
mod fixtures;
mod freeze;
mod hierarchy;
mod join;
mod kill;
mod limits;
mod mountinfo;
mod oom;
mod parse;
mod stats;
mod stats_v1;
mod stats_v2;
mod sys;
mod walk;

pub use cgroup::Cgroup;
pub use error::Error;
pub use features::Features;
pub use hierarchy::Hierarchy;
pub use hierarchy::Layout;
pub use join::Joiner;
pub use oom::Oom;
pub use oom::OomWatcher;
pub use stats::CpuStats;
pub use stats::HugetlbStats;
pub use stats::IoEntry;
pub use stats::IoStats;
pub use stats::MemoryStats;
pub use stats::PidsStats;
pub use stats::Pressure;
pub use stats::PressureLine;
pub use stats::Stats;
