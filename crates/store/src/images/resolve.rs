//! From what users write to an image, by Docker's rules.

use coracle_catalog::Catalog;
use coracle_catalog::Target;
use coracle_oci::Descriptor;
use coracle_oci::Platform;
use coracle_oci::Reference;

use crate::Image;
use crate::ImageId;
use crate::Origin;
use crate::Store;
use crate::StoreError;
use crate::images::Record;
use crate::images::State;

impl State {
    /// Finds the image that `text` names: a full id, else a reference, else the start of an id.
    pub(crate) fn find(&self, text: &str) -> Result<Target, StoreError> {
        Ok(coracle_catalog::find(self, text)?)
    }

    /// Looks a name up. If it has a digest, its tag is of no account.
    pub(crate) fn by_reference(&self, reference: &Reference) -> Option<(Reference, ImageId)> {
        coracle_catalog::by_reference(self, reference)
    }
}

impl Catalog for State {
    type Image = Box<Record>;

    fn ids(&self) -> impl Iterator<Item = &ImageId> {
        self.images.keys()
    }

    fn contains(&self, id: &ImageId) -> bool {
        self.images.contains_key(id)
    }

    fn named(&self, name: &Reference) -> Option<ImageId> {
        self.names.get(name).cloned()
    }

    fn names(&self, id: &ImageId) -> Vec<Reference> {
        let record = self.images.get(id).into_iter();
        record
            .flat_map(Record::all_names)
            .map(|n| n.name.clone())
            .collect()
    }

    fn has_children(&self, id: &ImageId) -> bool {
        self.children(id).next().is_some()
    }

    fn untag(&mut self, id: &ImageId, name: &Reference) {
        if let Some(record) = self.images.get_mut(id) {
            record.remove_name(name);
        }
        self.names.remove(name);
    }

    fn take(&mut self, id: &ImageId) -> Option<(Box<Record>, Option<ImageId>)> {
        let record = self.images.remove(id)?;
        let parent = record.parent.clone();
        Some((Box::new(record), parent))
    }
}

impl Store {
    /// The image that `text` names: `busybox`, `busybox:1.36`, `name@digest`, an image id or the
    /// start of one.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`], [`StoreError::Ambiguous`], [`StoreError::Reference`];
    /// [`StoreError::Incomplete`] or [`StoreError::Damaged`] if the image has lost content.
    pub fn image(&self, text: &str) -> Result<Image, StoreError> {
        let state = self.inner.images.state();
        let found = state.find(text)?;
        self.view(record(&state, found.id())?)
    }

    /// The image that `text` names, of this platform. If the name stands for several platforms, the
    /// one asked for becomes an image of its own.
    ///
    /// # Errors
    /// As [`Store::image`]; [`StoreError::PlatformMismatch`] if it is for other platforms only.
    pub fn image_for(&self, text: &str, platform: &Platform) -> Result<Image, StoreError> {
        let image = self.image(text)?;
        if platform.rank(&image.platform) == Some(0) {
            return Ok(image);
        }
        let mismatch = || StoreError::PlatformMismatch {
            image: text.into(),
            found: image.platform.to_string(),
            wanted: platform.to_string(),
        };
        let target = match self.inner.images.state().find(text)? {
            Target::Name(_, name) => self
                .target(&name)
                .unwrap_or_else(|| image.descriptor.clone()),
            Target::Id(_) => image.descriptor.clone(),
        };
        let chosen = self
            .select(&target, Some(platform))
            .map_err(|_| mismatch())?;
        if chosen.digest == image.descriptor.digest {
            return Ok(image);
        }
        let id = self.set_image(None, &chosen, None, Origin::Local)?.id;
        self.image_by_id(&id)
    }

    /// The image with this id.
    pub fn image_by_id(&self, id: &ImageId) -> Result<Image, StoreError> {
        let state = self.inner.images.state();
        self.view(record(&state, id)?)
    }

    /// The id that `text` names, as [`Store::image`] has it, without reading the image.
    pub fn image_id(&self, text: &str) -> Result<ImageId, StoreError> {
        Ok(self.inner.images.state().find(text)?.id().clone())
    }

    /// What a name stands for: a manifest, or an index with the image's manifest in it. It is what a
    /// push sends, and what a pull compares with.
    pub fn target(&self, reference: &Reference) -> Option<Descriptor> {
        let state = self.inner.images.state();
        let (name, id) = state.by_reference(reference)?;
        let record = state.images.get(&id)?;
        record
            .all_names()
            .find(|n| n.name == name)
            .map(|n| n.target.clone())
    }

    /// The names with tags of the repository of `reference`, sorted.
    pub fn tags(&self, reference: &Reference) -> Vec<Reference> {
        let state = self.inner.images.state();
        state
            .names
            .keys()
            .filter(|name| {
                name.digest().is_none()
                    && name.domain() == reference.domain()
                    && name.path() == reference.path()
            })
            .cloned()
            .collect()
    }

    /// All images, in no order that means anything. One that has lost content is left out, with a
    /// warning in the log.
    pub fn images(&self) -> Vec<Image> {
        let state = self.inner.images.state();
        state
            .images
            .values()
            .filter_map(|record| match self.view(record) {
                Ok(image) => Some(image),
                Err(error) => {
                    tracing::warn!("image {} is left out: {error}", record.id);
                    None
                }
            })
            .collect()
    }

    /// The ids of the images that were made from `id` here.
    pub fn children(&self, id: &ImageId) -> Vec<ImageId> {
        self.inner
            .images
            .state()
            .children(id)
            .map(|record| record.id.clone())
            .collect()
    }
}

/// The record of an id.
pub(crate) fn record<'a>(state: &'a State, id: &ImageId) -> Result<&'a Record, StoreError> {
    state
        .images
        .get(id)
        .ok_or_else(|| StoreError::NoSuchImage(id.to_string()))
}
