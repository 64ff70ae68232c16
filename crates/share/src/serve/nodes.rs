//! What the guest's kernel knows by number: files, by identity and by the place last seen.
//!
//! A node needs no descriptor until it is used, so that listing a large tree costs none, and
//! may lose it when there are too many: it is opened again by its place, and only taken if it is
//! still the same file. What the guest removes keeps its descriptor ("pinned").

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::wire::Result;
use crate::abi::ROOT_ID;

/// Which file: what the host calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) inode: u64,
    pub(super) mount: u64,
    /// Index in the list of devices.
    pub(super) device: u32,
}

/// A file as found: its identity, its birth (an inode's number is used again after its end; the
/// birth is another), and its kind (`S_IFMT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) birth: Option<(i64, u32)>,
    pub(super) kind: u32,
}

/// Size, modification and change of a file when it was last opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) modified: (i64, u32),
    pub(super) changed: (i64, u32),
}

struct Node {
    found: Found,
    lookups: u64,
    place: Option<(u64, Box<CStr>)>,
    fd: Option<Arc<OwnedFd>>,
    used: bool,
    pinned: bool,
    stamp: Option<Stamp>,
}

/// How to come to a node's descriptor.
pub(super) enum Way {
    Open(Arc<OwnedFd>),
    /// Open `path` below the descriptor; take it if it is what is named.
    Path(Arc<OwnedFd>, CString, Found),
}

pub(super) struct Nodes {
    by_id: HashMap<u64, Node>,
    by_key: HashMap<Key, u64>,
    /// Nodes with a descriptor, but the root, the one to be closed next first.
    ring: VecDeque<u64>,
    next: u64,
    max_nodes: usize,
    max_open: usize,
}

/// Longest path that is opened at once.
const MAX_PATH: usize = 4000;
/// Most directories above a node; what the host moves about may look like a circle.
const MAX_DEPTH: usize = 1 << 16;

impl Nodes {
    pub(super) fn new(root: OwnedFd, found: Found, max_nodes: usize, max_open: usize) -> Nodes {
        let root = Node {
            found,
            lookups: 1,
            place: None,
            fd: Some(Arc::new(root)),
            used: true,
            pinned: true,
            stamp: None,
        };
        Nodes {
            by_id: HashMap::from([(ROOT_ID, root)]),
            by_key: HashMap::from([(found.key, ROOT_ID)]),
            ring: VecDeque::new(),
            next: ROOT_ID + 1,
            max_nodes,
            max_open: max_open.max(8),
        }
    }

    /// The number of a file seen at a place; the guest knows it once more. `ENFILE` if the guest
    /// knows too many.
    pub(super) fn seen(&mut self, found: Found, parent: u64, name: &CStr) -> Result<u64> {
        if let Some(&id) = self.by_key.get(&found.key)
            && let Some(node) = self.by_id.get_mut(&id)
            && node.found == found
        {
            node.lookups = node.lookups.saturating_add(1);
            if id != ROOT_ID {
                node.pinned = false;
                match &node.place {
                    Some((at, called)) if *at == parent && **called == *name => {}
                    _ => node.place = Some((parent, name.into())),
                }
            }
            return Ok(id);
        }
        if self.by_id.len() >= self.max_nodes {
            return Err(Errno::NFILE);
        }
        let id = self.next;
        self.next += 1;
        let place = Some((parent, name.into()));
        let node = Node {
            found,
            lookups: 1,
            place,
            fd: None,
            used: false,
            pinned: false,
            stamp: None,
        };
        self.by_id.insert(id, node);
        self.by_key.insert(found.key, id);
        Ok(id)
    }

    /// The guest forgets `count` of its lookups. Returns what is to be closed, outside the lock:
    /// of a removed file, closing may be the removal itself.
    pub(super) fn forget(&mut self, id: u64, count: u64) -> Option<Arc<OwnedFd>> {
        if id == ROOT_ID {
            return None;
        }
        let node = self.by_id.get_mut(&id)?;
        node.lookups = node.lookups.saturating_sub(count);
        if node.lookups > 0 {
            return None;
        }
        let node = self.by_id.remove(&id)?;
        if self.by_key.get(&node.found.key) == Some(&id) {
            self.by_key.remove(&node.found.key);
        }
        // The ring forgets when the number comes up, or here, before it grows.
        if self.ring.len() > self.max_open.saturating_mul(2) {
            let nodes = &self.by_id;
            self.ring.retain(|id| nodes.contains_key(id));
        }
        node.fd
    }

