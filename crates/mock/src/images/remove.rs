//! Removing images with Docker's semantics (`docker rmi`, `docker image prune`).

use coracle_oci::{Digest, Reference};
use coracle_runtime::filter::Filters;
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

use super::{Found, Images};
use crate::ident::short;

/// A container that uses an image.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) image: String,
    pub(crate) container: String,
    pub(crate) running: bool,
}

/// One thing that a removal did.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Untagged(Digest, Reference),
    Deleted(Digest),
    /// A layer that nobody uses any more, with its size.
    Layer(Digest, u64),
}

/// What stands against a removal.
struct Conflict {
    forceable: bool,
    used: bool,
    id: Digest,
    message: String,
}

impl Conflict {
    fn error(self) -> RuntimeError {
        let force = if self.forceable {
            "must be forced"
        } else {
            "cannot be forced"
        };
        let id = self.id.short();
        RuntimeError::InvalidState(format!(
            "conflict: unable to delete {id} ({force}) - {}",
            self.message
        ))
    }
}

struct Removal<'a> {
    images: Images,
    uses: &'a [Use],
    asked: &'a str,
    steps: Vec<Step>,
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
        let found = self.find(text)?;
        self.attempt(&found, text, force, !no_prune, uses)
    }

    fn attempt(
        &mut self,
        found: &Found,
        asked: &str,
        force: bool,
        prune: bool,
        uses: &[Use],
    ) -> Result<Vec<Step>> {
        let mut removal = Removal {
            images: self.clone(),
            uses,
            asked,
            steps: Vec::new(),
        };
        removal.run(found, force, prune)?;
        let Removal { images, steps, .. } = removal;
        let before = std::mem::replace(self, images);
        Ok(self.told(steps, &before))
    }

    /// Each image is followed by the layers, the uppermost first, that went with it.
    fn told(&self, steps: Vec<Step>, before: &Images) -> Vec<Step> {
        let mut kept: Vec<Digest> = self
            .images
            .values()
            .flat_map(|image| image.layers.iter().map(|layer| layer.diff_id.clone()))
            .collect();
        let mut told = Vec::new();
        for step in steps {
            let layers = match &step {
                Step::Deleted(id) => before.images.get(id).map(|image| image.layers.clone()),
                _ => None,
            };
            told.push(step);
            for layer in layers.unwrap_or_default().into_iter().rev() {
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
            let names: Vec<Reference> = image.all_names().cloned().collect();
            let targets = match names.is_empty() {
                true => vec![Found::Id(id.clone())],
                false => names
                    .into_iter()
                    .map(|name| Found::Name(id.clone(), name))
                    .collect(),
            };
            for target in targets {
                let there = self.images.get(&id).is_some_and(|image| match &target {
                    Found::Id(_) => true,
                    Found::Name(_, name) => image.all_names().any(|other| other == name),
                });
                // What is in use stays, without an error.
                if there && let Ok(done) = self.attempt(&target, id.as_str(), false, true, uses) {
                    steps.extend(done);
                }
            }
        }
        steps
    }
}

impl Removal<'_> {
    fn run(&mut self, found: &Found, force: bool, prune: bool) -> Result<()> {
        let id = found.id();
        let references = self.references(id);
        match found {
            Found::Name(_, name) => {
                if !force
                    && is_single(&references)
                    && let Some(user) = self.users(id).next()
                {
                    return Err(RuntimeError::InvalidState(format!(
                        "conflict: unable to remove repository reference {:?} (must force) - \
                         container {} is using its referenced image {}",
                        self.asked,
                        short(&user.container),
                        id.short()
                    )));
                }
                self.untag(id, name);
                if name.digest().is_none() {
                    self.untag_leftover_digests(id, name);
                }
                if self.references(id).is_empty() {
                    self.delete(id, force, prune, true)?;
                }
                Ok(())
            }
            Found::Id(_) => {
                if is_single(&references) {
                    if let Some(conflict) = self.conflict(id, force, false) {
                        return Err(conflict.error());
                    }
                    for name in references {
                        self.untag(id, &name);
                    }
                }
                self.delete(id, force, prune, false)
            }
        }
    }

    /// Deletes the image, then its parents that have no names and no other children.
    fn delete(&mut self, id: &Digest, force: bool, prune: bool, quiet: bool) -> Result<()> {
        let mut next = Some((id.clone(), force, quiet));
        while let Some((id, force, quiet)) = next.take() {
            if let Some(conflict) = self.conflict(&id, force, true) {
                let dangling = self.references(&id).is_empty() && !self.has_children(&id);
                if quiet && (!dangling || conflict.used) {
                    return Ok(());
                }
                return Err(conflict.error());
            }
            for name in self.references(&id) {
                self.untag(&id, &name);
            }
            let Some(image) = self.images.images.remove(&id) else {
                return Ok(());
            };
            self.steps.push(Step::Deleted(id));
            if prune {
                next = image
                    .parent
                    .filter(|parent| self.images.images.contains_key(parent))
                    .map(|parent| (parent, false, true));
            }
        }
        Ok(())
    }

    fn users<'b>(&'b self, id: &'b Digest) -> impl Iterator<Item = &'b Use> {
        self.uses
            .iter()
            .filter(move |user| user.image == id.as_str())
    }

    fn has_children(&self, id: &Digest) -> bool {
        self.images
            .images
            .values()
            .any(|image| image.parent.as_ref() == Some(id))
    }

    fn conflict(&self, id: &Digest, force: bool, check_names: bool) -> Option<Conflict> {
        let conflict = |forceable, used, message: String| {
            Some(Conflict {
                forceable,
                used,
                id: id.clone(),
                message,
            })
        };
        if self.has_children(id) {
            return conflict(false, false, "image has dependent child images".into());
        }
        if let Some(user) = self.users(id).find(|user| user.running) {
            let container = short(&user.container);
            let message = format!("image is being used by running container {container}");
            return conflict(false, true, message);
        }
        if force {
            return None;
        }
        if check_names && !self.references(id).is_empty() {
            return conflict(
                true,
                false,
                "image is referenced in multiple repositories".into(),
            );
        }
        let container = short(&self.users(id).next()?.container).to_owned();
        conflict(
            true,
            true,
            format!("image is being used by stopped container {container}"),
        )
    }

    fn references(&self, id: &Digest) -> Vec<Reference> {
        let image = self.images.images.get(id);
        image
            .map(|image| image.all_names().cloned().collect())
            .unwrap_or_default()
    }

    fn untag(&mut self, id: &Digest, name: &Reference) {
        if let Some(image) = self.images.images.get_mut(id) {
            image.names.retain(|other| other != name);
            image.digests.retain(|other| other != name);
        }
        self.steps.push(Step::Untagged(id.clone(), name.clone()));
    }

    /// With the last tag of a repository its names by digest go too.
    fn untag_leftover_digests(&mut self, id: &Digest, name: &Reference) {
        let references = self.references(id);
        let same =
            |other: &&Reference| other.domain() == name.domain() && other.path() == name.path();
        if references
            .iter()
            .filter(same)
            .any(|other| other.digest().is_none())
        {
            return;
        }
        for other in references.iter().filter(same) {
            self.untag(id, other);
        }
    }
}

/// Whether all names are of one repository, with one tag at most.
fn is_single(references: &[Reference]) -> bool {
    let tags = references
        .iter()
        .filter(|name| name.digest().is_none())
        .count();
    references.first().is_some_and(|first| {
        tags <= 1
            && references
                .iter()
                .all(|name| (name.domain(), name.path()) == (first.domain(), first.path()))
    })
}
