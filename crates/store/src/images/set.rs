//! Giving names to images, and taking them away.

use coracle_catalog::Target;
use coracle_oci::Descriptor;
use coracle_oci::Platform;
use coracle_oci::Reference;
use jiff::Timestamp;

use crate::ImageId;
use crate::Origin;
use crate::Store;
use crate::StoreError;
use crate::images::Name;
use crate::images::Record;
use crate::images::State;
use crate::images::resolve::record;

/// What naming an image did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The image that the name stands for now.
    pub id: ImageId,
    /// The image that it stood for before, if that was another one. It may be dangling now.
    pub old: Option<ImageId>,
}

impl Store {
    /// Makes `target` an image, and `reference` its name. All content of the chosen platform must be
    /// there, under a lease of the caller's.
    ///
    /// `target` is a manifest, or an index, of which `platform` (or the host's) is chosen. A
    /// reference with a digest names the image by that digest only, as in Docker. An image from a
    /// registry is named by the digest of `target` too. Without a reference, the image is there by
    /// its id.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`], [`StoreError::NoPlatform`], [`StoreError::NotAnImage`], and what
    /// reading the image can tell.
    pub fn set_image(
        &self,
        reference: Option<&Reference>,
        target: &Descriptor,
        platform: Option<&Platform>,
        origin: Origin,
    ) -> Result<Replaced, StoreError> {
        self.set_child(reference, target, platform, origin, None)
    }

    /// As [`Store::set_image`], with the image that it was made from.
    pub(crate) fn set_child(
        &self,
        reference: Option<&Reference>,
        target: &Descriptor,
        platform: Option<&Platform>,
        origin: Origin,
        parent: Option<&ImageId>,
    ) -> Result<Replaced, StoreError> {
        let _growing = self.inner.growing();
        let manifest = self.select(target, platform)?;
        let id = self.content(&manifest)?.manifest.config.digest.clone();
        if let Some(digest) = reference.and_then(Reference::digest)
            && *digest != target.digest
        {
            return Err(StoreError::Refused(
                "the reference has another digest than the image",
            ));
        }
        self.inner.images.change(|state| {
            let kept = state.images.get(&id).map(|record| record.manifest.clone());
            // The same image may come again with other compression. What is there stays, unless it
            // is damaged.
            let manifest = match kept {
                Some(kept) if self.missing(&kept)?.is_none() => kept,
                _ => manifest,
            };
            let record = state
                .images
                .entry(id.clone())
                .or_insert_with(|| Record::new(id.clone(), manifest.clone()));
            record.manifest = manifest;
            if record.parent.is_none() {
                record.parent = parent.filter(|parent| **parent != id).cloned();
            }
            let Some(reference) = reference else {
                return Ok(Replaced {
                    id: id.clone(),
                    old: None,
                });
            };
            let mut old = None;
            if reference.digest().is_some() || origin == Origin::Registry {
                let by_digest = reference.with_digest(target.digest.clone());
                old = give(state, &id, &by_digest, target)?;
            }
            if reference.digest().is_none() {
                old = give(state, &id, &tagged(reference)?, target)?;
            }
            Ok(Replaced {
                id: id.clone(),
                old,
            })
        })
    }

    /// Gives the image that `source` names another name.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`] and its like; [`StoreError::Refused`] if `name` has a digest.
    pub fn tag(&self, source: &str, name: &Reference) -> Result<Replaced, StoreError> {
        let name = tagged(name)?;
        self.inner.images.change(|state| {
            let found = state.find(source)?;
            let id = found.id().clone();
            let record = record(state, &id)?;
            let target = match &found {
                Target::Name(_, from) => record
                    .all_names()
                    .find(|n| n.name == *from)
                    .map(|n| n.target.clone()),
                Target::Id(_) => None,
            };
            let target = target.unwrap_or_else(|| record.manifest.clone());
            let old = give(state, &id, &name, &target)?;
            Ok(Replaced { id, old })
        })
    }

    /// Notes that the image that `reference` names is in a registry by this digest, after a push.
    pub fn add_repo_digest(
        &self,
        reference: &Reference,
        target: &Descriptor,
    ) -> Result<(), StoreError> {
        self.inner.images.change(|state| {
            let (_, id) = state
                .by_reference(reference)
                .ok_or_else(|| StoreError::NoSuchImage(reference.familiar()))?;
            give(
                state,
                &id,
                &reference.with_digest(target.digest.clone()),
                target,
            )?;
            Ok(())
        })
    }

    /// Takes a name away; the image stays. Returns the image that had it.
    ///
    /// Users' `rmi` is [`Store::remove`].
    pub fn untag(&self, reference: &Reference) -> Result<ImageId, StoreError> {
        self.inner.images.change(|state| {
            let (name, id) = state
                .by_reference(reference)
                .ok_or_else(|| StoreError::NoSuchImage(reference.familiar()))?;
            if let Some(record) = state.images.get_mut(&id) {
                record.remove_name(&name);
            }
            Ok(id)
        })
    }
}

/// What a tag can be given to (Docker's rules and texts).
fn tagged(reference: &Reference) -> Result<Reference, StoreError> {
    if reference.digest().is_some() {
        return Err(StoreError::Refused(
            "refusing to create a tag with a digest reference",
        ));
    }
    if reference.familiar_name() == "sha256" {
        return Err(StoreError::Refused(
            "refusing to create an ambiguous tag using digest algorithm as name",
        ));
    }
    match reference.tag() {
        Some(_) => Ok(reference.clone()),
        None => Ok(reference.with_tag(coracle_oci::DEFAULT_TAG)?),
    }
}

/// Moves `name` to the image `id`. Returns the other image that had it.
fn give(
    state: &mut State,
    id: &ImageId,
    name: &Reference,
    target: &Descriptor,
) -> Result<Option<ImageId>, StoreError> {
    let now = Timestamp::now();
    let old = state.by_reference(name).map(|(_, id)| id);
    if let Some(record) = old.as_ref().and_then(|id| state.images.get_mut(id)) {
        record.remove_name(name);
    }
    let record = state
        .images
        .get_mut(id)
        .ok_or_else(|| StoreError::NoSuchImage(id.to_string()))?;
    let entry = Name {
        name: name.clone(),
        target: target.clone(),
        updated: now,
    };
    if name.digest().is_some() {
        record.digests.push(entry);
        record.digests.sort_by(|a, b| a.name.cmp(&b.name));
    } else {
        record.tagged = Some(now);
        record.names.push(entry);
        record.names.sort_by(|a, b| a.name.cmp(&b.name));
    }
    state.names.insert(name.clone(), id.clone());
    Ok(old.filter(|old| old != id))
}
