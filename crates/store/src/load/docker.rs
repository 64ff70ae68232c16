//! Archives as `docker save` writes them, from Docker 1.10 on: `manifest.json` names the files.

use coracle_oci::Descriptor;
use coracle_oci::ImageConfig;
use coracle_oci::Manifest;
use coracle_oci::Reference;
use coracle_oci::limits;
use coracle_oci::media;
use coracle_oci::media::Compression;
use serde::Deserialize;

use crate::ArchiveError;
use crate::StoreError;
use crate::load::Candidate;
use crate::load::Found;
use crate::load::MAX_IMAGES;
use crate::load::Target;
use crate::load::members::CONFIG_BYTES;
use crate::load::members::Members;

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds the images that `manifest.json` names. Returns whether there is one.
pub(crate) fn find(members: &Members<'_>, found: &mut Found) -> Result<bool, StoreError> {
    let Some(bytes) = members.metadata("manifest.json") else {
        return Ok(false);
    };
    let invalid = |reason: String| ArchiveError::Json {
        name: "manifest.json".into(),
        reason,
    };
    let items: Vec<Item> =
        serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    if items.len() > MAX_IMAGES {
        return Err(ArchiveError::TooMany {
            what: "images",
            max: MAX_IMAGES,
        }
        .into());
    }
    for item in items {
        let mut names = Vec::new();
        for text in item.repo_tags.iter().flatten() {
            let name = Reference::parse_normalized(text)?;
            if name.digest().is_some() || name.familiar_name() == "sha256" {
                return Err(invalid(format!("{text:?} is no tag")).into());
            }
            names.push(name);
        }
        let id = &members.content(&item.config)?.digest;
        // Newer archives tell of each image twice; the layout has its own manifests, so it counts.
        match found
            .candidates
            .iter_mut()
            .find(|candidate| candidate.id == *id)
        {
            Some(known) => {
                names.retain(|name| !known.names.contains(name));
                known.names.append(&mut names);
            }
            None => {
                let candidate = image(members, found, &item, names)?;
                found.add(candidate)?;
            }
        }
    }
    Ok(true)
}

/// Checks one image, and makes its manifest.
fn image(
    members: &Members<'_>,
    found: &mut Found,
    item: &Item,
    names: Vec<Reference>,
) -> Result<Candidate, StoreError> {
    let content = members.content(&item.config)?;
    let id = content.digest.clone();
    let bytes = members.bytes(&id, CONFIG_BYTES)?;
    let config = ImageConfig::parse(&bytes).map_err(|source| StoreError::Config {
        digest: id.clone(),
        source,
    })?;
    let layers = item.layers.as_deref().unwrap_or_default();
    let diff_ids = &config.rootfs.diff_ids;
    if layers.len() != diff_ids.len() || layers.len() > limits::LAYERS {
        let (layers, diff_ids) = (layers.len(), diff_ids.len());
        return Err(StoreError::LayerCount {
            image: id,
            layers,
            diff_ids,
        });
    }
    let mut descriptors = Vec::with_capacity(layers.len());
    for (number, (name, diff_id)) in layers.iter().zip(diff_ids).enumerate() {
        let layer = members.content(name)?;
        // What a compressed layer unpacks to is checked when it is unpacked.
        if layer.compression == Compression::None && layer.digest != *diff_id {
            return Err(ArchiveError::DiffId {
                layer: number,
                expected: diff_id.clone(),
                got: layer.digest.clone(),
            }
            .into());
        }
        let media_type = layer.compression.oci_layer();
        descriptors.push(Descriptor::new(
            media_type,
            layer.digest.clone(),
            layer.size,
        ));
    }
    // The same image may be there with compressed layers: these are as good, and smaller.
    if let Some(manifest) = members.known_image(&id)? {
        return Ok(Candidate {
            id,
            target: Target::Given(manifest),
            names,
        });
    }
    for descriptor in &descriptors {
        found.need(&descriptor.digest);
    }
    found.need(&id);
    let config = Descriptor::new(media::OCI_CONFIG, id.clone(), content.size);
    let bytes = serde_json::to_vec(&Manifest::oci(config, descriptors)).map_err(|error| {
        StoreError::Stream {
            action: "encoding",
            source: error.into(),
        }
    })?;
    let descriptor = Descriptor::of(media::OCI_MANIFEST, &bytes);
    Ok(Candidate {
        id,
        target: Target::Made { descriptor, bytes },
        names,
    })
}
