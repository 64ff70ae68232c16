//! Images, and what is told while they move.

use coracle_docker::auth::AuthConfig;
use coracle_docker::image::{
    DeleteItem, DistributionInspect, HistoryItem, ImageInspect, ImagesPruned,
};
use coracle_docker::progress::ProgressMessage;
use coracle_docker::time;
use coracle_runtime::image::{
    Distribution, DistributionPlatform, HistoryEntry, Image, ImageRemoval, Progress, PrunedImages,
    RegistryAuth,
};
use jiff::Timestamp;

use super::container::image_id;

/// An image. How many containers were made from it and what it shares is told elsewhere.
pub(crate) fn image(found: ImageInspect) -> Image {
    let target = found.descriptor.unwrap_or_default();
    let digest = found
        .repo_digests
        .first()
        .and_then(|name| name.split_once('@'))
        .map(|(_, digest)| digest.to_owned());
    Image {
        id: image_id(found.id),
        repo_tags: named(found.repo_tags),
        repo_digests: named(found.repo_digests),
        target_digest: if target.digest.is_empty() {
            digest.unwrap_or_default()
        } else {
            target.digest
        },
        target_media_type: target.media_type,
        target_size: target.size,
        parent: image_id(found.parent),
        comment: found.comment,
        // Some engines say "0001-…" or nothing where the image says nothing.
        created: time::parse(&found.created).ok().flatten(),
        author: found.author,
        config: found.config,
        container: found.container.unwrap_or_default(),
        container_config: found.container_config.map(Box::new),
        architecture: found.architecture,
        variant: found.variant,
        os: found.os,
        size: found.size,
        layers: found.root_fs.layers,
        last_tag_time: found.metadata.last_tag_time.0,
        containers: 0,
        shared_size: None,
    }
}

/// Names without the place-holders for none.
fn named(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.starts_with("<none>"));
    names
}

/// A step of a history.
pub(crate) fn history(item: HistoryItem) -> HistoryEntry {
    HistoryEntry {
        id: match item.id.as_str() {
            "<missing>" => String::new(),
            _ => image_id(item.id),
        },
        created: Timestamp::from_second(item.created)
            .ok()
            .filter(|time| *time > Timestamp::UNIX_EPOCH),
        created_by: item.created_by,
        tags: named(item.tags),
        size: item.size,
        comment: item.comment,
    }
}

/// A step of a removal; none of an empty one.
fn removal(item: DeleteItem) -> Option<ImageRemoval> {
    if !item.untagged.is_empty() {
        Some(ImageRemoval::Untagged(item.untagged))
    } else if !item.deleted.is_empty() {
        Some(ImageRemoval::Deleted(item.deleted))
    } else {
        None
    }
}

/// The steps of a removal.
pub(crate) fn removals(items: Vec<DeleteItem>) -> Vec<ImageRemoval> {
    items.into_iter().filter_map(removal).collect()
}

/// What a prune did.
pub(crate) fn pruned(pruned: ImagesPruned) -> PrunedImages {
    PrunedImages {
        removed: removals(pruned.images_deleted),
        space_reclaimed: pruned.space_reclaimed,
    }
}

/// A line of a pull, push or load.
pub(crate) fn progress(line: ProgressMessage) -> Progress {
    let known = |number: u64| (number > 0).then_some(number);
    Progress {
        id: line.id,
        status: line.status,
        bytes: line
            .progress_detail
            .filter(|detail| detail.current > 0 || detail.total > 0)
            .map(|detail| (detail.current, known(detail.total))),
        stream: Some(line.stream).filter(|text| !text.is_empty()),
        aux: line.aux,
    }
}

/// Credentials.
pub(crate) fn auth(auth: RegistryAuth) -> AuthConfig {
    AuthConfig {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identity_token,
        registry_token: auth.registry_token,
        server_address: auth.server_address,
        ..AuthConfig::default()
    }
}

/// What a registry has.
pub(crate) fn distribution(found: DistributionInspect) -> Distribution {
    let platforms = found.platforms.into_iter();
    Distribution {
        media_type: found.descriptor.media_type,
        digest: found.descriptor.digest,
        size: found.descriptor.size,
        platforms: platforms
            .map(|platform| DistributionPlatform {
                architecture: platform.architecture,
                os: platform.os,
                os_version: platform.os_version,
                os_features: platform.os_features,
                variant: platform.variant,
            })
            .collect(),
    }
}
