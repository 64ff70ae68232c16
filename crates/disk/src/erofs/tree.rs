//! Trees of files in memory: one for each layer, in one table.

use std::collections::BTreeMap;
use std::rc::Rc;

use coracle_archive::Time;

use super::data::Contents;
use super::xattr::Attribute;
use crate::error::{Error, Result, shown};

/// A row of the table. Rows are never given back.
pub(super) type Id = u32;

/// Directories in each other. The longest path has fewer.
const MAX_DEPTH: u32 = 2048;

/// The longest name, in bytes.
const MAX_NAME: usize = 255;

/// Permissions of directories that an archive has entries below but none for.
pub(super) const IMPLIED: u16 = 0o755;

/// What a row takes, by estimate.
const NODE: u64 = 192;

/// What a name takes in its directory beside its bytes, by estimate.
const CHILD: u64 = 40;

/// Something with an inode of its own.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Permissions with setuid, setgid and sticky.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) xattrs: Rc<[Attribute]>,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Directory(Box<Directory>),
    File(Contents),
    Symlink(Box<[u8]>),
    /// With the number as Linux encodes it.
    CharDevice(u32),
    BlockDevice(u32),
    Fifo,
    /// Hides a name of the layers below.
    Whiteout,
}

#[derive(Debug, Clone)]
pub(super) struct Directory {
    /// The root's is itself.
    pub(super) parent: Id,
    pub(super) name: Box<[u8]>,
    pub(super) children: BTreeMap<Box<[u8]>, Id>,
    /// Hides what the layers below have in it.
    pub(super) opaque: bool,
    /// No entry describes it: it takes the attributes of the one below.
    pub(super) implied: bool,
    depth: u32,
}

impl Node {
    /// A directory that nothing describes, or a whiteout.
    pub(super) fn plain(what: What) -> Node {
        Node {
            mode: IMPLIED,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Rc::default(),
            what,
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        matches!(self.what, What::Directory(_))
    }
}

pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Bytes in use, by estimate, and their bound.
    memory: u64,
    max_memory: u64,
}

impl Tree {
    pub(super) fn new(max_memory: u64) -> Tree {
        Tree {
            nodes: Vec::new(),
            memory: 0,
            max_memory,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Counts memory that is about to be used.
    pub(super) fn charge(&mut self, bytes: u64) -> Result<()> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > self.max_memory {
            return Err(Error::TooMuchMetadata {
                max: self.max_memory,
            });
        }
        Ok(())
    }

    /// The root of a tree of its own.
    pub(super) fn root(&mut self) -> Result<Id> {
        let id = self.next_id()?;
        self.add(Node::plain(What::Directory(Box::new(Directory {
            parent: id,
            name: Box::default(),
            children: BTreeMap::new(),
            opaque: false,
            implied: false,
            depth: 0,
        }))))
    }

    fn next_id(&self) -> Result<Id> {
        Id::try_from(self.nodes.len()).map_err(|_| Error::TooMuchMetadata {
            max: self.max_memory,
        })
    }

    /// Adds a row that nothing names yet.
    pub(super) fn add(&mut self, node: Node) -> Result<Id> {
        let attributes: u64 = node.xattrs.iter().map(Attribute::size).sum();
        let target = match &node.what {
            What::Symlink(target) => target.len() as u64,
            _ => 0,
        };
        self.charge(NODE + attributes + target)?;
        let id = self.next_id()?;
        self.nodes.push(node);
        Ok(id)
    }

    /// Adds a directory, which nothing describes yet, to another.
    pub(super) fn add_dir(&mut self, parent: Id, name: &[u8]) -> Result<Id> {
        let depth = self.dir(parent).map_or(0, |dir| dir.depth) + 1;
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep {
                path: shown(name),
                max: MAX_DEPTH,
            });
        }
        let id = self.add(Node::plain(What::Directory(Box::new(Directory {
            parent,
            name: name.into(),
            children: BTreeMap::new(),
            opaque: false,
            implied: true,
            depth,
        }))))?;
        self.name(parent, name, id)?;
        Ok(id)
    }

    /// Gives a row a name in a directory, in place of what had it.
    pub(super) fn name(&mut self, dir: Id, name: &[u8], id: Id) -> Result<()> {
        if name.len() > MAX_NAME {
            return Err(coracle_archive::Error::InvalidName {
                path: shown(name),
                reason: "a name has at most 255 bytes",
            }
            .into());
        }
        self.charge(CHILD + name.len() as u64)?;
        if let Some(dir) = self.dir_mut(dir) {
            dir.children.insert(name.into(), id);
        }
        Ok(())
    }

    pub(super) fn get(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub(super) fn dir(&self, id: Id) -> Option<&Directory> {
        match &self.get(id).what {
            What::Directory(dir) => Some(dir),
            _ => None,
        }
    }

    pub(super) fn dir_mut(&mut self, id: Id) -> Option<&mut Directory> {
        match &mut self.get_mut(id).what {
            What::Directory(dir) => Some(dir),
            _ => None,
        }
    }

    pub(super) fn child(&self, dir: Id, name: &[u8]) -> Option<Id> {
        self.dir(dir)?.children.get(name).copied()
    }

    /// A normal path as it is, without following symbolic links. Whiteouts aren't found.
    pub(super) fn find(&self, root: Id, path: &[u8]) -> Option<Id> {
        let mut id = root;
        for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            id = self.child(id, part)?;
        }
        (!matches!(self.get(id).what, What::Whiteout)).then_some(id)
    }

    /// A directory's path from its root.
    pub(super) fn path(&self, mut id: Id) -> Vec<u8> {
        let mut parts = Vec::new();
        while let Some(dir) = self.dir(id).filter(|dir| dir.parent != id) {
            parts.push(&dir.name[..]);
            id = dir.parent;
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// Whether a directory is another or below it.
    pub(super) fn is_below(&self, mut id: Id, above: Id) -> bool {
        loop {
            if id == above {
                return true;
            }
            match self.dir(id) {
                Some(dir) if dir.parent != id => id = dir.parent,
                _ => return false,
            }
        }
    }
}
