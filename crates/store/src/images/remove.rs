//! Removing images with Docker's semantics (`docker rmi`, `docker image prune`).

use std::collections::HashSet;

use coracle_catalog::Catalog;
use coracle_catalog::Step;
use coracle_catalog::Target;
use coracle_catalog::User as ImageUse;
use coracle_oci::Digest;
use coracle_oci::Reference;
use coracle_oci::chain_ids;

use crate::Image;
use crate::ImageId;
use crate::Store;
use crate::StoreError;
use crate::images::Record;
use crate::images::State;

/// One thing that a removal did, in the order in which it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged {
        /// The name.
        name: Reference,
        /// The image that had it.
        id: ImageId,
    },
    /// An image is gone from the index.
    Image(ImageId),
    /// A stack of layers, by chain id, is used by no image any more.
    Layer(Digest),
}

impl Removed {
    /// The text that Docker shows: a short reference, or an id.
    pub fn text(&self) -> String {
        match self {
            Self::Untagged { name, .. } => name.familiar(),
            Self::Image(id) | Self::Layer(id) => id.to_string(),
        }
    }
}

impl Store {
    /// Removes what `text` names: a name, and the image with its last one; or an image by its id.
    ///
    /// `force` removes an image with several names, and one that stopped containers use. Unless
    /// `no_prune`, parents without names go too. Content is freed by the next [`Store::gc`].
    ///
    /// `in_use` is called while the index can't be changed: it must not change it itself.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`] and its like; [`StoreError::InUse`] with Docker's texts.
    pub fn remove(
        &self,
        text: &str,
        force: bool,
        no_prune: bool,
        in_use: &dyn Fn(&ImageId) -> Vec<ImageUse>,
    ) -> Result<Vec<Removed>, StoreError> {
        self.inner.images.change(|state| {
            let target = state.find(text)?;
            let steps = coracle_catalog::remove(state, in_use, &target, text, force, !no_prune)?;
            Ok(self.told(steps, state))
        })
    }

    /// Removes images that nobody uses: those without a tag or, with `all`, every one that no
    /// container uses. `filter` says which may go at all (Docker's `until` and `label`).
    ///
    /// Images in use stay, without an error. `filter` and `in_use` must not change images. Content is freed by the next [`Store::gc`].
    pub fn prune(
        &self,
        all: bool,
        filter: &dyn Fn(&Image) -> bool,
        in_use: &dyn Fn(&ImageId) -> Vec<ImageUse>,
    ) -> Result<Vec<Removed>, StoreError> {
        self.inner.images.change(|state| {
            let mut steps = Vec::new();
            let ids: Vec<ImageId> = state.images.keys().cloned().collect();
            for id in ids {
                // It may have gone as another's parent.
                let Some(record) = state.images.get(&id) else {
                    continue;
                };
                let named = !record.names.is_empty();
                let referenced = named || !record.digests.is_empty();
                let parent_only = !referenced && state.children(&id).next().is_some();
                if parent_only || (named && !all) {
                    continue;
                }
                match self.view(record) {
                    Ok(image) if !filter(&image) => continue,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!("image {id} is not pruned: {error}");
                        continue;
                    }
                }
                for target in coracle_catalog::targets(state, &id) {
                    let still_there = match &target {
                        Target::Id(id) => state.contains(id),
                        Target::Name(_, name) => state.named(name).as_ref() == Some(&id),
                    };
                    if !still_there {
                        continue;
                    }
                    // A conflict ends this image's removal, not the pruning.
                    let mut attempt = state.clone();
                    let asked = id.as_str();
                    let done =
                        coracle_catalog::remove(&mut attempt, in_use, &target, asked, false, true);
                    if let Ok(mut done) = done {
                        steps.append(&mut done);
                        *state = attempt;
                    }
                }
            }
            Ok(self.told(steps, state))
        })
    }

    /// What was done as Docker tells it: each image is followed by the layers, the uppermost first,
    /// that went with it.
    fn told(&self, steps: Vec<Step<Box<Record>>>, left: &State) -> Vec<Removed> {
        let chains = |record: &Record| {
            let content = self.content(&record.manifest);
            content
                .map(|c| chain_ids(&c.config.rootfs.diff_ids))
                .unwrap_or_default()
        };
        let deleted = steps.iter().any(|step| matches!(step, Step::Deleted(..)));
        let mut kept: HashSet<Digest> = match deleted {
            true => left.images.values().flat_map(chains).collect(),
            false => HashSet::new(),
        };
        let mut removed = Vec::new();
        for step in steps {
            match step {
                Step::Untagged(id, name) => removed.push(Removed::Untagged { name, id }),
                Step::Deleted(id, record) => {
                    let layers = chains(&record).into_iter().rev();
                    removed.push(Removed::Image(id));
                    removed.extend(
                        layers
                            .filter(|l| kept.insert(l.clone()))
                            .map(Removed::Layer),
                    );
                }
            }
        }
        removed
    }
}
