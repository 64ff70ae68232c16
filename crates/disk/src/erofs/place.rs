//! Puts a layer's entries into its tree, by the rules by which they are unpacked.

use std::rc::Rc;

use coracle_archive::{Entry, Error, Kind};

use super::data::Contents;
use super::layer::Link;
use super::name::Name;
use super::tree::{Id, Node, Tree, What};
use super::view::View;
use super::xattr::{self, Attribute};
use crate::error::{Error as DiskError, Result, shown};

/// The kernel's own bound on symbolic links in one path.
const MAX_LINKS: u32 = 40;

/// A layer's tree that is being filled.
pub(super) struct Placing<'a> {
    tree: &'a mut Tree,
    root: Id,
    number: usize,
    view: View,
    links: Vec<Link>,
    /// The directory that the entry before was in.
    last: Option<(Vec<u8>, Id)>,
    /// The file whose contents come next.
    file: Option<Id>,
}

impl<'a> Placing<'a> {
    pub(super) fn new(tree: &'a mut Tree, root: Id, number: usize, view: View) -> Placing<'a> {
        Placing {
            tree,
            root,
            number,
            view,
            links: Vec::new(),
            last: None,
            file: None,
        }
    }

    /// The links that are still to be made.
    pub(super) fn finish(self) -> Vec<Link> {
        self.links
    }

    /// A regular file, the archive's `count`-th entry. False where it is hidden, so that its
    /// contents aren't wanted; else they go to [`Placing::fill`].
    pub(super) fn file(&mut self, name: &Name, entry: &Entry, count: u64) -> Result<bool> {
        if name.is_root() {
            return Err(not_a_directory_root(entry));
        }
        let (parent, base) = name.split();
        let dir = self.parent(parent)?;
        let hidden = self.view.hides(self.tree, dir, base);
        let contents = Contents::LeftOut {
            layer: self.number,
            entry: count,
        };
        let node = node(entry, What::File(contents))?;
        let id = self.tree.add(node)?;
        self.put(dir, base, id)?;
        self.file = Some(id);
        Ok(!hidden)
    }

    pub(super) fn fill(&mut self, contents: Contents) -> Result<()> {
        self.tree.charge(contents.memory())?;
        if let Some(id) = self.file.take() {
            self.tree.get_mut(id).what = What::File(contents);
        }
        Ok(())
    }

    /// Everything but files and hard links.
    pub(super) fn other(&mut self, name: &Name, entry: &Entry) -> Result<()> {
        if entry.kind == Kind::Directory {
            return self.directory(name, entry);
        }
        if name.is_root() {
            return Err(not_a_directory_root(entry));
        }
        let (parent, base) = name.split();
        let dir = self.parent(parent)?;
        let what = match entry.kind {
            Kind::Symlink => {
                if entry.link.is_empty() || entry.link.contains(&0) {
                    return Err(Error::InvalidName {
                        path: shown(&entry.path),
                        reason: "a symbolic link to nothing",
                    }
                    .into());
                }
                What::Symlink(entry.link.as_slice().into())
            }
            // Which is overlayfs's form of it.
            Kind::CharDevice if entry.device == (0, 0) => What::Whiteout,
            Kind::CharDevice => What::CharDevice(device(entry)?),
            Kind::BlockDevice => What::BlockDevice(device(entry)?),
            _ => What::Fifo,
        };
        let id = self.tree.add(node(entry, what)?)?;
        self.put(dir, base, id)
    }

    fn directory(&mut self, name: &Name, entry: &Entry) -> Result<()> {
        let id = if name.is_root() {
            self.root
        } else {
            let (parent, base) = name.split();
            let dir = self.parent(parent)?;
            match self.tree.child(dir, base) {
                Some(id) if self.tree.get(id).is_dir() => id,
                found => {
                    let hides =
                        found.is_some_and(|id| matches!(self.tree.get(id).what, What::Whiteout));
                    if found.is_some() {
                        self.last = None;
                    }
                    let id = self.tree.add_dir(dir, base)?;
                    if let Some(made) = self.tree.dir_mut(id) {
                        made.opaque = hides;
                    }
                    id
                }
            }
        };
        // Directories of one name merge: attributes of the one before stay.
        let before = Rc::clone(&self.tree.get(id).xattrs);
        let mut mode = permissions(entry);
        let new = xattr::accept(entry, &mut mode)?;
        self.tree
            .charge(new.iter().map(Attribute::size).sum::<u64>())?;
        let found = self.tree.get_mut(id);
        found.xattrs = xattr::joined(&before, new);
        found.mode = mode;
        found.uid = entry.uid;
        found.gid = entry.gid;
        found.mtime = entry.mtime;
        if let What::Directory(dir) = &mut found.what {
            dir.implied = false;
        }
        Ok(())
    }

    /// Another name for what the layer has already; else it is left for later.
    pub(super) fn hard_link(&mut self, name: &Name, entry: &Entry) -> Result<()> {
        let target = Name::clean(&entry.link)?;
        let missing = || Error::LinkTargetMissing {
            path: shown(name.as_bytes()),
            target: shown(target.as_bytes()),
        };
        if name.is_root() || target.is_root() {
            return Err(link_to_directory(name, &target));
        }
        let (parent, base) = target.split();
        let from = self.existing(parent)?;
        let found = from.and_then(|from| self.tree.child(from, base));
        let found = found.filter(|id| !matches!(self.tree.get(*id).what, What::Whiteout));
        let Some(id) = found else {
            if self.number == 0 {
                return Err(missing().into());
            }
            return self.later(name, target);
        };
        if self.tree.get(id).is_dir() {
            return Err(link_to_directory(name, &target));
        }
        let (parent, base) = name.split();
        let dir = self.parent(parent)?;
        match self.tree.child(dir, base) {
            Some(same) if same == id && from == Some(dir) && base == target.split().1 => {
                return Ok(());
            }
            // The target is inside the directory that the link replaces.
            Some(old) if from.is_some_and(|from| self.tree.is_below(from, old)) => {
                return Err(missing().into());
            }
            _ => {}
        }
        self.put(dir, base, id)?;
        self.update(id, entry)
    }

    /// The last entry's word on attributes that names share counts, if it says something else.
    fn update(&mut self, id: Id, entry: &Entry) -> Result<()> {
        let found = self.tree.get(id);
        let is_symlink = matches!(found.what, What::Symlink(_));
        let same = (found.uid, found.gid, found.mtime) == (entry.uid, entry.gid, entry.mtime)
            && (is_symlink || found.mode == permissions(entry));
        if same {
            return Ok(());
        }
        let kind = match found.what {
            What::File(_) => Kind::File,
            What::Symlink(_) => Kind::Symlink,
            _ => Kind::Fifo,
        };
        let before = Rc::clone(&found.xattrs);
        let mut mode = permissions(entry);
        let new = xattr::accept(
            &Entry {
                kind,
                ..entry.clone()
            },
            &mut mode,
        )?;
        self.tree
            .charge(new.iter().map(Attribute::size).sum::<u64>())?;
        let found = self.tree.get_mut(id);
        // A file's capabilities don't survive a change of its owner.
        let kept: Vec<Attribute> = before
            .iter()
            .filter(|attribute| kind != Kind::File || !attribute.is_capability())
            .cloned()
            .collect();
        found.xattrs = xattr::joined(&kept, new);
        if !is_symlink {
            found.mode = mode;
        }
        found.uid = entry.uid;
        found.gid = entry.gid;
        found.mtime = entry.mtime;
        Ok(())
    }

    fn later(&mut self, name: &Name, target: Name) -> Result<()> {
        let (parent, base) = name.split();
        let dir = self.parent(parent)?;
        let link = Link {
            dir: self.tree.path(dir),
            name: base.to_vec(),
            target,
        };
        let size = link.dir.len() + link.name.len() + link.target.as_bytes().len();
        self.tree.charge(size as u64 + 96)?;
        // The last entry of a name wins.
        self.clear(dir, base);
        self.links.push(link);
        Ok(())
    }

    /// Hides a name of the layers below, unless the layer has that name itself.
    pub(super) fn whiteout(&mut self, marker: &Name, hidden: &[u8]) -> Result<()> {
        let dir = self.parent(marker.split().0)?;
        match self.tree.child(dir, hidden) {
            None => {
                let id = self.tree.add(Node::plain(What::Whiteout))?;
                self.tree.name(dir, hidden, id)
            }
            Some(id) => {
                if let Some(dir) = self.tree.dir_mut(id) {
                    dir.opaque = true;
                }
                Ok(())
            }
        }
    }

    /// Hides everything that the layers below have in a directory.
    pub(super) fn opaque(&mut self, marker: &Name) -> Result<()> {
        let dir = self.parent(marker.split().0)?;
        if let Some(dir) = self.tree.dir_mut(dir) {
            dir.opaque = true;
        }
        Ok(())
    }

    /// Gives something a name, in place of what had it.
    fn put(&mut self, dir: Id, name: &[u8], id: Id) -> Result<()> {
        self.clear(dir, name);
        self.tree.name(dir, name, id)
    }

    fn clear(&mut self, dir: Id, name: &[u8]) {
        let old = self
            .tree
            .dir_mut(dir)
            .and_then(|dir| dir.children.remove(name));
        let through = |id: Id| {
            matches!(
                self.tree.get(id).what,
                What::Directory(_) | What::Symlink(_)
            )
        };
        if old.is_some_and(through) {
            // The way to it may be another one now.
            self.last = None;
        }
    }

    /// The directory at a path, made where it is missing.
    fn parent(&mut self, path: &[u8]) -> Result<Id> {
        if let Some((_, id)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return Ok(*id);
        }
        let id = self
            .walk(path, true)?
            .ok_or_else(|| Error::NotFound { path: shown(path) })?;
        self.last = Some((path.to_vec(), id));
        Ok(id)
    }

    /// The directory at a path; None where there is none.
    fn existing(&mut self, path: &[u8]) -> Result<Option<Id>> {
        self.walk(path, false)
    }

    /// Follows a path, symbolic links as in a chroot.
    fn walk(&mut self, path: &[u8], make: bool) -> Result<Option<Id>> {
        let mut pending = parts(path);
        let mut at = self.root;
        let mut links = 0;
        while let Some(part) = pending.pop() {
            if part == b".." {
                at = self.tree.dir(at).map_or(self.root, |dir| dir.parent);
                continue;
            }
            let found = self.tree.child(at, &part);
            at = match found.map(|id| (id, &self.tree.get(id).what)) {
                Some((id, What::Directory(_))) => id,
                Some((_, What::Symlink(target))) => {
                    links += 1;
                    if links > MAX_LINKS || pending.len() > 4096 {
                        return Err(Error::TooManyLinks { path: shown(path) }.into());
                    }
                    if target.starts_with(b"/") {
                        at = self.root;
                    }
                    pending.extend(parts(target));
                    at
                }
                None if make => self.tree.add_dir(at, &part)?,
                Some((_, What::Whiteout)) if make => {
                    let id = self.tree.add_dir(at, &part)?;
                    if let Some(dir) = self.tree.dir_mut(id) {
                        dir.opaque = true;
                    }
                    id
                }
                Some(_) if make => {
                    return Err(Error::NotADirectory { path: shown(path) }.into());
                }
                _ => return Ok(None),
            };
        }
        Ok(Some(at))
    }
}

/// The components of a path, last first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.rsplit(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

fn permissions(entry: &Entry) -> u16 {
    (entry.mode & 0o7777) as u16
}

fn node(entry: &Entry, what: What) -> Result<Node> {
    let mut mode = match what {
        What::Symlink(_) => 0o777,
        _ => permissions(entry),
    };
    let xattrs = xattr::accept(entry, &mut mode)?.into();
    Ok(Node {
        mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        xattrs,
        what,
    })
}

/// A device's number as Linux encodes it in 32 bits.
fn device(entry: &Entry) -> Result<u32> {
    let (major, minor) = entry.device;
    if major > 0xfff || minor > 0xf_ffff {
        return Err(DiskError::Device {
            path: shown(&entry.path),
            major,
            minor,
        });
    }
    Ok((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

fn not_a_directory_root(entry: &Entry) -> DiskError {
    Error::InvalidName {
        path: shown(&entry.path),
        reason: "the root must be a directory",
    }
    .into()
}

fn link_to_directory(name: &Name, target: &Name) -> DiskError {
    Error::LinkToDirectory {
        path: shown(name.as_bytes()),
        target: shown(target.as_bytes()),
    }
    .into()
}
