//! How a tree differs from the one it was copied from.

use std::collections::BTreeMap;

use coracle_runtime::container::{Change, ChangeKind};

use super::tree::{Tree, parent};

/// The differences, sorted by path. As with overlayfs, a directory in which something changed has
/// changed itself, and of what was deleted only the top is told.
pub(crate) fn changes(base: &Tree, now: &Tree) -> Vec<Change> {
    let mut found: BTreeMap<String, ChangeKind> = BTreeMap::new();
    for (path, node) in now.iter().filter(|(path, _)| *path != "/") {
        match base.get(path) {
            None => drop(found.insert(path.to_owned(), ChangeKind::Added)),
            Some(old) if old != node => drop(found.insert(path.to_owned(), ChangeKind::Modified)),
            Some(_) => {}
        }
    }
    for (path, _) in base.iter() {
        if now.get(path).is_none() && now.get(parent(path)).is_some_and(|node| node.is_dir()) {
            found.insert(path.to_owned(), ChangeKind::Deleted);
        }
    }
    let changed: Vec<String> = found.keys().cloned().collect();
    for path in changed {
        let mut above = parent(&path);
        while above != "/" {
            found
                .entry(above.to_owned())
                .or_insert(ChangeKind::Modified);
            above = parent(above);
        }
    }
    found
        .into_iter()
        .map(|(path, kind)| Change { path, kind })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Node;

    #[test]
    fn differences_are_told_as_overlayfs_tells_them() {
        let mut base = Tree::default();
        for path in ["/etc/a", "/etc/b", "/gone/x/y", "/same/z"] {
            base.put(path, Node::file("old", 0o644));
        }
        let mut now = base.clone();
        now.put("/etc/a", Node::file("new", 0o644));
        now.put("/dir/f", Node::file("f", 0o644));
        now.remove("/gone");
        let told: Vec<String> = changes(&base, &now)
            .iter()
            .map(|c| format!("{:?} {}", c.kind, c.path))
            .collect();
        assert_eq!(
            told,
            [
                "Added /dir",
                "Added /dir/f",
                "Modified /etc",
                "Modified /etc/a",
                "Deleted /gone"
            ]
        );
        assert!(changes(&base, &base.clone()).is_empty());
    }
}
