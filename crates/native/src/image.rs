//! Images.

use std::collections::BTreeMap;

use coracle_runtime::image as domain;
use jiff::Timestamp;

use crate::wire::{answer, body};

answer! {
    /// An image.
    pub struct Image {
        /// `sha256:…` of its configuration.
        id: String,
        /// Names with tags.
        tags: Vec<String>,
        /// Names with digests.
        digests: Vec<String>,
        /// Digest of the manifest or index that its names point to.
        target_digest: String,
        /// The image it was made from; empty where not known.
        parent: String,
        /// When it was made, where it says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created_at: Option<Timestamp>,
        /// Who made it.
        author: String,
        /// Comment of the last step.
        comment: String,
        /// Architecture, in Go's words.
        architecture: String,
        /// Variant of the architecture.
        variant: String,
        /// Operating system, in Go's words.
        os: String,
        /// Bytes of its layers, unpacked.
        size: u64,
        /// Digests of its uncompressed layers, lowest first.
        layers: Vec<String>,
        /// Containers that were made from it.
        containers: u64,
        /// What containers get where they say nothing else.
        defaults: ImageDefaults,
    }

    /// What an image's containers get where they say nothing else.
    pub struct ImageDefaults {
        /// The fixed part of the command.
        entrypoint: Vec<String>,
        /// The rest of it.
        command: Vec<String>,
        /// Environment.
        env: Vec<String>,
        /// Working directory.
        working_dir: String,
        /// User.
        user: String,
        /// Ports that are listened on: `80/tcp`.
        exposed_ports: Vec<String>,
        /// Paths that get a volume.
        volumes: Vec<String>,
        /// The signal that asks for an end; empty means SIGTERM.
        stop_signal: String,
        /// Labels.
        labels: BTreeMap<String, String>,
    }

    /// A step of an image's history.
    pub struct HistoryEntry {
        /// When.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created_at: Option<Timestamp>,
        /// The instruction.
        created_by: String,
        /// Names on what it made.
        tags: Vec<String>,
        /// Bytes of its layer.
        size: u64,
        /// Comment.
        comment: String,
    }

    /// What a removal or prune did.
    pub struct ImagesRemoved {
        /// Names taken off, in order.
        untagged: Vec<String>,
        /// Images deleted, in order.
        deleted: Vec<String>,
        /// Bytes freed; only of a prune.
        space_reclaimed: u64,
    }
}

body! {
    /// An image to pull.
    pub struct ImagePull {
        /// Name, with a tag or digest; `latest` where there is none.
        image: String,
        ; // What may be left out:
        /// `os/arch[/variant]`; the host's where none is given.
        platform: String,
        /// Every tag of the repository.
        all_tags: bool,
        /// Who asks.
        credentials: Option<Credentials>,
    }

    /// How to push.
    pub struct ImagePush {
        ; // What may be left out:
        /// Only this platform of an index.
        platform: String,
        /// Every tag of the repository.
        all_tags: bool,
        /// Who asks.
        credentials: Option<Credentials>,
    }

    /// Who asks a registry. They are used for this request and not kept.
    pub struct Credentials {
        ; // What may be left out:
        /// User name.
        username: String,
        /// Password.
        password: String,
        /// An OAuth2 refresh token instead of a password.
        identity_token: String,
        /// A bearer token to be used as it is.
        registry_token: String,
        /// The registry they are for.
        server_address: String,
    }

    /// A name to put on an image.
    pub struct ImageTag {
        /// `repository[:tag]`.
        name: String,
        ; // What may be left out:
    }

    /// Which unused images to remove.
    pub struct ImagesPrune {
        ; // What may be left out:
        /// Those that have names too.
        all: bool,
        /// Only those with all of these labels: `key` or `key=value`.
        labels: Vec<String>,
    }
}

impl From<domain::Image> for Image {
    fn from(image: domain::Image) -> Self {
        let config = image.config;
        let words = |words: Option<coracle_runtime::spec::StringOrList>| {
            words.map(|words| words.0).unwrap_or_default()
        };
        Self {
            id: image.id,
            tags: image.repo_tags,
            digests: image.repo_digests,
            target_digest: image.target_digest,
            parent: image.parent,
            created_at: image.created,
            author: image.author,
            comment: image.comment,
            architecture: image.architecture,
            variant: image.variant,
            os: image.os,
            size: image.size,
            layers: image.layers,
            containers: image.containers,
            defaults: ImageDefaults {
                entrypoint: words(config.entrypoint),
                command: words(config.cmd),
                env: config.env,
                working_dir: config.working_dir,
                user: config.user,
                exposed_ports: config.exposed_ports.into_keys().collect(),
                volumes: config.volumes.into_keys().collect(),
                stop_signal: config.stop_signal.unwrap_or_default(),
                labels: config.labels,
            },
        }
    }
}

impl From<domain::HistoryEntry> for HistoryEntry {
    fn from(entry: domain::HistoryEntry) -> Self {
        Self {
            created_at: entry.created,
            created_by: entry.created_by,
            tags: entry.tags,
            size: entry.size,
            comment: entry.comment,
        }
    }
}

impl ImagesRemoved {
    /// What was done, and how much that freed.
    pub fn new(removed: Vec<domain::ImageRemoval>, space_reclaimed: u64) -> Self {
        let mut done = Self {
            space_reclaimed,
            ..Self::default()
        };
        for step in removed {
            match step {
                domain::ImageRemoval::Untagged(name) => done.untagged.push(name),
                domain::ImageRemoval::Deleted(id) => done.deleted.push(id),
            }
        }
        done
    }
}

impl From<Credentials> for domain::RegistryAuth {
    fn from(body: Credentials) -> Self {
        Self {
            username: body.username,
            password: body.password,
            identity_token: body.identity_token,
            registry_token: body.registry_token,
            server_address: body.server_address,
        }
    }
}

/// None where it is empty.
fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<ImagePull> for domain::PullRequest {
    fn from(body: ImagePull) -> Self {
        Self {
            reference: body.image,
            all_tags: body.all_tags,
            platform: given(body.platform),
            auth: body.credentials.map(Into::into),
        }
    }
}

impl ImagePush {
    /// What is to be pushed.
    pub fn request(self, reference: String) -> domain::PushRequest {
        domain::PushRequest {
            reference,
            all_tags: self.all_tags,
            platform: given(self.platform),
            auth: self.credentials.map(Into::into),
        }
    }
}
