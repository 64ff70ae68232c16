//! Images made of noise: the client doesn't look into layers.

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Platform;
use coracle_oci::media;
use coracle_store::Store;
use serde_json::json;

/// A manifest and everything that it names.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) manifest: (Descriptor, Vec<u8>),
    /// The configuration first, then the layers.
    pub(crate) blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// The same bytes for the same seed.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

impl Image {
    /// An image for this machine with layers of these sizes.
    pub(crate) fn new(seed: u64, sizes: &[usize]) -> Self {
        Self::for_platform(seed, sizes, &Platform::host())
    }

    pub(crate) fn for_platform(seed: u64, sizes: &[usize], platform: &Platform) -> Self {
        let mut layers = Vec::new();
        for (at, size) in sizes.iter().enumerate() {
            let bytes = noise(seed * 1000 + at as u64, *size);
            layers.push((Descriptor::of(media::OCI_LAYER_GZIP, &bytes), bytes));
        }
        Self::of(layers, seed, platform)
    }

    pub(crate) fn of(layers: Vec<(Descriptor, Vec<u8>)>, seed: u64, platform: &Platform) -> Self {
        let diff_ids: Vec<Digest> = layers.iter().map(|(_, b)| Digest::sha256(b)).collect();
        let config = json!({
            "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
            "author": format!("seed {seed}"), "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let mut blobs = vec![(Descriptor::of(media::OCI_CONFIG, &config), config)];
        blobs.extend(layers);
        let descriptors: Vec<&Descriptor> = blobs.iter().map(|(d, _)| d).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": descriptors[0], "layers": descriptors[1..],
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        Self {
            manifest: (Descriptor::of(media::OCI_MANIFEST, &manifest), manifest),
            blobs,
        }
    }

    pub(crate) fn layer(&self, index: usize) -> &(Descriptor, Vec<u8>) {
        &self.blobs[index + 1]
    }

    /// Whether the store has all of it, bit for bit.
    pub(crate) fn is_in(&self, store: &Store) -> bool {
        self.blobs
            .iter()
            .chain([&self.manifest])
            .all(|(descriptor, bytes)| {
                store.blob(&descriptor.digest).unwrap().is_some_and(|blob| {
                    std::fs::read(blob.path).unwrap() == *bytes && blob.size == descriptor.size
                })
            })
    }

    /// Puts all of it into a store.
    pub(crate) fn put(&self, store: &Store) {
        let lease = store.lease();
        for (descriptor, bytes) in self.blobs.iter().chain([&self.manifest]) {
            put(store, &lease, descriptor, bytes);
        }
    }
}

pub(crate) fn put(
    store: &Store,
    lease: &coracle_store::Lease,
    descriptor: &Descriptor,
    bytes: &[u8],
) {
    let mut ingest = store.ingest(lease, Some(descriptor)).unwrap();
    ingest.write(bytes).unwrap();
    ingest.commit().unwrap();
}

/// An index of images for several platforms.
pub(crate) fn index(images: &[(&Image, Option<Platform>)]) -> (Descriptor, Vec<u8>) {
    let entries = images.iter().map(|(image, platform)| {
        let mut entry = image.manifest.0.clone();
        entry.platform = platform.clone();
        entry
    });
    let entries: Vec<Descriptor> = entries.collect();
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": entries});
    let bytes = serde_json::to_vec(&index).unwrap();
    (Descriptor::of(media::OCI_INDEX, &bytes), bytes)
}
