//! Images from an archive (`docker load`): an OCI image layout, or a docker-archive of any age.
//!
//! The archive is read once, as a stream. Each file goes to a stage file, is hashed on the way, and
//! becomes a blob only when everything has been checked: an archive that is refused leaves nothing.

mod docker;
mod layout;
mod members;

use std::collections::BTreeSet;
use std::io::Read;

use coracle_archive::Decompressor;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Reference;

use crate::ArchiveError;
use crate::ImageId;
use crate::Origin;
use crate::Store;
use crate::StoreError;
use crate::load::members::Members;
use crate::stream::Source;
use crate::stream::blame;

/// Images of one archive.
const MAX_IMAGES: usize = 1000;

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress<'a> {
    /// The file of the archive that is being read.
    pub name: &'a str,
    /// Bytes of it that were read.
    pub done: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// What an archive brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The images, in the archive's order.
    pub images: Vec<LoadedImage>,
}

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its id.
    pub id: ImageId,
    /// The names that it got, sorted.
    pub references: Vec<Reference>,
    /// The images that had these names before.
    pub replaced: Vec<ImageId>,
}

/// An image found in an archive, before anything of it is visible.
pub(crate) struct Candidate {
    id: ImageId,
    target: Target,
    names: Vec<Reference>,
}

/// What the names of an image will stand for.
pub(crate) enum Target {
    /// A document of the archive.
    Given(Descriptor),
    /// A document that is yet to be made and stored.
    Made {
        descriptor: Descriptor,
        bytes: Vec<u8>,
    },
}

impl Target {
    fn descriptor(&self) -> &Descriptor {
        match self {
            Self::Given(descriptor) | Self::Made { descriptor, .. } => descriptor,
        }
    }
}

/// Everything that an archive will bring.
#[derive(Default)]
pub(crate) struct Found {
    /// Images in the archive's order.
    candidates: Vec<Candidate>,
    /// The files that they need.
    needed: BTreeSet<Digest>,
}

impl Found {
    fn need(&mut self, digest: &Digest) {
        self.needed.insert(digest.clone());
    }

    fn add(&mut self, candidate: Candidate) -> Result<(), StoreError> {
        if self.candidates.len() >= MAX_IMAGES {
            return Err(ArchiveError::TooMany {
                what: "images",
                max: MAX_IMAGES,
            }
            .into());
        }
        self.candidates.push(candidate);
        Ok(())
    }
}

impl Store {
    /// Loads the images of an archive, which may be compressed with gzip or zstd.
    ///
    /// # Errors
    /// [`StoreError::Archive`] and the errors of manifests and configurations if it isn't valid;
    /// [`StoreError::Stream`] if `archive` fails. Nothing is left then.
    pub fn load(
        &self,
        archive: impl Read,
        progress: &mut dyn FnMut(LoadProgress<'_>),
    ) -> Result<Loaded, StoreError> {
        let lease = self.lease();
        let mut source = Source::new(archive);
        let result = Decompressor::new(&mut source)
            .map_err(|error| ArchiveError::Tar(error).into())
            .and_then(|stream| Members::read(self, &lease, stream, progress));
        let mut members = match result {
            Err(StoreError::Archive(ArchiveError::Tar(error))) => {
                return Err(blame(source.failure, error, "reading the archive"));
            }
            other => other?,
        };
        if source.bytes == 0 {
            return Err(ArchiveError::Empty.into());
        }
        let mut found = Found::default();
        let is_layout = layout::find(&members, &mut found)?;
        let is_docker = docker::find(&members, &mut found)?;
        if !is_layout && !is_docker {
            return Err(match members.has("repositories") {
                true => ArchiveError::Legacy,
                false => ArchiveError::NotAnImage,
            }
            .into());
        }
        if found.candidates.is_empty() {
            return Err(ArchiveError::NoImage.into());
        }
        for digest in &found.needed {
            members.commit(digest)?;
        }
        let mut loaded = Loaded::default();
        for candidate in found.candidates {
            if let Target::Made { descriptor, bytes } = &candidate.target {
                self.put_bytes(&lease, &descriptor.media_type, bytes)?;
            }
            self.adopt(candidate, &mut loaded)?;
        }
        Ok(loaded)
    }

    /// Makes an image of content that is in the store now.
    fn adopt(&self, candidate: Candidate, loaded: &mut Loaded) -> Result<(), StoreError> {
        let target = candidate.target.descriptor();
        let names: Vec<Option<&Reference>> = match candidate.names.is_empty() {
            true => vec![None],
            false => candidate.names.iter().map(Some).collect(),
        };
        for name in names {
            let set = self.set_image(name, target, None, Origin::Local)?;
            let at = match loaded.images.iter().position(|image| image.id == set.id) {
                Some(at) => at,
                None => {
                    loaded.images.push(LoadedImage {
                        id: set.id,
                        references: Vec::new(),
                        replaced: Vec::new(),
                    });
                    loaded.images.len() - 1
                }
            };
            if let Some(image) = loaded.images.get_mut(at) {
                image.references.extend(name.cloned());
                image.references.sort();
                image.references.dedup();
                image.replaced.extend(set.old);
            }
        }
        Ok(())
    }
}
