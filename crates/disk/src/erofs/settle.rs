//! Hard links to what only the layers below have.

use coracle_archive::Error;

use super::layer::{Layer, Link};
use super::name::Name;
use super::tree::{Id, Tree, What};
use crate::error::{Result, shown};

/// Makes a layer's open hard links, with all layers below laid over each other in `below`. As
/// overlayfs does before something is written, the target becomes a part of the layer, with the
/// same contents.
pub(super) fn settle(tree: &mut Tree, layer: &Layer, below: Id) -> Result<()> {
    for link in &layer.links {
        // Something replaced it, or its directory, later on.
        let place = tree.find(layer.root, &link.dir);
        let Some(place) = place
            .filter(|place| tree.get(*place).is_dir() && tree.child(*place, &link.name).is_none())
        else {
            continue;
        };
        let (parent, base) = link.target.split();
        let dir = parents(tree, layer.root, parent)?;
        let id = match tree.child(dir, base) {
            Some(id) if matches!(tree.get(id).what, What::Whiteout) => {
                return Err(missing(&link.name, &link.target).into());
            }
            Some(id) if tree.get(id).is_dir() => return Err(to_directory(link).into()),
            Some(id) => id,
            None => {
                let found = tree
                    .find(below, link.target.as_bytes())
                    .ok_or_else(|| missing(&link.name, &link.target))?;
                if let What::File(contents) = &tree.get(found).what {
                    let memory = contents.memory();
                    tree.charge(memory)?;
                }
                let copy = tree.get(found).clone();
                if copy.is_dir() {
                    return Err(to_directory(link).into());
                }
                let copy = tree.add(copy)?;
                tree.name(dir, base, copy)?;
                copy
            }
        };
        // The target's own directory may have come where the link belongs.
        if tree.child(place, &link.name).is_some() {
            return Err(missing(&link.name, &link.target).into());
        }
        tree.name(place, &link.name, id)?;
    }
    Ok(())
}

/// The lowest layer has none below.
pub(super) fn refuse(layer: &Layer) -> Result<()> {
    match layer.links.first() {
        None => Ok(()),
        Some(link) => Err(missing(&link.name, &link.target).into()),
    }
}

fn to_directory(link: &Link) -> Error {
    Error::LinkToDirectory {
        path: shown(&link.name),
        target: shown(link.target.as_bytes()),
    }
}

fn missing(path: &[u8], target: &Name) -> Error {
    Error::LinkTargetMissing {
        path: shown(path),
        target: shown(target.as_bytes()),
    }
}

/// The directory at a path in the layer, made as it is below where it is missing.
fn parents(tree: &mut Tree, root: Id, path: &[u8]) -> Result<Id> {
    let mut dir = root;
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        dir = match tree.child(dir, part) {
            None => tree.add_dir(dir, part)?,
            Some(id) if tree.get(id).is_dir() => id,
            Some(_) => return Err(Error::NotADirectory { path: shown(path) }.into()),
        };
    }
    Ok(dir)
}
