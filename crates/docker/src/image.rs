//! Images.

use std::collections::BTreeMap;

use coracle_runtime::spec::ContainerConfig;
use serde::{Deserialize, Serialize};

use crate::container::GraphDriver;
use crate::time::Time;
use crate::wire::{is_default, wire};

wire! {
    /// An image in `GET /images/json`.
    pub struct ImageSummary {
        /// Containers made from it; -1 where not counted.
        pub containers: i64,
        /// Unix seconds.
        pub created: i64,
        /// `sha256:…` of its configuration.
        pub id: String,
        /// Labels.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub labels: BTreeMap<String, String>,
        /// The image it was made from.
        pub parent_id: String,
        /// Names with digests.
        pub repo_digests: Vec<String>,
        /// Names with tags.
        pub repo_tags: Vec<String>,
        /// Bytes shared with other images; -1 where not computed.
        pub shared_size: i64,
        /// Bytes.
        pub size: u64,
        /// The same, before API 1.44.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub virtual_size: Option<u64>,
        /// Its manifests, where asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub manifests: Option<Vec<ManifestSummary>>,
    }

    /// A manifest of an image.
    pub struct ManifestSummary {
        /// Its digest.
        #[serde(rename = "ID")]
        pub id: String,
        /// What points to it.
        pub descriptor: Descriptor,
        /// Whether its content is here.
        pub available: bool,
        /// Bytes.
        pub size: ManifestSize,
        /// `image`, `attestation`, `unknown`.
        pub kind: String,
        /// For an image.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub image_data: Option<ManifestImage>,
    }

    /// Sizes of a manifest.
    pub struct ManifestSize {
        /// Everything.
        pub total: u64,
        /// In the content store.
        pub content: u64,
    }

    /// What a manifest that is an image holds.
    pub struct ManifestImage {
        /// Platform.
        pub platform: Platform,
        /// Containers made from it, by id.
        pub containers: Vec<String>,
        /// Sizes.
        pub size: UnpackedSize,
    }

    /// Unpacked size.
    pub struct UnpackedSize {
        /// Bytes.
        pub unpacked: u64,
    }

    /// `GET /images/{name}/json`.
    pub struct ImageInspect {
        /// `sha256:…` of its configuration.
        pub id: String,
        /// Names with tags.
        pub repo_tags: Vec<String>,
        /// Names with digests.
        pub repo_digests: Vec<String>,
        /// The image it was made from.
        pub parent: String,
        /// Comment of the last step.
        pub comment: String,
        /// When it was made.
        #[serde(skip_serializing_if = "is_default")]
        pub created: String,
        /// The container it was committed from, where that is known; before API 1.45.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub container: Option<String>,
        /// That container's configuration; before API 1.45.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub container_config: Option<ContainerConfig>,
        /// What made it.
        pub docker_version: String,
        /// Who made it.
        pub author: String,
        /// Defaults for containers.
        #[serde(serialize_with = "crate::image_config::serialize")]
        pub config: ContainerConfig,
        /// Architecture.
        pub architecture: String,
        /// Variant.
        #[serde(skip_serializing_if = "is_default")]
        pub variant: String,
        /// Operating system.
        pub os: String,
        /// Bytes.
        pub size: u64,
        /// The same, before API 1.44.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub virtual_size: Option<u64>,
        /// Storage driver's data.
        pub graph_driver: GraphDriver,
        /// Layers.
        #[serde(rename = "RootFS")]
        pub root_fs: RootFs,
        /// About the local copy.
        pub metadata: ImageMetadata,
        /// What its name points to.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub descriptor: Option<Descriptor>,
    }

    /// Layers.
    pub struct RootFs {
        /// `layers`.
        #[serde(rename = "Type")]
        pub kind: String,
        /// Digests, lowest first.
        #[serde(skip_serializing_if = "is_default")]
        pub layers: Vec<String>,
    }

    /// About the local copy.
    pub struct ImageMetadata {
        /// When a name was last put on it.
        pub last_tag_time: Time,
    }

    /// An entry of `GET /images/{name}/history`.
    pub struct HistoryItem {
        /// Comment.
        pub comment: String,
        /// Unix seconds.
        pub created: i64,
        /// The instruction.
        pub created_by: String,
        /// The image's id, or `<missing>`.
        pub id: String,
        /// Bytes of its layer.
        pub size: u64,
        /// Names on it.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub tags: Vec<String>,
    }

    /// `GET /distribution/{name}/json`.
    pub struct DistributionInspect {
        /// The manifest or index.
        pub descriptor: Descriptor,
        /// What it is for.
        pub platforms: Vec<Platform>,
    }

    /// An entry of a removal's answer: one of the two.
    pub struct DeleteItem {
        /// A name that was taken off.
        #[serde(skip_serializing_if = "is_default")]
        pub untagged: String,
        /// What was deleted.
        #[serde(skip_serializing_if = "is_default")]
        pub deleted: String,
    }

    /// The answer of `POST /images/prune`.
    pub struct ImagesPruned {
        /// Step by step.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub images_deleted: Vec<DeleteItem>,
        /// Bytes freed.
        pub space_reclaimed: u64,
    }
}

/// What points to content (OCI's form, so in camel case).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// Digest.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// A platform (OCI's form).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// Architecture.
    pub architecture: String,
    /// Operating system.
    pub os: String,
    /// Its version; Windows only.
    #[serde(rename = "os.version", skip_serializing_if = "is_default")]
    pub os_version: String,
    /// What it must offer; Windows only.
    #[serde(rename = "os.features", skip_serializing_if = "is_default")]
    pub os_features: Vec<String>,
    /// Variant.
    #[serde(skip_serializing_if = "is_default")]
    pub variant: String,
}
