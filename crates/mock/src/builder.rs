//! Making a mock.

use std::sync::Arc;

use coracle_oci::{Digest, History, Reference};

use crate::engine::Engine;
use crate::fs::{Node, Tree, tar};
use crate::images::base;
use crate::images::{Layer, Stored};

/// A runtime in memory. Cheap to clone; all clones are one runtime.
///
/// ```
/// let runtime = coracle_mock::MockRuntime::new().with_image("busybox");
/// ```
#[derive(Clone)]
pub struct MockRuntime {
    pub(crate) engine: Arc<Engine>,
}

impl Default for MockRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl MockRuntime {
    /// A runtime without anything but the predefined networks.
    #[must_use]
    pub fn new() -> Self {
        Self {
            engine: Arc::new(Engine::new()),
        }
    }

    /// Adds an image like busybox, under this name.
    ///
    /// Images of different names are different images: each says its name in `/etc/image`.
    ///
    /// # Panics
    /// Where the name is no valid reference.
    #[must_use]
    pub fn with_image(self, name: &str) -> Self {
        let (reference, image) = image(name);
        self.engine.lock().images.add(image, Some(&reference));
        self
    }

    /// As [`with_image`](Self::with_image), but the image is in the registry, and is there once it
    /// is pulled.
    ///
    /// # Panics
    /// Where the name is no valid reference.
    #[must_use]
    pub fn with_remote_image(self, name: &str) -> Self {
        let (reference, image) = image(name);
        self.engine.lock().images.registry.insert(reference, image);
        self
    }

    pub(crate) fn emit(&self, name: &str, action: &str) {
        let state = self.engine.lock();
        // It may have removed itself meanwhile.
        if let Ok(entry) = state.container(name) {
            self.engine.emit(entry, action, &[]);
        }
    }
}

/// Built in code, by the test's author: what is wrong with it is the test's own fault.
#[allow(clippy::expect_used)]
fn image(name: &str) -> (Reference, Stored) {
    let reference = Reference::parse_normalized(name).expect("the image's name is a reference");
    let mut tree = base::busybox();
    tree.put(
        "/etc/image",
        Node::file(format!("{}\n", reference.familiar()), 0o644),
    );
    let layer = tar::layer(&Tree::default(), &tree).expect("a tree in memory can be archived");
    let layer = Layer::new(layer).expect("what was archived can be read");
    let history = History {
        created_by: Some(format!(
            "mock {} {}",
            reference.familiar(),
            Digest::sha256(&layer.tar).short()
        )),
        ..History::default()
    };
    let image = Stored::make(None, Some(layer), base::config(), history, None);
    (reference, image.expect("an image of one layer"))
}
