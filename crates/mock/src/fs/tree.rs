//! One tree of nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dir,
    File(Bytes),
    Symlink(String),
    Device { block: bool, numbers: (u32, u32) },
    Fifo,
}

/// A file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Permissions: 12 bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
}

impl Node {
    pub(crate) fn new(kind: Kind, mode: u32) -> Self {
        Self {
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: Timestamp::now(),
        }
    }

    pub(crate) fn dir() -> Self {
        Self::new(Kind::Dir, 0o755)
    }

    pub(crate) fn file(content: impl Into<Bytes>, mode: u32) -> Self {
        Self::new(Kind::File(content.into()), mode)
    }

    pub(crate) fn symlink(target: impl Into<String>) -> Self {
        Self::new(Kind::Symlink(target.into()), 0o777)
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// Bytes, as `stat` tells them.
    pub(crate) fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.len() as u64,
            Kind::Symlink(target) => target.len() as u64,
            Kind::Dir | Kind::Device { .. } | Kind::Fifo => 0,
        }
    }
}

/// Nodes by clean absolute path; `/` is always there. A copy shares the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Arc<Node>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([("/".to_owned(), Arc::new(Node::dir()))]),
        }
    }
}

impl Tree {
    pub(crate) fn get(&self, path: &str) -> Option<&Arc<Node>> {
        self.nodes.get(path)
    }

    /// Puts a node in its place, and missing directories above it.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        let mut above = parent(path);
        while above != "/" && !self.nodes.contains_key(above) {
            self.nodes.insert(above.to_owned(), Arc::new(Node::dir()));
            above = parent(above);
        }
        if !node.is_dir() {
            self.clear(path);
        }
        self.nodes.insert(path.to_owned(), Arc::new(node));
    }

    /// Takes a node away, with all that is below it. The root only loses what is below.
    pub(crate) fn remove(&mut self, path: &str) {
        self.clear(path);
        if path != "/" {
            self.nodes.remove(path);
        }
    }

    /// Takes away all that is below a node.
    pub(crate) fn clear(&mut self, path: &str) {
        let below: Vec<String> = self.below(path).map(|(path, _)| path.to_owned()).collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }

    /// All that is below a directory, however deep, parents before children.
    pub(crate) fn below<'a>(
        &'a self,
        path: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Node>)> {
        let prefix = if path == "/" {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        self.nodes
            .range(prefix.clone()..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(|(path, node)| (path.as_str(), node))
            .filter(|(path, _)| *path != "/")
    }

    /// All nodes, parents before children.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Node>)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Bytes of all files.
    pub(crate) fn size(&self) -> u64 {
        self.nodes.values().map(|node| node.size()).sum()
    }
}

/// The directory that a clean absolute path is in.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => path.get(..end).unwrap_or("/"),
    }
}

/// The last component of a clean absolute path; empty of the root.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// A clean absolute path: that of `path` in `directory`, without looking at links.
pub(crate) fn clean(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let start = if path.starts_with('/') { "" } else { directory };
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A path below a directory.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory == "/" {
        format!("/{name}")
    } else {
        format!("{directory}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(clean("/a/b", "../c/./d"), "/a/c/d");
        assert_eq!(clean("/", "/../.."), "/");
        assert_eq!(
            (parent("/a/b"), parent("/a"), parent("/")),
            ("/a", "/", "/")
        );
        assert_eq!((base("/a/b"), base("/")), ("b", ""));
    }

    #[test]
    fn a_directory_goes_with_what_is_in_it() {
        let mut tree = Tree::default();
        tree.put("/a/b/c", Node::file("x", 0o644));
        tree.put("/a-b", Node::file("y", 0o644));
        assert!(tree.get("/a/b").is_some_and(|node| node.is_dir()));
        let below: Vec<&str> = tree.below("/a").map(|(path, _)| path).collect();
        assert_eq!(below, ["/a/b", "/a/b/c"]);
        tree.remove("/a");
        assert!(tree.get("/a/b/c").is_none());
        assert!(tree.get("/a-b").is_some());
    }
}
