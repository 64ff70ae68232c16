//! How much space images take (`docker system df`).

use std::collections::HashMap;
use std::collections::HashSet;

use coracle_oci::Algorithm;
use coracle_oci::Digest;

use crate::Image;
use crate::ImageId;
use crate::Layer;
use crate::Store;
use crate::StoreError;
use crate::gc;

/// The space that images take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all layers, each counted once.
    pub layers: u64,
    /// Bytes of all files in the store, those that wait for collection included.
    pub blobs: u64,
    /// The images, in no order that means anything.
    pub images: Vec<ImageUsage>,
}

/// The space that one image takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image.
    pub id: ImageId,
    /// Bytes of all its layers.
    pub size: u64,
    /// Bytes of the layers that other images have too.
    pub shared: u64,
    /// Bytes of the layers that no other image has.
    pub unique: u64,
}

impl Store {
    /// The space that images take. `size_of` says how large a layer is; where it doesn't know, that
    /// is the size of the layer as stored.
    pub fn usage(&self, size_of: &dyn Fn(&Layer) -> Option<u64>) -> Result<Usage, StoreError> {
        let images = self.images();
        let mut usage = Usage {
            blobs: self.blob_bytes()?,
            ..Usage::default()
        };
        let layers: Vec<Vec<Layer>> = images.iter().map(Image::layers).collect();
        let mut users: HashMap<&Digest, usize> = HashMap::new();
        for layer in layers.iter().flatten() {
            *users.entry(&layer.chain_id).or_default() += 1;
        }
        let mut counted = HashSet::new();
        for (image, layers) in images.iter().zip(&layers) {
            let mut this = ImageUsage {
                id: image.id.clone(),
                size: 0,
                shared: 0,
                unique: 0,
            };
            for layer in layers {
                let size = size_of(layer).unwrap_or(layer.descriptor.size);
                this.size = this.size.saturating_add(size);
                let share = match users.get(&layer.chain_id) {
                    Some(0 | 1) | None => &mut this.unique,
                    Some(_) => &mut this.shared,
                };
                *share = share.saturating_add(size);
                if counted.insert(&layer.chain_id) {
                    usage.layers = usage.layers.saturating_add(size);
                }
            }
            usage.images.push(this);
        }
        Ok(usage)
    }

    fn blob_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes: u64 = 0;
        for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
            let dir = self.inner.root.join("blobs").join(algorithm.as_str());
            for (_, _, size) in gc::list(&dir, algorithm)? {
                bytes = bytes.saturating_add(size);
            }
        }
        Ok(bytes)
    }
}
