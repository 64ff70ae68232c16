//! What a conformer can do.

use serde::Serialize;

/// What a conformer declares. What is `false` answers
/// [`NotSupported`](crate::RuntimeError::NotSupported), always; what is `true`, never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Pause and unpause.
    pub pause: bool,
    /// Exec, with its resize and inspect.
    pub exec: bool,
    /// Attach.
    pub attach: bool,
    /// Statistics.
    pub stats: bool,
    /// Process lists.
    pub top: bool,
    /// Changing resources of a container.
    pub update: bool,
    /// Copy in, out, stat, export.
    pub archive: bool,
    /// Changes and commit.
    pub commit: bool,
    /// Image pull and push.
    pub registry: bool,
    /// Image save, load and import.
    pub image_archive: bool,
    /// Image build.
    pub build: bool,
    /// User-defined networks: create, remove, connect, disconnect.
    pub networks: bool,
    /// Volumes.
    pub volumes: bool,
    /// Secrets and configs.
    pub secrets: bool,
    /// Health checks.
    pub health: bool,
    /// Guest kernels: install, choose, remove.
    pub kernels: bool,
    /// Containers in virtual machines.
    pub vm: bool,
}
