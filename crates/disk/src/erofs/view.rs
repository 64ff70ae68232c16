//! What the layers above hide.

use std::collections::HashMap;
use std::rc::Rc;

use super::tree::{Id, Tree, What};

/// The layers above the one that is being read.
pub(super) struct View {
    /// Their roots.
    above: Rc<[Id]>,
    /// The same directory in those of them that have it; None where one of them hides all that is
    /// in it. By the directory in the layer itself.
    seen: HashMap<Id, Option<Rc<[Id]>>>,
}

impl View {
    pub(super) fn new(above: Vec<Id>) -> View {
        View {
            above: above.into(),
            seen: HashMap::new(),
        }
    }

    /// Whether a file would be hidden that has this name in a directory of the layer.
    pub(super) fn hides(&mut self, tree: &Tree, dir: Id, name: &[u8]) -> bool {
        if self.above.is_empty() {
            return false;
        }
        match self.of(tree, dir) {
            None => true,
            Some(above) => above.iter().any(|up| tree.child(*up, name).is_some()),
        }
    }

    fn of(&mut self, tree: &Tree, dir: Id) -> Option<Rc<[Id]>> {
        // From the directory up to one that is known, and down again.
        let mut path = Vec::new();
        let mut at = dir;
        let mut above = loop {
            if let Some(seen) = self.seen.get(&at) {
                break seen.clone();
            }
            path.push(at);
            match tree.dir(at) {
                Some(dir) if dir.parent != at => at = dir.parent,
                _ => break None,
            }
        };
        while let Some(at) = path.pop() {
            above = match tree.dir(at) {
                Some(dir) if dir.parent != at => {
                    above.and_then(|above| below(tree, &above, &dir.name))
                }
                _ => Some(Rc::clone(&self.above)),
            };
            self.seen.insert(at, above.clone());
        }
        above
    }
}

/// What has this name in any of these directories; None where that hides what layers below have.
fn below(tree: &Tree, dirs: &[Id], name: &[u8]) -> Option<Rc<[Id]>> {
    let mut found = Vec::new();
    for id in dirs.iter().filter_map(|dir| tree.child(*dir, name)) {
        match &tree.get(id).what {
            What::Directory(dir) if !dir.opaque => found.push(id),
            _ => return None,
        }
    }
    Some(found.into())
}
