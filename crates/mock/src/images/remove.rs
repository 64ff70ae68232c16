//! Removing images with Docker's semantics (`docker rmi`, `docker image prune`).

use coracle_catalog::{Catalog, Target, User};
use coracle_oci::{Digest, Reference};
use coracle_runtime::filter::Filters;
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

use super::{Images, Stored};

/// A container that uses an image.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) image: String,
    pub(crate) user: User,
}

type Done = coracle_catalog::Step<Stored>;

/// One thing that a removal did, as it is told.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Untagged(Digest, Reference),
    Deleted(Digest),
    /// A layer that nobody uses any more, with its size.
    Layer(Digest, u64),
}

impl Images {
    /// Removes what a text names. On an error nothing has changed.
    pub(crate) fn remove(
        &mut self,
        text: &str,
        force: bool,
        no_prune: bool,
        uses: &[Use],
    ) -> Result<Vec<Step>> {
        let target = self.find(text)?;
        self.attempt(&target, text, force, !no_prune, uses)
    }

    fn attempt(
        &mut self,
        target: &Target,
        asked: &str,
        force: bool,
        prune: bool,
        uses: &[Use],
    ) -> Result<Vec<Step>> {
        let users = |id: &Digest| {
            let users = uses.iter().filter(|user| user.image == id.as_str());
            users.map(|user| user.user.clone()).collect()
        };
        let mut attempt = self.clone();
        let steps = coracle_catalog::remove(&mut attempt, &users, target, asked, force, prune)
            .map_err(|conflict| RuntimeError::InvalidState(format!("conflict: {conflict}")))?;
        *self = attempt;
        Ok(self.told(steps))
    }

    /// Each image is followed by the layers, the uppermost first, that went with it.
    fn told(&self, steps: Vec<Done>) -> Vec<Step> {
        let mut kept: Vec<Digest> = self
            .images
            .values()
            .flat_map(|image| image.layers.iter().map(|layer| layer.diff_id.clone()))
            .collect();
        let mut told = Vec::new();
        for step in steps {
            let layers = match step {
                Done::Untagged(id, name) => {
                    told.push(Step::Untagged(id, name));
                    continue;
                }
                Done::Deleted(id, image) => {
                    told.push(Step::Deleted(id));
                    image.layers
                }
            };
            for layer in layers.into_iter().rev() {
                if !kept.contains(&layer.diff_id) {
                    kept.push(layer.diff_id.clone());
                    told.push(Step::Layer(layer.diff_id, layer.size));
                }
            }
        }
        told
    }

    /// Removes what nobody uses: images without a tag or, with `all`, every one.
    pub(crate) fn prune(
        &mut self,
        all: bool,
        until: &[Timestamp],
        filters: &Filters,
        uses: &[Use],
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let ids: Vec<Digest> = self.images.keys().cloned().collect();
        for id in ids {
            let Some(image) = self.images.get(&id) else {
                continue;
            };
            let has_children = self
                .images
                .values()
                .any(|other| other.parent.as_ref() == Some(&id));
            let referenced = image.all_names().next().is_some();
            let fits = (all || image.names.is_empty())
                && (referenced || !has_children)
                && until
                    .iter()
                    .all(|limit| image.created().is_none_or(|time| time < *limit))
                && filters.labels(&image.config.config.labels);
            if !fits {
                continue;
            }
            for target in coracle_catalog::targets(self, &id) {
                let there = match &target {
                    Target::Id(id) => self.contains(id),
                    Target::Name(_, name) => self.named(name).as_ref() == Some(&id),
                };
                // What is in use stays, without an error.
                if there && let Ok(done) = self.attempt(&target, id.as_str(), false, true, uses) {
                    steps.extend(done);
                }
            }
        }
        steps
    }
}
