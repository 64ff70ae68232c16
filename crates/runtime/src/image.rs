//! Images, and moving them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::io::ByteStream;
use crate::spec::ContainerConfig;

/// An image, as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// `sha256:…` of its configuration.
    pub id: String,
    /// Names with tags, in the short form users know (`busybox:latest`).
    pub repo_tags: Vec<String>,
    /// Names with digests.
    pub repo_digests: Vec<String>,
    /// Digest of the manifest or index that its name points to.
    pub target_digest: String,
    /// Media type of the same.
    pub target_media_type: String,
    /// Size of the same, bytes.
    pub target_size: u64,
    /// The image it was built or committed from; empty where unknown.
    pub parent: String,
    /// Comment of the last step.
    pub comment: String,
    /// When it was made, where it says so.
    pub created: Option<Timestamp>,
    /// Who made it.
    pub author: String,
    /// Its defaults for containers.
    pub config: ContainerConfig,
    /// The container that it was made of, where it is known; empty else.
    pub container: String,
    /// What that container was created as.
    pub container_config: Option<Box<ContainerConfig>>,
    /// Architecture.
    pub architecture: String,
    /// Variant of the architecture.
    pub variant: String,
    /// Operating system.
    pub os: String,
    /// Bytes of its layers, unpacked.
    pub size: u64,
    /// Digests of its uncompressed layers, lowest first.
    pub layers: Vec<String>,
    /// When a name was last put on it.
    pub last_tag_time: Option<Timestamp>,
    /// Containers made from it.
    pub containers: u64,
    /// Bytes shared with other images; only where asked for.
    pub shared_size: Option<u64>,
}

/// One step of an image's history, newest first in lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryEntry {
    /// The image's id where this step has one; else empty.
    pub id: String,
    /// When.
    pub created: Option<Timestamp>,
    /// The instruction.
    pub created_by: String,
    /// Names on it.
    pub tags: Vec<String>,
    /// Bytes of its layer.
    pub size: u64,
    /// Comment.
    pub comment: String,
}

/// What a removal did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRemoval {
    /// A name was taken off.
    Untagged(String),
    /// An image or layer was deleted.
    Deleted(String),
}

/// How to remove an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveImageOptions {
    /// Even where stopped containers use it, or several names point to it.
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
}

/// What an image prune did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunedImages {
    /// Step by step.
    pub removed: Vec<ImageRemoval>,
    /// Bytes freed.
    pub space_reclaimed: u64,
}

/// Credentials for a registry, as a client sends them (`X-Registry-Auth`).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// An OAuth2 refresh token instead of a password.
    pub identity_token: String,
    /// A bearer token to be used as it is.
    pub registry_token: String,
    /// The registry they are for.
    pub server_address: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

/// What to pull.
#[derive(Clone, Debug, Default)]
pub struct PullRequest {
    /// The reference, as the user gave it, tag or digest included where there is one.
    pub reference: String,
    /// Every tag of the repository.
    pub all_tags: bool,
    /// `os/arch[/variant]`; `None` means the host's.
    pub platform: Option<String>,
    /// Credentials; `None` means anonymous.
    pub auth: Option<RegistryAuth>,
}

/// What to push.
#[derive(Clone, Debug, Default)]
pub struct PushRequest {
    /// The reference.
    pub reference: String,
    /// Every tag of the repository.
    pub all_tags: bool,
    /// Only this platform of an index.
    pub platform: Option<String>,
    /// Credentials; `None` means anonymous.
    pub auth: Option<RegistryAuth>,
}

/// A step of a long image operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The layer or tag it is about; empty for the whole.
    pub id: String,
    /// What happens, in Docker's words (`Downloading`, `Pull complete`).
    pub status: String,
    /// Bytes done and, where known, to do.
    pub bytes: Option<(u64, Option<u64>)>,
    /// A line for the user that is not a status (load, build).
    pub stream: Option<String>,
    /// A machine-readable result, as Docker's `aux`.
    pub aux: Option<serde_json::Value>,
}

/// What to import.
pub struct ImportRequest {
    /// A root file system, as a tar, plain or compressed.
    pub tar: ByteStream,
    /// `repository[:tag]`; `None` leaves it without a name.
    pub reference: Option<String>,
    /// Comment.
    pub message: String,
    /// Dockerfile instructions applied to the configuration.
    pub changes: Vec<String>,
    /// `os/arch[/variant]`; `None` means the host's.
    pub platform: Option<String>,
}

/// What to commit.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// The container.
    pub container: String,
    /// `repository[:tag]`; `None` leaves it without a name.
    pub reference: Option<String>,
    /// Comment.
    pub comment: String,
    /// Author.
    pub author: String,
    /// Freeze the container meanwhile.
    pub pause: bool,
    /// Dockerfile instructions applied to the configuration.
    pub changes: Vec<String>,
    /// Replaces the container's configuration where given.
    pub config: Option<ContainerConfig>,
}

/// What a login gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginStatus {
    /// For the user.
    pub status: String,
    /// To be kept instead of the password, where the registry gives one.
    pub identity_token: String,
}

/// What a registry has under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The manifest's or index's media type.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it is for: of an index each one, of an image its own.
    pub platforms: Vec<DistributionPlatform>,
}

/// A platform, in the registry's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistributionPlatform {
    /// Architecture.
    pub architecture: String,
    /// Operating system.
    pub os: String,
    /// Its version; Windows only.
    pub os_version: String,
    /// What it must offer; Windows only.
    pub os_features: Vec<String>,
    /// Variant of the architecture.
    pub variant: String,
}

/// A hit of a registry search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchHit {
    /// Repository.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Stars.
    pub stars: u64,
    /// Official.
    pub official: bool,
}

/// Labels by key.
pub type Labels = BTreeMap<String, String>;
