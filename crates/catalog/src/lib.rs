//! Which image a text names, and what removing an image takes: Docker's rules, over any table of
//! images ([`Catalog`]). The store and the mock have one each.
//!
//! It knows names and ids, and neither content nor files. A removal changes its table step by step; one
//! that fails may have changed it, so it is given a copy where that matters.

#![forbid(unsafe_code)]

mod find;
mod remove;

use coracle_oci::{Digest, Reference};

pub use find::{FindError, by_reference, find};
pub use remove::{Conflict, Step, User, remove, targets};

/// A table of images: which there are, what they are called, and what was made from what.
pub trait Catalog {
    /// What is left of an image that is taken out.
    type Image;

    /// The ids of all images.
    fn ids(&self) -> impl Iterator<Item = &Digest>;

    /// Whether there is an image of this id.
    fn contains(&self, id: &Digest) -> bool;

    /// The image of exactly this name.
    fn named(&self, name: &Reference) -> Option<Digest>;

    /// The names of an image, those by digest last; none if there is no such image.
    fn names(&self, id: &Digest) -> Vec<Reference>;

    /// Whether other images were made from this one here.
    fn has_children(&self, id: &Digest) -> bool;

    /// Takes a name off an image.
    fn untag(&mut self, id: &Digest, name: &Reference);

    /// Takes an image out, and tells what it was made from.
    fn take(&mut self, id: &Digest) -> Option<(Self::Image, Option<Digest>)>;
}

/// What a text turned out to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An image, by (the start of) its id.
    Id(Digest),
    /// An image, by one of its names.
    Name(Digest, Reference),
}

impl Target {
    /// The image's id.
    #[must_use]
    pub fn id(&self) -> &Digest {
        match self {
            Self::Id(id) | Self::Name(id, _) => id,
        }
    }
}

#[cfg(test)]
mod tests;
