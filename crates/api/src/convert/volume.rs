//! Volumes.

use coracle_docker::time::Seconds;
use coracle_docker::volume::{UsageData, VolumeInspect};
use coracle_runtime::volume::Volume;

/// The label by which clients tell volumes that nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// A volume; with `usage`, what it takes.
pub(crate) fn inspect(mut volume: Volume, usage: bool) -> VolumeInspect {
    if volume.anonymous {
        volume.labels.entry(ANONYMOUS.to_owned()).or_default();
    }
    let count = |number: Option<u64>| number.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
    VolumeInspect {
        created_at: Seconds(Some(volume.created)),
        driver: volume.driver,
        labels: volume.labels,
        mountpoint: volume.mountpoint,
        name: volume.name,
        options: volume.options,
        scope: "local".to_owned(),
        usage_data: usage.then(|| UsageData {
            ref_count: count(volume.ref_count),
            size: count(volume.size),
        }),
    }
}
