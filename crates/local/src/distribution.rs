//! What a registry has under a name, without pulling it.

use coracle_oci::{Document, ImageConfig, Platform};
use coracle_registry::ManifestName;
use coracle_runtime::Result;
use coracle_runtime::image::{Distribution, DistributionPlatform, RegistryAuth};

use crate::engine::Engine;
use crate::transfer::{auth, error, parse};

/// The most that is read of a configuration, in bytes.
const MAX_CONFIG: usize = 4 << 20;

/// Asks the registry for the manifest, and what platforms it is for.
pub(crate) async fn inspect(
    engine: &Engine,
    name: &str,
    credentials: Option<RegistryAuth>,
) -> Result<Distribution> {
    let reference = parse(name)?;
    let repository = engine
        .images
        .client
        .repository(&reference, auth(credentials))
        .map_err(error)?;
    let found = repository
        .fetch_manifest(ManifestName::of(&reference), None)
        .await
        .map_err(error)?;
    let platforms = match &found.document {
        Document::Index(index) => index
            .manifests
            .iter()
            .filter_map(|manifest| manifest.platform.as_ref())
            .map(platform)
            .collect(),
        // An artifact that is no image has none. Like dockerd, one whose configuration can't be read
        // is told without.
        Document::Manifest(manifest) => repository
            .fetch_blob(&manifest.config, MAX_CONFIG)
            .await
            .ok()
            .and_then(|bytes| ImageConfig::parse(&bytes).ok())
            .map(|config| platform(&config.platform()))
            .filter(|platform| !(platform.os.is_empty() && platform.architecture.is_empty()))
            .into_iter()
            .collect(),
    };
    Ok(Distribution {
        media_type: found.descriptor.media_type,
        digest: found.descriptor.digest.to_string(),
        size: found.descriptor.size,
        platforms,
    })
}

fn platform(platform: &Platform) -> DistributionPlatform {
    DistributionPlatform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone().unwrap_or_default(),
        os_features: platform.os_features.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
    }
}
