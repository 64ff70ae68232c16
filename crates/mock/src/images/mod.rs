//! Images in memory.

pub(crate) mod archive;
pub(crate) mod base;
pub(crate) mod remove;
mod stored;
pub(crate) mod transfer;

use std::collections::{BTreeMap, HashMap};

use coracle_catalog::{Catalog, FindError, Target};
use coracle_oci::{Digest, Platform, Reference};
use coracle_runtime::image::Image;
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

pub(crate) use stored::{Layer, Stored};

/// All images, and those that a simulated registry has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    pub(crate) images: BTreeMap<Digest, Stored>,
    pub(crate) registry: BTreeMap<Reference, Stored>,
}

impl Catalog for Images {
    type Image = Stored;

    fn ids(&self) -> impl Iterator<Item = &Digest> {
        self.images.keys()
    }

    fn contains(&self, id: &Digest) -> bool {
        self.images.contains_key(id)
    }

    fn named(&self, name: &Reference) -> Option<Digest> {
        let mut all = self.images.values();
        let owner = all.find(|image| image.all_names().any(|other| other == name))?;
        Some(owner.id.clone())
    }

    fn names(&self, id: &Digest) -> Vec<Reference> {
        let image = self.images.get(id).into_iter();
        image.flat_map(Stored::all_names).cloned().collect()
    }

    fn has_children(&self, id: &Digest) -> bool {
        let mut all = self.images.values();
        all.any(|image| image.parent.as_ref() == Some(id))
    }

    fn untag(&mut self, id: &Digest, name: &Reference) {
        if let Some(image) = self.images.get_mut(id) {
            image.names.retain(|other| other != name);
            image.digests.retain(|other| other != name);
        }
    }

    fn take(&mut self, id: &Digest) -> Option<(Stored, Option<Digest>)> {
        let image = self.images.remove(id)?;
        let parent = image.parent.clone();
        Some((image, parent))
    }
}

impl Images {
    /// Finds an image: by its full id, a name, or the start of its id.
    pub(crate) fn find(&self, text: &str) -> Result<Target> {
        coracle_catalog::find(self, text).map_err(|error| match error {
            FindError::None(text) => RuntimeError::no_such_image(&text),
            error @ (FindError::Several(_) | FindError::Reference(_)) => {
                RuntimeError::InvalidArgument(error.to_string())
            }
        })
    }

    pub(crate) fn get(&self, text: &str) -> Result<&Stored> {
        let found = self.find(text)?;
        self.images
            .get(found.id())
            .ok_or_else(|| RuntimeError::no_such_image(text))
    }

    /// What a container is to be made from.
    pub(crate) fn for_container(&self, name: &str, platform: Option<&str>) -> Result<&Stored> {
        if name.is_empty() {
            return Err(RuntimeError::InvalidArgument(
                "invalid reference format".into(),
            ));
        }
        let image = self.get(name)?;
        let Some(wanted) = platform.filter(|platform| !platform.is_empty()) else {
            return Ok(image);
        };
        let wanted = parse_platform(wanted)?;
        if wanted.rank(&image.platform()) == Some(0) {
            return Ok(image);
        }
        Err(RuntimeError::ImageNotFound(format!(
            "image with reference {name} was found but its platform ({}) does not match the \
             specified platform ({wanted})",
            image.platform()
        )))
    }

    /// Adds an image, which may be there already, and names it.
    pub(crate) fn add(&mut self, image: Stored, name: Option<&Reference>) -> Digest {
        let id = image.id.clone();
        self.images.entry(id.clone()).or_insert(image);
        if let Some(name) = name {
            self.name(&id, name);
        }
        id
    }

    /// Puts a name on an image, taking it off any other.
    pub(crate) fn name(&mut self, id: &Digest, name: &Reference) {
        for image in self.images.values_mut() {
            image.names.retain(|other| other != name);
            image.digests.retain(|other| other != name);
        }
        if let Some(image) = self.images.get_mut(id) {
            match name.digest() {
                Some(_) => image.digests.push(name.clone()),
                None => {
                    image.names.push(name.clone());
                    image.names.sort_by_key(Reference::familiar);
                    image.tagged = Some(Timestamp::now());
                }
            }
        }
    }

    /// All images, newest first.
    pub(crate) fn list(&self, users: &HashMap<String, u64>, shared: bool) -> Vec<Image> {
        let mut uses: HashMap<&Digest, u32> = HashMap::new();
        for layer in self.images.values().flat_map(|image| &image.layers) {
            *uses.entry(&layer.diff_id).or_default() += 1;
        }
        let mut list: Vec<Image> = self
            .images
            .values()
            .map(|image| {
                let mut described = image.describe();
                described.containers = users.get(&described.id).copied().unwrap_or_default();
                let both = image
                    .layers
                    .iter()
                    .filter(|l| uses.get(&l.diff_id).is_some_and(|n| *n > 1));
                described.shared_size = shared.then(|| both.map(|layer| layer.size).sum());
                described
            })
            .collect();
        list.sort_by_key(|image| std::cmp::Reverse(image.created));
        list
    }

    /// Bytes of all layers, each counted once.
    pub(crate) fn layers_size(&self) -> u64 {
        let layers: BTreeMap<&Digest, u64> = self
            .images
            .values()
            .flat_map(|image| {
                image
                    .layers
                    .iter()
                    .map(|layer| (&layer.diff_id, layer.size))
            })
            .collect();
        layers.values().sum()
    }
}

/// A name as users write it.
pub(crate) fn parse_reference(text: &str) -> Result<Reference> {
    Reference::parse_normalized(text)
        .map_err(|error| RuntimeError::InvalidArgument(error.to_string()))
}

pub(crate) fn parse_platform(text: &str) -> Result<Platform> {
    Platform::parse(text).map_err(|error| RuntimeError::InvalidArgument(error.to_string()))
}

pub(crate) fn invalid(error: coracle_archive::Error) -> RuntimeError {
    RuntimeError::InvalidArgument(error.to_string())
}

/// A name that can be put on an image: one without a digest.
pub(crate) fn parse_tag(text: &str) -> Result<Reference> {
    let reference = parse_reference(text)?;
    match reference.digest() {
        None => Ok(reference),
        Some(_) => Err(RuntimeError::InvalidArgument(
            "refusing to create a tag with a digest reference".into(),
        )),
    }
}
