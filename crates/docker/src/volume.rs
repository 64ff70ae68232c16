//! Volumes.

use std::collections::BTreeMap;

use crate::time::Seconds;
use crate::wire::wire;

pub use coracle_runtime::volume::VolumeSpec as VolumeCreateBody;

wire! {
    /// A volume, in lists and inspect.
    pub struct VolumeInspect {
        /// When it was made.
        pub created_at: Seconds,
        /// Driver.
        pub driver: String,
        /// Labels.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub labels: BTreeMap<String, String>,
        /// Directory on the host.
        pub mountpoint: String,
        /// Name.
        pub name: String,
        /// Driver options.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub options: BTreeMap<String, String>,
        /// `local`.
        pub scope: String,
        /// Only in `/system/df`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub usage_data: Option<UsageData>,
    }

    /// What a volume takes.
    pub struct UsageData {
        /// Containers that use it; -1 where not known.
        pub ref_count: i64,
        /// Bytes; -1 where not known.
        pub size: i64,
    }

    /// `GET /volumes`.
    pub struct VolumeList {
        /// Volumes.
        pub volumes: Vec<VolumeInspect>,
        /// What the user should know.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub warnings: Vec<String>,
    }

    /// The answer of `POST /volumes/prune`.
    pub struct VolumesPruned {
        /// Names.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub volumes_deleted: Vec<String>,
        /// Bytes freed.
        pub space_reclaimed: u64,
    }
}
