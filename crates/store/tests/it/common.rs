//! Stores and images to test with.

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::History;
use coracle_oci::ImageConfig;
use coracle_oci::Index;
use coracle_oci::Manifest;
use coracle_oci::Platform;
use coracle_oci::Reference;
use coracle_oci::RootFs;
use coracle_oci::media;
use coracle_store::ImageId;
use coracle_store::Lease;
use coracle_store::Origin;
use coracle_store::Store;
use tempfile::TempDir;

/// A store in a directory of its own.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    /// Closes the store and opens it again.
    pub(crate) fn reopen(self) -> Self {
        let Self { dir, store } = self;
        drop(store);
        let store = Store::open(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    pub(crate) fn gc(&self) -> coracle_store::Collected {
        self.store.gc(&Vec::new).unwrap()
    }

    /// The files in a directory of the store.
    pub(crate) fn files(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.store.root().join(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// An image with these layers (contents of the one file in each) and a tag.
    pub(crate) fn image(&self, name: &str, layers: &[&str]) -> ImageId {
        let lease = self.store.lease();
        let manifest = put_image(&self.store, &lease, layers, "linux/amd64");
        self.store
            .set_image(Some(&reference(name)), &manifest, None, Origin::Local)
            .unwrap()
            .id
    }

    /// As if it had been pulled: named by digest too.
    pub(crate) fn pulled(&self, name: &str, layers: &[&str]) -> ImageId {
        let lease = self.store.lease();
        let manifest = put_image(&self.store, &lease, layers, "linux/amd64");
        self.store
            .set_image(Some(&reference(name)), &manifest, None, Origin::Registry)
            .unwrap()
            .id
    }
}

pub(crate) fn reference(text: &str) -> Reference {
    Reference::parse_normalized(text).unwrap()
}

/// A tar with one file.
pub(crate) fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

/// A layer tar that holds this text.
pub(crate) fn layer(text: &str) -> Vec<u8> {
    tar("file", text.as_bytes())
}

/// Puts an image's content into the store, without naming it.
pub(crate) fn put_image(
    store: &Store,
    lease: &Lease,
    layers: &[&str],
    platform: &str,
) -> Descriptor {
    let platform = Platform::parse(platform).unwrap();
    let layers: Vec<Vec<u8>> = layers.iter().map(|text| layer(text)).collect();
    let config = ImageConfig {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        created: Some("2024-05-01T10:00:00Z".into()),
        rootfs: RootFs::new(layers.iter().map(|l| Digest::sha256(l)).collect()),
        history: vec![History {
            created_by: Some("test".into()),
            ..History::default()
        }],
        ..ImageConfig::default()
    };
    let descriptors = layers
        .iter()
        .map(|bytes| store.put_bytes(lease, media::OCI_LAYER, bytes).unwrap())
        .collect();
    let config = serde_json::to_vec(&config).unwrap();
    let config = store.put_bytes(lease, media::OCI_CONFIG, &config).unwrap();
    let manifest = serde_json::to_vec(&Manifest::oci(config, descriptors)).unwrap();
    let mut descriptor = store
        .put_bytes(lease, media::OCI_MANIFEST, &manifest)
        .unwrap();
    descriptor.platform = Some(platform);
    descriptor
}

/// Puts an index into the store.
pub(crate) fn put_index(store: &Store, lease: &Lease, manifests: Vec<Descriptor>) -> Descriptor {
    let bytes = serde_json::to_vec(&Index::oci(manifests)).unwrap();
    store.put_bytes(lease, media::OCI_INDEX, &bytes).unwrap()
}
