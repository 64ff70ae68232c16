//! Images.

use coracle_docker::container::GraphDriver;
use coracle_docker::image::{
    DeleteItem, Descriptor, DistributionInspect, HistoryItem, ImageInspect, ImageMetadata,
    ImageSummary, ImagesPruned, ManifestImage, ManifestSize, ManifestSummary, Platform, RootFs,
    UnpackedSize,
};
use coracle_docker::time;
use coracle_runtime::image::{Distribution, HistoryEntry, Image, ImageRemoval, PrunedImages};
use jiff::Timestamp;

use crate::version::ApiVersion;

/// What a list asks for beside the images.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SummaryOptions {
    /// Manifests.
    pub(crate) manifests: bool,
    /// Count containers.
    pub(crate) containers: bool,
}

/// An image in a list.
pub(crate) fn summary(image: Image, options: SummaryOptions, version: ApiVersion) -> ImageSummary {
    let manifests = options.manifests.then(|| vec![manifest(&image)]);
    let untagged = image.repo_tags.is_empty() && image.repo_digests.is_empty();
    let old = untagged && version.before(43);
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    ImageSummary {
        containers: if options.containers {
            count(image.containers)
        } else {
            -1
        },
        created: image.created.map_or(0, Timestamp::as_second),
        id: image.id,
        labels: image.config.labels,
        parent_id: image.parent,
        repo_digests: if old {
            vec!["<none>@<none>".to_owned()]
        } else {
            image.repo_digests
        },
        repo_tags: if old {
            vec!["<none>:<none>".to_owned()]
        } else {
            image.repo_tags
        },
        shared_size: image.shared_size.map_or(-1, count),
        size: image.size,
        virtual_size: version.before(44).then_some(image.size),
        manifests,
    }
}

fn platform(image: &Image) -> Platform {
    Platform {
        architecture: image.architecture.clone(),
        os: image.os.clone(),
        variant: image.variant.clone(),
        ..Platform::default()
    }
}

fn descriptor(image: &Image) -> Descriptor {
    Descriptor {
        media_type: image.target_media_type.clone(),
        digest: image.target_digest.clone(),
        size: image.target_size,
        platform: None,
    }
}

fn manifest(image: &Image) -> ManifestSummary {
    ManifestSummary {
        id: image.target_digest.clone(),
        descriptor: descriptor(image),
        available: true,
        size: ManifestSize {
            total: image.size,
            content: image.target_size,
        },
        kind: "image".to_owned(),
        image_data: Some(ManifestImage {
            platform: platform(image),
            containers: Vec::new(),
            size: UnpackedSize {
                unpacked: image.size,
            },
        }),
    }
}

/// `GET /images/{name}/json`.
pub(crate) fn inspect(image: Image, driver: &str, version: ApiVersion) -> ImageInspect {
    let created = match image.created {
        None if version.since(44) => String::new(),
        created => time::format(created),
    };
    ImageInspect {
        created,
        // Left out where it is not known, as by dockerd.
        container: Some(image.container).filter(|id| version.before(45) && !id.is_empty()),
        container_config: version.before(45).then(|| {
            image
                .container_config
                .map(|created| *created)
                .unwrap_or_default()
        }),
        virtual_size: version.before(44).then_some(image.size),
        // Comes with 1.48.
        descriptor: None,
        id: image.id,
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        parent: image.parent,
        comment: image.comment,
        docker_version: String::new(),
        author: image.author,
        config: image.config,
        architecture: image.architecture,
        variant: image.variant,
        os: image.os,
        size: image.size,
        graph_driver: GraphDriver {
            name: driver.to_owned(),
            ..GraphDriver::default()
        },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: image.layers,
        },
        metadata: ImageMetadata {
            last_tag_time: image.last_tag_time.into(),
        },
    }
}

/// A step of a history.
pub(crate) fn history(entry: HistoryEntry) -> HistoryItem {
    HistoryItem {
        comment: entry.comment,
        created: entry.created.map_or(0, Timestamp::as_second),
        created_by: entry.created_by,
        id: if entry.id.is_empty() {
            "<missing>".to_owned()
        } else {
            entry.id
        },
        size: entry.size,
        tags: entry.tags,
    }
}

/// What a registry has.
pub(crate) fn distribution(found: Distribution) -> DistributionInspect {
    let platforms = found.platforms.into_iter().map(|platform| Platform {
        architecture: platform.architecture,
        os: platform.os,
        os_version: platform.os_version,
        os_features: platform.os_features,
        variant: platform.variant,
    });
    DistributionInspect {
        descriptor: Descriptor {
            media_type: found.media_type,
            digest: found.digest,
            size: found.size,
            platform: None,
        },
        platforms: platforms.collect(),
    }
}

/// A step of a removal.
pub(crate) fn removal(removal: ImageRemoval) -> DeleteItem {
    match removal {
        ImageRemoval::Untagged(untagged) => DeleteItem {
            untagged,
            ..DeleteItem::default()
        },
        ImageRemoval::Deleted(deleted) => DeleteItem {
            deleted,
            ..DeleteItem::default()
        },
    }
}

/// What a prune did.
pub(crate) fn pruned(pruned: PrunedImages) -> ImagesPruned {
    ImagesPruned {
        images_deleted: pruned.removed.into_iter().map(removal).collect(),
        space_reclaimed: pruned.space_reclaimed,
    }
}
