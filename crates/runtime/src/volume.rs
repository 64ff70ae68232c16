//! Volumes.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::serde_util::wire;

/// A volume, as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// `local`.
    pub driver: String,
    /// Directory on the host.
    pub mountpoint: String,
    /// When it was made.
    pub created: Timestamp,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Whether it was made for one container, without a name of the user's.
    pub anonymous: bool,
    /// Containers that use it; only where usage was asked for.
    pub ref_count: Option<u64>,
    /// Bytes; only where usage was asked for.
    pub size: Option<u64>,
}

wire! {
    /// A volume to make (`VolumeCreateOptions` of Docker's API).
    pub struct VolumeSpec {
        /// Name; empty has one made up.
        pub name: String,
        /// Driver; empty means `local`.
        pub driver: String,
        /// Driver options.
        pub driver_opts: BTreeMap<String, String>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
    }
}
