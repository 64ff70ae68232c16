//! Removing images with Docker's semantics (`docker rmi`, `docker image prune`).

use std::collections::HashSet;

use coracle_oci::Digest;
use coracle_oci::Reference;
use coracle_oci::chain_ids;

use crate::Image;
use crate::ImageId;
use crate::Store;
use crate::StoreError;
use crate::images::Record;
use crate::images::State;
use crate::images::resolve::Found;
use crate::images::resolve::record;

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The container's id.
    pub container: String,
    /// Whether it runs, paused ones included.
    pub running: bool,
}

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

/// Tells which containers use an image.
type InUse<'a> = &'a dyn Fn(&ImageId) -> Vec<ImageUse>;

/// What can stand against a removal; hard conflicts can't be forced.
struct Conflict {
    hard: bool,
    used: bool,
    id: ImageId,
    message: String,
}

impl Conflict {
    fn into_error(self) -> StoreError {
        let force = if self.hard {
            "cannot be forced"
        } else {
            "must be forced"
        };
        let id = self.id.short();
        StoreError::InUse(format!(
            "unable to delete {id} ({force}) - {}",
            self.message
        ))
    }
}

/// A removal under way.
struct Removal<'a> {
    state: &'a mut State,
    in_use: InUse<'a>,
    /// What the user wrote.
    asked: &'a str,
    steps: Vec<Step>,
}

