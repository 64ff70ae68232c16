//! What a container sees: its own tree, with others mounted in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;

use super::tree::{Kind, Node, Tree, base, clean, join, parent};

/// Links followed before a path is given up (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// Why a path can't be used; the texts are strerror(3)'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FsError {
    NotFound,
    NotADirectory,
    IsADirectory,
    Exists,
    NotEmpty,
    ReadOnly,
    Loop,
}

impl FsError {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotFound => "No such file or directory",
            Self::NotADirectory => "Not a directory",
            Self::IsADirectory => "Is a directory",
            Self::Exists => "File exists",
            Self::NotEmpty => "Directory not empty",
            Self::ReadOnly => "Read-only file system",
            Self::Loop => "Too many levels of symbolic links",
        }
    }
}

/// A tree mounted in another.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Clean absolute path.
    pub(crate) destination: String,
    pub(crate) tree: Arc<Mutex<Tree>>,
    pub(crate) writable: bool,
}

/// A container's file system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fs {
    pub(crate) root: Tree,
    pub(crate) read_only: bool,
    pub(crate) mounts: Vec<Mount>,
    /// What is there without being in the root: devices, `/etc/hosts` and the like.
    pub(crate) special: BTreeMap<String, Arc<Node>>,
}

impl Fs {
    fn mount(&self, path: &str) -> Option<(&Mount, String)> {
        self.mounts
            .iter()
            .filter(|mount| {
                path.strip_prefix(mount.destination.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .max_by_key(|mount| mount.destination.len())
            .map(|mount| {
                let rest = path.get(mount.destination.len()..).unwrap_or_default();
                (mount, clean("/", rest))
            })
    }

    /// The node of a clean path in which no link needs to be followed.
    pub(crate) fn get(&self, path: &str) -> Option<Arc<Node>> {
        if let Some((mount, rest)) = self.mount(path) {
            let tree = mount.tree.lock().unwrap_or_else(PoisonError::into_inner);
            return tree.get(&rest).cloned();
        }
        self.special
            .get(path)
            .or_else(|| self.root.get(path))
            .cloned()
    }

    /// Whether a path may be written to.
    pub(crate) fn writable(&self, path: &str) -> bool {
        match self.mount(path) {
            Some((mount, _)) => mount.writable,
            None => !self.read_only && !self.special.contains_key(path),
        }
    }

    pub(crate) fn put(&mut self, path: &str, node: Node) -> Result<(), FsError> {
        if !self.writable(path) {
            return Err(FsError::ReadOnly);
        }
        self.change(path, |tree, path| tree.put(path, node));
        self.touch_dir(parent(path));
        Ok(())
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Tree, &str)) {
        if let Some((mount, rest)) = self.mount(path) {
            let tree = mount.tree.clone();
            change(
                &mut tree.lock().unwrap_or_else(PoisonError::into_inner),
                &rest,
            );
        } else {
            change(&mut self.root, path);
        }
    }

    /// A directory changes when what is in it comes or goes.
    fn touch_dir(&mut self, path: &str) {
        self.change(path, |tree, path| {
            if let Some(node) = tree.get(path).filter(|node| node.is_dir()) {
                let mut node = Node::clone(node);
                node.mtime = Timestamp::now();
                tree.put(path, node);
            }
        });
    }

    /// The clean path without links that a path stands for. Its last component may be missing; with
    /// `follow` it is no link.
    pub(crate) fn resolve(
        &self,
        directory: &str,
        path: &str,
        follow: bool,
    ) -> Result<String, FsError> {
        if path.is_empty() {
            return Err(FsError::NotFound);
        }
        let start = if path.starts_with('/') { "" } else { directory };
        let split = |text: &str| -> Vec<String> {
            text.split('/')
                .rev()
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let must_be_dir = path.ends_with('/') || path.ends_with("/.");
        let mut rest = split(path);
        rest.extend(split(start));
        let mut at = "/".to_owned();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "." => continue,
                ".." => {
                    at = parent(&at).to_owned();
                    continue;
                }
                _ => {}
            }
            let next = join(&at, &part);
            let last = rest.is_empty();
            match self.get(&next).as_deref() {
                Some(Node {
                    kind: Kind::Symlink(target),
                    ..
                }) if !last || follow || must_be_dir => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(FsError::Loop);
                    }
                    if target.starts_with('/') {
                        at = "/".to_owned();
                    }
                    rest.extend(split(target));
                }
                Some(node) if !last && !node.is_dir() => return Err(FsError::NotADirectory),
                Some(_) => at = next,
                None if last => at = next,
                None => return Err(FsError::NotFound),
            }
        }
        match self.get(&at) {
            Some(node) if must_be_dir && !node.is_dir() => Err(FsError::NotADirectory),
            _ => Ok(at),
        }
    }

    /// What a path stands for, and its clean path without links.
    pub(crate) fn look(
        &self,
        directory: &str,
        path: &str,
        follow: bool,
    ) -> Result<(String, Arc<Node>), FsError> {
        let real = self.resolve(directory, path, follow)?;
        let node = self.get(&real).ok_or(FsError::NotFound)?;
        Ok((real, node))
    }

    pub(crate) fn read(&self, directory: &str, path: &str) -> Result<Bytes, FsError> {
        let (_, node) = self.look(directory, path, true)?;
        match &node.kind {
            Kind::File(content) => Ok(content.clone()),
            Kind::Dir => Err(FsError::IsADirectory),
            Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo => Ok(Bytes::new()),
        }
    }

    /// Writes a file, making it where it is missing.
    pub(crate) fn write(
        &mut self,
        directory: &str,
        path: &str,
        content: &[u8],
        append: bool,
    ) -> Result<(), FsError> {
        let real = self.resolve(directory, path, true)?;
        self.require_dir(parent(&real))?;
        let mut node = match self.get(&real).as_deref() {
            None => Node::file("", 0o644),
            Some(Node {
                kind: Kind::Dir, ..
            }) => return Err(FsError::IsADirectory),
            Some(Node {
                kind: Kind::Device { .. } | Kind::Fifo,
                ..
            }) => return Ok(()),
            Some(node) => node.clone(),
        };
        let mut new = BytesMut::new();
        if let (Kind::File(old), true) = (&node.kind, append) {
            new.extend_from_slice(old);
        }
        new.extend_from_slice(content);
        node.kind = Kind::File(new.freeze());
        node.mtime = Timestamp::now();
        if !self.writable(&real) {
            return Err(FsError::ReadOnly);
        }
        let existed = self.get(&real).is_some();
        self.change(&real, |tree, path| tree.put(path, node));
        if !existed {
            self.touch_dir(parent(&real));
        }
        Ok(())
    }

    fn require_dir(&self, path: &str) -> Result<(), FsError> {
        match self.get(path) {
            None => Err(FsError::NotFound),
            Some(node) if node.is_dir() => Ok(()),
            Some(_) => Err(FsError::NotADirectory),
        }
    }

    pub(crate) fn make_dir(
        &mut self,
        directory: &str,
        path: &str,
        parents: bool,
    ) -> Result<(), FsError> {
        if parents {
            let whole = clean(directory, path);
            let mut at = String::new();
            for part in whole.split('/').filter(|part| !part.is_empty()) {
                at = format!("{at}/{part}");
                match self.make_dir("/", &at, false) {
                    Ok(()) | Err(FsError::Exists) => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
        let real = self.resolve(directory, path.trim_end_matches('/'), true)?;
        if self.get(&real).is_some() {
            return Err(FsError::Exists);
        }
        self.require_dir(parent(&real))?;
        self.put(&real, Node::dir())
    }

    /// Removes a file, or with `recursive` a directory and all in it.
    pub(crate) fn remove(
        &mut self,
        directory: &str,
        path: &str,
        recursive: bool,
    ) -> Result<(), FsError> {
        let (real, node) = self.look(directory, path, false)?;
        if node.is_dir() && !recursive {
            return Err(FsError::IsADirectory);
        }
        self.unlink(&real)
    }

    pub(crate) fn remove_dir(&mut self, directory: &str, path: &str) -> Result<(), FsError> {
        let (real, node) = self.look(directory, path, false)?;
        if !node.is_dir() {
            return Err(FsError::NotADirectory);
        }
        if !self.names(&real).is_empty() {
            return Err(FsError::NotEmpty);
        }
        self.unlink(&real)
    }

    /// Takes away what a clean path stands for.
    pub(crate) fn unlink(&mut self, real: &str) -> Result<(), FsError> {
        if !self.writable(real) || self.mounts.iter().any(|mount| mount.destination == real) {
            return Err(FsError::ReadOnly);
        }
        self.change(real, Tree::remove);
        self.touch_dir(parent(real));
        Ok(())
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, real: &str) -> Vec<String> {
        let mut names: Vec<String> = match self.mount(real) {
            Some((mount, rest)) => {
                let tree = mount.tree.lock().unwrap_or_else(PoisonError::into_inner);
                children(&tree, &rest)
            }
            None => children(&self.root, real),
        };
        let others = self
            .special
            .keys()
            .chain(self.mounts.iter().map(|mount| &mount.destination));
        for other in others {
            if other != "/" && parent(other) == real {
                names.push(base(other).to_owned());
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// A path and all that is below it, parents first.
    pub(crate) fn walk(&self, real: &str) -> Vec<(String, Arc<Node>)> {
        let Some(node) = self.get(real) else {
            return Vec::new();
        };
        let mut found = vec![(real.to_owned(), node.clone())];
        if node.is_dir() {
            for name in self.names(real) {
                found.extend(self.walk(&join(real, &name)));
            }
        }
        found
    }
}

fn children(tree: &Tree, real: &str) -> Vec<String> {
    tree.below(real)
        .filter(|(path, _)| parent(path) == real)
        .map(|(path, _)| base(path).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fs() -> Fs {
        let mut fs = Fs::default();
        fs.root.put("/etc/passwd", Node::file("root", 0o644));
        fs.root.put("/link", Node::symlink("etc"));
        fs.root.put("/out", Node::symlink("/../../etc/passwd"));
        fs.root.put("/loop", Node::symlink("loop"));
        fs
    }

    #[test]
    fn links_are_followed_and_never_lead_outside() {
        let fs = fs();
        assert_eq!(fs.read("/", "/link/passwd").unwrap(), "root");
        assert_eq!(fs.read("/link", "../out").unwrap(), "root");
        assert_eq!(fs.resolve("/", "/link", false).unwrap(), "/link");
        assert_eq!(fs.resolve("/", "/loop", true), Err(FsError::Loop));
        assert_eq!(fs.read("/", "/etc/passwd/x"), Err(FsError::NotADirectory));
        assert_eq!(
            fs.resolve("/", "/etc/passwd/", true),
            Err(FsError::NotADirectory)
        );
    }

    #[test]
    fn mounts_hide_what_is_below_and_can_be_read_only() {
        let mut fs = fs();
        let tree: Arc<Mutex<Tree>> = Arc::default();
        fs.mounts.push(Mount {
            destination: "/etc".into(),
            tree: tree.clone(),
            writable: true,
        });
        assert_eq!(fs.read("/", "/etc/passwd"), Err(FsError::NotFound));
        fs.write("/", "/etc/new", b"x", false).unwrap();
        assert!(tree.lock().unwrap().get("/new").is_some());
        assert_eq!(fs.names("/etc"), ["new"]);
        fs.mounts[0].writable = false;
        assert_eq!(
            fs.write("/", "/etc/new", b"y", true),
            Err(FsError::ReadOnly)
        );
    }

    #[test]
    fn files_and_directories_come_and_go() {
        let mut fs = fs();
        fs.make_dir("/", "/a/b/c", true).unwrap();
        assert_eq!(fs.make_dir("/", "/a", false), Err(FsError::Exists));
        fs.write("/a", "b/f", b"1", false).unwrap();
        fs.write("/a", "b/f", b"2", true).unwrap();
        assert_eq!(fs.read("/", "/a/b/f").unwrap(), "12");
        assert_eq!(fs.remove("/", "/a", false), Err(FsError::IsADirectory));
        assert_eq!(fs.remove_dir("/", "/a"), Err(FsError::NotEmpty));
        fs.remove("/", "/a", true).unwrap();
        assert_eq!(fs.read("/", "/a/b/f"), Err(FsError::NotFound));
        assert_eq!(fs.write("/", "/no/f", b"", false), Err(FsError::NotFound));
    }
}
