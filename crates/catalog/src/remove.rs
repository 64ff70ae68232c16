//! `docker rmi` and `docker image prune`: what goes, and what stands against it
//! (moby's `daemon/images/image_delete.go`).

use std::fmt;

use coracle_oci::{Digest, Reference};

use crate::{Catalog, Target};

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The container's id.
    pub container: String,
    /// Whether it runs, paused ones included.
    pub running: bool,
}

/// One thing that a removal did, in the order in which it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// A name was taken off an image.
    Untagged(Digest, Reference),
    /// An image is gone.
    Deleted(Digest, T),
}

/// What stands against a removal; displayed in Docker's words, but for the leading `conflict: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    about: About,
    /// Whether a container uses the image.
    used: bool,
    why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    /// The image; whether force helps.
    Image { id: Digest, forceable: bool },
    /// Its last name.
    Name(String),
}

impl std::error::Error for Conflict {}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.about {
            About::Image { id, forceable } => {
                let force = match forceable {
                    true => "must be forced",
                    false => "cannot be forced",
                };
                write!(
                    f,
                    "unable to delete {} ({force}) - {}",
                    id.short(),
                    self.why
                )
            }
            About::Name(name) => write!(
                f,
                "unable to remove repository reference {name:?} (must force) - {}",
                self.why
            ),
        }
    }
}

/// Removes a name, and the image with its last one; or an image with all names, if they are of one
/// repository.
///
/// `force` removes an image of several repositories, and one that stopped containers use. With `prune`
/// go parents without names. `users` tells who uses an image; `asked` is what the user wrote.
///
/// # Errors
/// What stands against it. Some of it may be done by then.
pub fn remove<C: Catalog>(
    catalog: &mut C,
    users: &dyn Fn(&Digest) -> Vec<User>,
    target: &Target,
    asked: &str,
    force: bool,
    prune: bool,
) -> Result<Vec<Step<C::Image>>, Conflict> {
    let mut removal = Removal {
        catalog,
        users,
        steps: Vec::new(),
    };
    removal.run(target, asked, force, prune)?;
    Ok(removal.steps)
}

/// What pruning an image removes one by one: its names, or an image that has none.
pub fn targets<C: Catalog>(catalog: &C, id: &Digest) -> Vec<Target> {
    let names = catalog.names(id);
    match names.is_empty() {
        true => vec![Target::Id(id.clone())],
        false => {
            let named = names.into_iter().map(|name| Target::Name(id.clone(), name));
            named.collect()
        }
    }
}

/// A removal under way.
struct Removal<'a, C: Catalog> {
    catalog: &'a mut C,
    users: &'a dyn Fn(&Digest) -> Vec<User>,
    steps: Vec<Step<C::Image>>,
}

impl<C: Catalog> Removal<'_, C> {
    fn run(
        &mut self,
        target: &Target,
        asked: &str,
        force: bool,
        prune: bool,
    ) -> Result<(), Conflict> {
        let id = target.id();
        let names = self.catalog.names(id);
        match target {
            Target::Name(_, name) => {
                // Docker refuses to make an image dangling that a container uses.
                if !force
                    && is_single(&names)
                    && let Some(user) = (self.users)(id).first()
                {
                    let container = short(&user.container);
                    let image = id.short();
                    return Err(Conflict {
                        about: About::Name(asked.to_owned()),
                        used: true,
                        why: format!("container {container} is using its referenced image {image}"),
                    });
                }
                self.untag(id, name);
                if name.digest().is_none() {
                    self.untag_leftover_digests(id, name);
                }
                match self.catalog.names(id).is_empty() {
                    true => self.delete(id, force, prune, true),
                    false => Ok(()),
                }
            }
            Target::Id(_) => {
                if is_single(&names) {
                    if let Some(conflict) = self.conflict(id, force, false) {
                        return Err(conflict);
                    }
                    for name in names {
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
        id: &Digest,
        force: bool,
        prune: bool,
        quiet: bool,
    ) -> Result<(), Conflict> {
        let mut next = Some((id.clone(), force, quiet));
        while let Some((id, force, quiet)) = next.take() {
            if let Some(conflict) = self.conflict(&id, force, true) {
                // Quietly stops at what is used or has names; an image that would be left dangling
                // is an error.
                let dangling =
                    self.catalog.names(&id).is_empty() && !self.catalog.has_children(&id);
                if quiet && (!dangling || conflict.used) {
                    return Ok(());
                }
                return Err(conflict);
            }
            for name in self.catalog.names(&id) {
                self.untag(&id, &name);
            }
            let Some((image, parent)) = self.catalog.take(&id) else {
                return Ok(());
            };
            self.steps.push(Step::Deleted(id, image));
            if prune {
                next = parent
                    .filter(|parent| self.catalog.contains(parent))
                    .map(|parent| (parent, false, true));
            }
        }
        Ok(())
    }

    fn conflict(&self, id: &Digest, force: bool, check_names: bool) -> Option<Conflict> {
        let conflict = |forceable, used, why: String| {
            let id = id.clone();
            Some(Conflict {
                about: About::Image { id, forceable },
                used,
                why,
            })
        };
        if self.catalog.has_children(id) {
            return conflict(false, false, "image has dependent child images".into());
        }
        let users = (self.users)(id);
        if let Some(user) = users.iter().find(|user| user.running) {
            let container = short(&user.container);
            let why = format!("image is being used by running container {container}");
            return conflict(false, true, why);
        }
        if force {
            return None;
        }
        if check_names && !self.catalog.names(id).is_empty() {
            let why = "image is referenced in multiple repositories";
            return conflict(true, false, why.into());
        }
        let container = short(&users.first()?.container);
        let why = format!("image is being used by stopped container {container}");
        conflict(true, true, why)
    }

    fn untag(&mut self, id: &Digest, name: &Reference) {
        self.catalog.untag(id, name);
        self.steps.push(Step::Untagged(id.clone(), name.clone()));
    }

    /// With the last tag of a repository its names by digest go too.
    fn untag_leftover_digests(&mut self, id: &Digest, name: &Reference) {
        let mut left = self.catalog.names(id);
        left.retain(|other| is_of_one_repository(other, name));
        if left.iter().all(|other| other.digest().is_some()) {
            for other in &left {
                self.untag(id, other);
            }
        }
    }
}

/// Whether all names are of one repository, with one tag at most (moby's `isSingleReference`).
fn is_single(names: &[Reference]) -> bool {
    let tags = names.iter().filter(|name| name.digest().is_none()).count();
    names.first().is_some_and(|first| {
        tags <= 1 && names.iter().all(|name| is_of_one_repository(name, first))
    })
}

fn is_of_one_repository(one: &Reference, other: &Reference) -> bool {
    (one.domain(), one.path()) == (other.domain(), other.path())
}

fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}