/// What was done to the index.
enum Step {
    Untagged(ImageId, Reference),
    Deleted(Box<Record>),
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
            let found = state.find(text)?;
            let mut removal = Removal {
                state,
                in_use,
                asked: text,
                steps: Vec::new(),
            };
            removal.run(&found, force, !no_prune)?;
            let steps = removal.steps;
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
                let names: Vec<Reference> = record.all_names().map(|n| n.name.clone()).collect();
                let targets: Vec<Found> = match names.is_empty() {
                    true => vec![Found::Id(id.clone())],
                    false => names
                        .into_iter()
                        .map(|n| Found::Name(id.clone(), n))
                        .collect(),
                };
                for target in targets {
                    let still_there = state.images.get(&id).is_some_and(|record| match &target {
                        Found::Id(_) => true,
                        Found::Name(_, name) => record.all_names().any(|n| n.name == *name),
                    });
                    if !still_there {
                        continue;
                    }
                    // A conflict ends this image's removal, not the pruning.
                    let mut attempt = state.clone();
                    let mut removal = Removal {
                        state: &mut attempt,
                        in_use,
                        asked: id.as_str(),
                        steps: Vec::new(),
                    };
                    match removal.run(&target, false, true) {
                        Ok(()) => {
                            steps.append(&mut removal.steps);
                            *state = attempt;
                        }
                        Err(StoreError::InUse(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(self.told(steps, state))
        })
    }

    /// What was done as Docker tells it: each image is followed by the layers, the uppermost first,
    /// that went with it.
    fn told(&self, steps: Vec<Step>, left: &State) -> Vec<Removed> {
        let chains = |record: &Record| {
            let content = self.content(&record.manifest);
            content
                .map(|c| chain_ids(&c.config.rootfs.diff_ids))
                .unwrap_or_default()
        };
        let deleted = steps.iter().any(|step| matches!(step, Step::Deleted(_)));
        let mut kept: HashSet<Digest> = match deleted {
            true => left.images.values().flat_map(chains).collect(),
            false => HashSet::new(),
        };
        let mut removed = Vec::new();
        for step in steps {
            match step {
                Step::Untagged(id, name) => removed.push(Removed::Untagged { name, id }),
                Step::Deleted(record) => {
                    let layers = chains(&record).into_iter().rev();
                    removed.push(Removed::Image(record.id));
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

impl Removal<'_> {
    fn run(&mut self, found: &Found, force: bool, prune: bool) -> Result<(), StoreError> {
        let id = found.id();
        let references = self.references(id);
        match found {
            Found::Name(_, name) => {
                // Docker refuses to make an image dangling that a container uses.
                if !force
                    && is_single(&references)
                    && let Some(user) = (self.in_use)(id).first()
                {
                    return Err(StoreError::InUse(format!(
                        "unable to remove repository reference {:?} (must force) - container {} \
                         is using its referenced image {}",
                        self.asked,
                        short(&user.container),
                        id.short()
                    )));
                }
                self.untag(id, name);
                if name.digest().is_none() {
                    self.untag_leftover_digests(id, name);
                }
                if !self.references(id).is_empty() {
                    return Ok(());
                }
                self.delete(id, force, prune, true)
            }
            Found::Id(_) => {
                if is_single(&references) {
                    if let Some(conflict) = self.conflict(id, force, false) {
                        return Err(conflict.into_error());
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
    fn delete(
        &mut self,
        id: &ImageId,
        force: bool,
        prune: bool,
        quiet: bool,
    ) -> Result<(), StoreError> {
        let mut next = Some((id.clone(), force, quiet));
        while let Some((id, force, quiet)) = next.take() {
            if let Some(conflict) = self.conflict(&id, force, true) {
                // Quietly stop at what is used or has names; an image that would be left dangling
                // is an error.
                let has_children = self.state.children(&id).next().is_some();
                let dangling = self.references(&id).is_empty() && !has_children;
                if quiet && (!dangling || conflict.used) {
                    return Ok(());
                }
                return Err(conflict.into_error());
            }
            for name in self.references(&id) {
                self.untag(&id, &name);
            }
            let Some(record) = self.state.images.remove(&id) else {
                return Ok(());
            };
            let parent = record.parent.clone();
            self.steps.push(Step::Deleted(Box::new(record)));
            if prune {
                next = parent
                    .filter(|parent| self.state.images.contains_key(parent))
                    .map(|parent| (parent, false, true));
            }
        }
        Ok(())
    }

    fn conflict(&self, id: &ImageId, force: bool, check_names: bool) -> Option<Conflict> {
        let conflict = |hard, used, message: String| {
            Some(Conflict {
                hard,
                used,
                id: id.clone(),
                message,
            })
        };
        if self.state.children(id).next().is_some() {
            return conflict(true, false, "image has dependent child images".into());
        }
        let users = (self.in_use)(id);
        if let Some(user) = users.iter().find(|user| user.running) {
            let container = short(&user.container);
            let message = format!("image is being used by running container {container}");
            return conflict(true, true, message);
        }
        if force {
            return None;
        }
        if check_names && !self.references(id).is_empty() {
            return conflict(
                false,
                false,
                "image is referenced in multiple repositories".into(),
            );
        }
        let user = users.first()?;
        let container = short(&user.container);
        conflict(
            false,
            true,
            format!("image is being used by stopped container {container}"),
        )
    }

    fn references(&self, id: &ImageId) -> Vec<Reference> {
        record(self.state, id)
            .map(|record| record.all_names().map(|n| n.name.clone()).collect())
            .unwrap_or_default()
    }

    fn untag(&mut self, id: &ImageId, name: &Reference) {
        if let Some(record) = self.state.images.get_mut(id) {
            record.remove_name(name);
        }
        self.state.names.remove(name);
        self.steps.push(Step::Untagged(id.clone(), name.clone()));
    }

    /// With the last tag of a repository its names by digest go too.
    fn untag_leftover_digests(&mut self, id: &ImageId, name: &Reference) {
        let same_repository =
            |other: &Reference| other.domain() == name.domain() && other.path() == name.path();
        let references = self.references(id);
        if references
            .iter()
            .any(|other| same_repository(other) && other.digest().is_none())
        {
            return;
        }
        for other in references.iter().filter(|other| same_repository(other)) {
            self.untag(id, other);
        }
    }
}

/// Whether all names are of one repository, with one tag at most (moby's `isSingleReference`).
fn is_single(references: &[Reference]) -> bool {
    let tags = references.iter().filter(|r| r.digest().is_none()).count();
    let Some(first) = references.first() else {
        return false;
    };
    tags <= 1
        && references
            .iter()
            .all(|r| (r.domain(), r.path()) == (first.domain(), first.path()))
}

fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}
