//! Turns a container's configuration into an OCI runtime specification.
//!
//! **Owns** what Docker's options mean: [how an image's defaults are merged in](fn@merge), [which
//! options are refused](fn@check), and [the specification](fn@build) that a launcher carries out.
//!
//! **Must not know** how a container is started, stored or networked: whatever depends on those (a
//! namespace's path, a volume's directory) comes in as [`Inputs`].
//!
//! **Invariants**
//! - Every option is either honoured in the specification or refused by name; none is dropped.
//! - The same inputs give the same specification.
//! - `oci-spec`'s defaults are not Docker's: every structure starts empty and is filled here.
#![forbid(unsafe_code)]

mod build;
mod capabilities;
pub mod changes;
pub mod check;
mod devices;
mod disks;
mod endpoint;
mod error;
mod files;
mod link;
mod merge;
mod mounts;
mod name;
mod process;
mod resources;
mod security;
mod size;
mod sockets;
mod update;
mod volume;

pub use build::{Inputs, Namespace, Namespaces, build};
pub use capabilities::{CAPABILITIES, capabilities};
pub use check::check;
pub use disks::RAW;
pub use endpoint::{check_endpoint, check_networking, link_local};
pub use error::SpecError;
pub use files::{CONFIGS_ANNOTATION, FileKind, SECRETS_ANNOTATION, SecretFile, secret_files};
pub use link::{
    Link, legacy_links, link_elsewhere, link_environment, link_names, link_not_running,
    link_to_host, no_link_target, parse_link, shown_link,
};
pub use merge::{command, merge};
pub use mounts::{MountKind, ResolvedMount, tmpfs_options};
pub use name::check_name;
pub use process::{environment, exec_process};
pub use resources::resources;
pub use security::{SeccompChoice, SecurityOptions};
pub use sockets::{PUBLISHED_SOCKETS_ANNOTATION, PublishedSocket, published_sockets};
pub use update::overlay;
pub use volume::{NO_QUOTA, VolumeBacking, check_volume};

/// What the host can do, as far as a specification depends on it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The daemon runs as an ordinary user, in a user namespace of its own.
    pub rootless: bool,
    /// Control groups are version 2 only.
    pub cgroup_v2: bool,
    /// Capabilities in the daemon's bounding set, as `CAP_…`.
    pub capabilities: Vec<String>,
    /// `--default-shm-size`, bytes.
    pub default_shm_size: i64,
    /// `--default-ulimit`s.
    pub default_ulimits: Vec<coracle_runtime::spec::Ulimit>,
    /// `--no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--seccomp-profile`: the content of a profile; `None` means the built-in one.
    pub seccomp_profile: Option<String>,
    /// Processors on line.
    pub cpus: u32,
    /// Whether the kernel accounts swap to control groups.
    pub swap_accounting: bool,
    /// Whether a container's writable layer can have a size (`--storage-opt size=`).
    pub layer_size: bool,
}

/// An empty structure of `oci-spec`, whose own defaults are a container nobody asked for.
fn empty<T: serde::de::DeserializeOwned>() -> Result<T, SpecError> {
    serde_json::from_str("{}").map_err(SpecError::Shape)
}
