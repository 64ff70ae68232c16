//! Volumes.

use std::collections::BTreeMap;

use coracle_runtime::volume as domain;
use jiff::Timestamp;

use crate::wire::{answer, body};

answer! {
    /// A volume.
    pub struct Volume {
        /// Name.
        name: String,
        /// Driver.
        driver: String,
        /// Directory on the host.
        mountpoint: String,
        /// When it was made.
        created_at: Timestamp,
        /// Labels.
        labels: BTreeMap<String, String>,
        /// Driver options.
        options: BTreeMap<String, String>,
        /// Whether it was made for one container, without a name of the user's.
        anonymous: bool,
    }
}

body! {
    /// A volume to make.
    pub struct VolumeCreate {
        ; // What may be left out:
        /// Name; made up where there is none.
        name: String,
        /// Driver; `local` where none is given.
        driver: String,
        /// Driver options.
        options: BTreeMap<String, String>,
        /// Labels.
        labels: BTreeMap<String, String>,
    }
}

impl From<domain::Volume> for Volume {
    fn from(volume: domain::Volume) -> Self {
        Self {
            name: volume.name,
            driver: volume.driver,
            mountpoint: volume.mountpoint,
            created_at: volume.created,
            labels: volume.labels,
            options: volume.options,
            anonymous: volume.anonymous,
        }
    }
}

impl From<VolumeCreate> for domain::VolumeSpec {
    fn from(body: VolumeCreate) -> Self {
        Self {
            name: body.name,
            driver: body.driver,
            driver_opts: body.options,
            labels: body.labels,
        }
    }
}