    /// The kind of a node (`S_IFMT`).
    pub(super) fn kind(&self, id: u64) -> Result<u32> {
        self.by_id
            .get(&id)
            .map(|node| node.found.kind)
            .ok_or(Errno::STALE)
    }

    /// The index of a node's device.
    pub(super) fn device(&self, id: u64) -> Result<u32> {
        self.by_id
            .get(&id)
            .map(|node| node.found.key.device)
            .ok_or(Errno::STALE)
    }

    /// The descriptor of a node, or how to get it.
    pub(super) fn way(&mut self, id: u64) -> Result<Way> {
        let node = self.by_id.get_mut(&id).ok_or(Errno::STALE)?;
        if let Some(fd) = &node.fd {
            node.used = true;
            return Ok(Way::Open(fd.clone()));
        }
        let (mut found, mut names, mut length) = (node.found, Vec::new(), 0);
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            let node = self.by_id.get(&at).ok_or(Errno::STALE)?;
            if let Some(fd) = &node.fd {
                names.reverse();
                let path = names.join(&b'/');
                let path = CString::new(path).map_err(|_| Errno::STALE)?;
                return Ok(Way::Path(fd.clone(), path, found));
            }
            let (parent, name) = node.place.as_ref().ok_or(Errno::STALE)?;
            length += name.count_bytes() + 1;
            // A long way is gone in stages: the upper part first.
            if length > MAX_PATH {
                (found, length) = (node.found, name.count_bytes() + 1);
                names.clear();
            }
            names.push(name.to_bytes());
            at = *parent;
        }
        Err(Errno::STALE)
    }

    /// Keeps a node's descriptor. Returns the one to use, and what is to be closed, outside the
    /// lock.
    pub(super) fn keep(&mut self, id: u64, fd: OwnedFd) -> (Arc<OwnedFd>, Vec<Arc<OwnedFd>>) {
        let fd = Arc::new(fd);
        let Some(node) = self.by_id.get_mut(&id) else {
            return (fd, Vec::new());
        };
        if let Some(known) = &node.fd {
            return (known.clone(), vec![fd]);
        }
        node.fd = Some(fd.clone());
        node.used = true;
        self.ring.push_back(id);
        (fd, self.shrink(self.max_open))
    }

    /// Takes descriptors from nodes until at most `limit` are left.
    pub(super) fn shrink(&mut self, limit: usize) -> Vec<Arc<OwnedFd>> {
        let mut closed = Vec::new();
        let mut patience = self.ring.len().saturating_mul(2);
        while self.ring.len() > limit {
            let Some(id) = self.ring.pop_front() else {
                break;
            };
            let Some(node) = self.by_id.get_mut(&id) else {
                continue;
            };
            if patience > 0 && (node.used || node.pinned) {
                patience -= 1;
                node.used = false;
                self.ring.push_back(id);
            } else {
                closed.extend(node.fd.take());
            }
        }
        closed
    }

    /// The number of a file that the guest knows.
    pub(super) fn known(&self, found: &Found) -> Option<u64> {
        let id = *self.by_key.get(&found.key)?;
        (self.by_id.get(&id)?.found == *found).then_some(id)
    }

    /// The node is about to lose its name: its descriptor stays.
    pub(super) fn pin(&mut self, id: u64) {
        if let Some(node) = self.by_id.get_mut(&id) {
            node.pinned = true;
        }
    }

    /// The node has another name now.
    pub(super) fn moved(&mut self, id: u64, parent: u64, name: &CStr) {
        if id != ROOT_ID
            && let Some(node) = self.by_id.get_mut(&id)
        {
            node.place = Some((parent, name.into()));
            node.pinned = false;
        }
    }

    /// Sets the stamp of a node that is being opened; returns the one before.
    pub(super) fn stamp(&mut self, id: u64, stamp: Option<Stamp>) -> Option<Stamp> {
        std::mem::replace(&mut self.by_id.get_mut(&id)?.stamp, stamp)
    }
}
