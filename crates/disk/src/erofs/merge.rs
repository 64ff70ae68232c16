//! Lays a layer over those below it, as overlayfs does.

use std::rc::Rc;

use super::tree::{Directory, Id, Tree, What};

/// Moves into the layer `upper` what of `lower` it doesn't hide.
pub(super) fn merge(tree: &mut Tree, upper: Id, lower: Id) {
    // Directories that both have, and whether something above hides the lower one.
    let mut pairs = vec![(upper, lower, false)];
    while let Some((upper, lower, hidden)) = pairs.pop() {
        let opaque = tree.dir(upper).is_none_or(|dir| dir.opaque);
        if !opaque {
            adopt(tree, upper, lower);
        }
        if opaque || hidden {
            // As in unpacked layers, attributes are taken from what is hidden, too.
            let dirs = tree.dir(upper).into_iter().flat_map(|dir| &dir.children);
            for (name, found) in dirs {
                let below = tree.child(lower, name);
                if let Some(id) = below.filter(|id| tree.get(*id).is_dir())
                    && tree.get(*found).is_dir()
                {
                    pairs.push((*found, id, true));
                }
            }
            continue;
        }
        let Some(children) = tree
            .dir_mut(lower)
            .map(|dir| std::mem::take(&mut dir.children))
        else {
            continue;
        };
        for (name, id) in children {
            match tree.child(upper, &name) {
                Some(found) if tree.get(found).is_dir() && tree.get(id).is_dir() => {
                    pairs.push((found, id, false));
                }
                Some(_) => {}
                None => {
                    if let What::Directory(dir) = &mut tree.get_mut(id).what {
                        dir.parent = upper;
                    }
                    if let Some(dir) = tree.dir_mut(upper) {
                        dir.children.insert(name, id);
                    }
                }
            }
        }
    }
}

/// Gives a directory that no entry describes the attributes of the one below.
fn adopt(tree: &mut Tree, upper: Id, lower: Id) {
    if !tree.dir(upper).is_some_and(|dir| dir.implied) {
        return;
    }
    let from = tree.get(lower);
    let (mode, uid, gid, mtime) = (from.mode, from.uid, from.gid, from.mtime);
    let xattrs = Rc::clone(&from.xattrs);
    let to = tree.get_mut(upper);
    (to.mode, to.uid, to.gid, to.mtime, to.xattrs) = (mode, uid, gid, mtime, xattrs);
}

/// Removes what only says that something isn't there.
pub(super) fn drop_whiteouts(tree: &mut Tree, root: Id) {
    let mut dirs = vec![root];
    while let Some(dir) = dirs.pop() {
        let Some(found) = tree.dir(dir) else { continue };
        let is_whiteout = |id: Id| matches!(tree.get(id).what, What::Whiteout);
        let any = found.children.values().any(|id| is_whiteout(*id));
        dirs.extend(found.children.values().filter(|id| tree.get(**id).is_dir()));
        if any {
            let kept = found.children.iter().filter(|(_, id)| !is_whiteout(**id));
            let kept = kept.map(|(name, id)| (name.clone(), *id)).collect();
            if let Some(Directory { children, .. }) = tree.dir_mut(dir) {
                *children = kept;
            }
        }
    }
}
