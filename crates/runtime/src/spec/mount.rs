//! Mounts in the long form (`--mount`).

use std::collections::BTreeMap;

use crate::serde_util::wire;

wire! {
    /// One mount (`Mount` of Docker's API).
    pub struct Mount {
        /// `bind`, `volume`, `tmpfs`; others are refused by name.
        #[serde(rename = "Type")]
        pub kind: String,
        /// Host path, or a volume's name (empty: anonymous).
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub source: String,
        /// Path inside.
        pub target: String,
        /// Read-only.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub read_only: bool,
        /// macOS only; ignored by Docker on Linux.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub consistency: String,
        /// For `bind`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub bind_options: Option<BindOptions>,
        /// For `volume`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub volume_options: Option<VolumeOptions>,
        /// For `tmpfs`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub tmpfs_options: Option<TmpfsOptions>,
    }

    /// Options of a bind mount.
    pub struct BindOptions {
        /// `private`, `rprivate`, `shared`, `rshared`, `slave`, `rslave`; empty means `rprivate`.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub propagation: String,
        /// Leave submounts out.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub non_recursive: bool,
        /// Make the source directory where it is missing.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub create_mountpoint: bool,
        /// A read-only mount's submounts stay writable.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub read_only_non_recursive: bool,
        /// Fail where submounts can't be made read-only.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub read_only_force_recursive: bool,
    }

    /// Options of a volume mount.
    pub struct VolumeOptions {
        /// Do not copy the image's content into a new volume.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub no_copy: bool,
        /// Labels for a volume made on the way.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub labels: BTreeMap<String, String>,
        /// Driver for a volume made on the way.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub driver_config: Option<MountDriver>,
        /// Mount this path inside the volume.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub subpath: String,
    }

    /// A volume driver with its options.
    pub struct MountDriver {
        /// Driver's name.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub name: String,
        /// Options.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub options: BTreeMap<String, String>,
    }

    /// Options of a tmpfs mount.
    pub struct TmpfsOptions {
        /// Bytes; 0 means no limit but the host's.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub size_bytes: i64,
        /// Permission bits; 0 means 1777.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub mode: u32,
        /// Further mount options: `[["exec"], ["uid", "1"]]`.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub options: Vec<Vec<String>>,
    }
}
