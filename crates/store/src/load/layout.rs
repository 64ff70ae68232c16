//! Archives of an OCI image layout (image-spec, image-layout.md).

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Document;
use coracle_oci::ImageConfig;
use coracle_oci::Index;
use coracle_oci::Manifest;
use coracle_oci::Platform;
use coracle_oci::Reference;
use coracle_oci::limits;
use coracle_oci::media;

use crate::ArchiveError;
use crate::StoreError;
use crate::load::Candidate;
use crate::load::Found;
use crate::load::Target;
use crate::load::members::CONFIG_BYTES;
use crate::load::members::Members;
use crate::save::IMAGE_NAME;
use crate::save::REF_NAME;

/// How deep indexes may be nested.
const DEPTH: usize = 4;

/// An image of the archive, one platform's.
struct Usable {
    id: Digest,
    platform: Platform,
    manifest: Descriptor,
}

/// What `index.json` has under one name, or one entry without a name.
struct Named {
    name: Option<Reference>,
    targets: Vec<Descriptor>,
    usable: Vec<Usable>,
}

/// Finds the images of a layout. Returns whether the archive is one.
pub(crate) fn find(members: &Members<'_>, found: &mut Found) -> Result<bool, StoreError> {
    let (Some(index), Some(_)) = (
        members.metadata("index.json"),
        members.metadata("oci-layout"),
    ) else {
        return Ok(false);
    };
    let index = Index::parse(index).map_err(|error| ArchiveError::Json {
        name: "index.json".into(),
        reason: error.to_string(),
    })?;
    let mut entries: Vec<Named> = Vec::new();
    for mut descriptor in index.manifests {
        let mut usable = Vec::new();
        walk(members, found, &descriptor, DEPTH, &mut usable)?;
        if usable.is_empty() {
            continue;
        }
        let name = name(&descriptor);
        descriptor.annotations.clear();
        match entries
            .iter_mut()
            .find(|entry| name.is_some() && entry.name == name)
        {
            Some(entry) => {
                entry.targets.push(descriptor);
                entry.usable.append(&mut usable);
            }
            None => entries.push(Named {
                name,
                targets: vec![descriptor],
                usable,
            }),
        }
    }
    for Named {
        name,
        mut targets,
        mut usable,
    } in entries
    {
        let wanted = Platform::host();
        let at = wanted
            .choose(usable.iter().map(|u| Some(&u.platform)))
            .unwrap_or(0);
        let Some(id) = usable.get(at).map(|u| u.id.clone()) else {
            continue;
        };
        targets.dedup_by(|a, b| a.digest == b.digest);
        let target = match (targets.pop(), targets.is_empty()) {
            (Some(only), true) => Target::Given(only),
            // One name on several manifests: an image for several platforms.
            _ => {
                usable.dedup_by(|a, b| a.manifest.digest == b.manifest.digest);
                made_index(usable)?
            }
        };
        found.add(Candidate {
            id,
            target,
            names: name.into_iter().collect(),
        })?;
    }
    Ok(true)
}

fn made_index(usable: Vec<Usable>) -> Result<Target, StoreError> {
    let manifests = usable
        .into_iter()
        .map(|u| Descriptor {
            platform: Some(u.platform),
            ..u.manifest
        })
        .collect();
    let bytes = serde_json::to_vec(&Index::oci(manifests)).map_err(|error| StoreError::Stream {
        action: "encoding",
        source: error.into(),
    })?;
    Ok(Target::Made {
        descriptor: Descriptor::of(media::OCI_INDEX, &bytes),
        bytes,
    })
}

/// The name that an entry of `index.json` gives its image. A bare tag is none.
fn name(descriptor: &Descriptor) -> Option<Reference> {
    let annotation = |key: &str| descriptor.annotations.get(key).map(String::as_str);
    let full = annotation(IMAGE_NAME);
    let partial = annotation(REF_NAME).filter(|text| text.contains([':', '/']));
    let name = Reference::parse_normalized(full.or(partial)?).ok()?;
    Some(name).filter(|name| name.digest().is_none() && name.familiar_name() != "sha256")
}

/// Checks an entry and all below it, and notes what of it is needed.
fn walk(
    members: &Members<'_>,
    found: &mut Found,
    descriptor: &Descriptor,
    depth: usize,
    usable: &mut Vec<Usable>,
) -> Result<(), StoreError> {
    let is_index = media::is_index(&descriptor.media_type);
    if depth == 0 || !(is_index || media::is_manifest(&descriptor.media_type)) {
        return Ok(());
    }
    let digest = &descriptor.digest;
    check(members, descriptor)?;
    let bytes = members.bytes(digest, limits::MANIFEST_BYTES)?;
    let document = Document::parse(&bytes, Some(&descriptor.media_type)).map_err(|source| {
        StoreError::Document {
            digest: digest.clone(),
            source,
        }
    })?;
    match document {
        Document::Manifest(manifest) => {
            found.need(digest);
            for child in manifest.children() {
                if media::is_foreign(&child.media_type) && members.size(&child.digest)?.is_none() {
                    continue;
                }
                check(members, child)?;
                found.need(&child.digest);
            }
            if manifest.is_image() {
                let (id, platform) = config(members, digest, &manifest)?;
                usable.push(Usable {
                    id,
                    platform,
                    manifest: descriptor.clone(),
                });
            }
        }
        Document::Index(index) => {
            found.need(digest);
            for child in &index.manifests {
                // Archives often have one platform of many.
                if members.size(&child.digest)?.is_some() && usable.len() < limits::INDEX_MANIFESTS
                {
                    walk(members, found, child, depth - 1, usable)?;
                }
            }
        }
    }
    Ok(())
}

/// Checks that content is there, and of the size announced.
fn check(members: &Members<'_>, descriptor: &Descriptor) -> Result<(), StoreError> {
    let digest = &descriptor.digest;
    match members.size(digest)? {
        Some(size) if size == descriptor.size => Ok(()),
        Some(size) => Err(ArchiveError::Json {
            name: digest.to_string(),
            reason: format!("it has {size} bytes, announced were {}", descriptor.size),
        }
        .into()),
        None => {
            let name = format!("blobs/{}/{}", digest.algorithm(), digest.hex());
            Err(ArchiveError::Missing(name).into())
        }
    }
}

/// Checks an image's configuration.
fn config(
    members: &Members<'_>,
    image: &Digest,
    manifest: &Manifest,
) -> Result<(Digest, Platform), StoreError> {
    let digest = manifest.config.digest.clone();
    let bytes = members.bytes(&digest, CONFIG_BYTES)?;
    let config = ImageConfig::parse(&bytes).map_err(|source| StoreError::Config {
        digest: digest.clone(),
        source,
    })?;
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(StoreError::LayerCount {
            image: image.clone(),
            layers,
            diff_ids,
        });
    }
    Ok((digest, config.platform()))
}
