//! Unpacks an OCI layer into a directory that becomes an overlayfs lower layer.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::entry::{Entry, Kind};
use crate::error::{Error, Result, failed, shown};
use crate::limits::Limits;
use crate::lower::{self, LowerView};
use crate::owner::Owners;
use crate::path::{Name, as_path, file_type, join, open_place, open_root, stat};
use crate::reader::TarReader;
use crate::tree::{Settings, Tree, is_whiteout};
use crate::xattr::{Carrier, OverlayAttrs};

/// What a whiteout's name starts with (OCI image specification, "Whiteouts").
pub(crate) const WHITEOUT: &[u8] = b".wh.";

/// What the names of aufs's own files start with.
const AUFS: &[u8] = b".wh..wh.";

/// The name that makes its directory opaque.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// How a layer is unpacked.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Bounds on the archive.
    pub limits: Limits,
    /// Whose the files become.
    pub owners: Owners,
    /// Device nodes are made. Without it they are left out, together with hard links to them, as
    /// containerd and podman do in a user namespace; pipes and whiteouts are made in any case.
    /// Attributes that need privileges are left out likewise.
    pub devices: bool,
    /// Which attributes mark opaque directories; it must fit the later mount.
    pub attrs: OverlayAttrs,
    /// The layers below, for what the archive takes for granted.
    pub lowers: Lowers,
    /// Everything is on disk when the function returns (`syncfs`).
    pub sync: bool,
}

impl Default for ApplyOptions {
    /// As root: owners as archived, devices, `trusted.` attributes, no layers below, no sync.
    fn default() -> ApplyOptions {
        ApplyOptions {
            limits: Limits::default(),
            owners: Owners::Archived,
            devices: true,
            attrs: OverlayAttrs::Trusted,
            lowers: Lowers::None,
            sync: false,
        }
    }
}

/// The layers below the one that is unpacked.
#[derive(Debug, Clone, Default)]
pub enum Lowers {
    /// There are none: a hard link to what the archive doesn't hold is
    /// [`Error::LinkTargetMissing`](crate::Error::LinkTargetMissing).
    #[default]
    None,
    /// Their directories, topmost first.
    Dirs(Vec<PathBuf>),
    /// They aren't unpacked yet: [`Applied::pending`] has what [`settle`] is to do later.
    Later,
}

/// What a layer leaves to be taken from the layers below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// Directories that the archive has entries in but none for; they take the attributes of the
    /// directories below. They have mode 0755 so far.
    implied: Vec<Vec<u8>>,
    /// Hard links to what the archive doesn't hold.
    links: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Pending {
    /// What [`implied`](Pending::implied) and [`links`](Pending::links) gave.
    pub fn from_parts(implied: Vec<Vec<u8>>, links: Vec<(Vec<u8>, Vec<u8>)>) -> Pending {
        Pending { implied, links }
    }

    /// Directories to take attributes for, relative to the layer's root.
    pub fn implied(&self) -> &[Vec<u8>] {
        &self.implied
    }

    /// Hard links to make, and their targets, both relative to the layer's root.
    pub fn links(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.links
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.implied.is_empty() && self.links.is_empty()
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries of the archive, whiteouts included.
    pub entries: u64,
    /// Bytes written to files.
    pub bytes: u64,
    /// Devices (and hard links to them) that were left out, see [`ApplyOptions::devices`].
    pub skipped_devices: u64,
    /// Extended attributes that the file system or the caller's privileges don't allow, and those
    /// of overlayfs, which an archive may not set.
    pub skipped_xattrs: u64,
    /// For [`settle`], with [`Lowers::Later`]; else empty.
    pub pending: Pending,
}

/// Unpacks a layer (a plain tar stream, see [`Decompressor`](crate::Decompressor)) into the
/// directory `root`, which should be empty.
///
/// Whiteouts become character devices 0:0, or where these can't be made empty files with
/// overlayfs's whiteout attribute; opaque markers become the opaque attribute; other files of aufs
/// are skipped. A whiteout hides what is below the layer, never an entry of the layer itself:
/// where the layer replaces a directory, the new one is made opaque. Entries of one name replace
/// each other, the last one wins, except that directories merge. Names are taken relative to the
/// root.
///
/// Stops at the archive's end; what follows in `reader` is read by at most 256 KiB.
///
/// # Errors
/// Any of [`Error`]. The directory then holds a part of the layer, which the caller removes.
pub fn apply_layer(reader: impl Read, root: &Path, opts: &ApplyOptions) -> Result<Applied> {
    let root = open_root(root)?;
    let mut tar = TarReader::new(reader, opts.limits.clone());
    let settings = Settings {
        owners: opts.owners.clone(),
        devices: opts.devices,
        layer: Some(opts.attrs),
        keep_type: false,
        root_entry: true,
        lenient: !opts.devices,
        exact: false,
    };
    let mut tree = Tree::new(root.as_fd(), settings)?;
    let mut applied = Applied::default();
    let mut links = Vec::new();
    while let Some(entry) = tar.next_entry()? {
        applied.entries += 1;
        let name = Name::clean(&entry.path)?;
        match meaning(&name)? {
            Meaning::Entry if entry.kind == Kind::HardLink => {
                let target = Name::clean(&entry.link)?;
                if !tree.hard_link(&name, &entry, &target)? {
                    links.push(later(&mut tree, &name, &entry, &target, &opts.lowers)?);
                }
            }
            Meaning::Entry => tree.place(&name, &entry, &mut tar)?,
            Meaning::Whiteout(hidden) => {
                let hidden = Name::of(join(name.parent(), &hidden));
                whiteout(&mut tree, &hidden, opts.attrs)?;
            }
            Meaning::Opaque => {
                let dir = tree.parent(name.parent())?;
                tree.set_opaque(dir.fd.as_fd(), &dir.real)?;
            }
            Meaning::Aufs => {}
        }
    }
    applied.bytes = tree.bytes;
    applied.skipped_devices = tree.left_out();
    applied.skipped_xattrs = tree.skipped_xattrs;
    let implied = tree.finish()?;
    let pending = Pending { implied, links };
    match &opts.lowers {
        Lowers::None => {}
        Lowers::Dirs(lowers) => settle_in(root.as_fd(), lowers, &pending, opts.attrs)?,
        Lowers::Later => applied.pending = pending,
    }
    if opts.sync {
        rustix::fs::syncfs(&root).map_err(failed("synchronise", b""))?;
    }
    Ok(applied)
}

/// Takes from the layers below (`lowers`, topmost first) what a layer left open when it was
/// unpacked into `root` with [`Lowers::Later`].
///
/// # Errors
/// [`Error::LinkTargetMissing`] where the layers below don't hold a hard link's target either;
/// [`Error::LinkToDirectory`]; [`Error::Io`].
pub fn settle(
    root: &Path,
    lowers: &[PathBuf],
    pending: &Pending,
    attrs: OverlayAttrs,
) -> Result<()> {
    settle_in(open_root(root)?.as_fd(), lowers, pending, attrs)
}

fn settle_in(
    root: std::os::fd::BorrowedFd<'_>,
    lowers: &[PathBuf],
    pending: &Pending,
    attrs: OverlayAttrs,
) -> Result<()> {
    if pending.is_empty() {
        return Ok(());
    }
    let below = LowerView::open(lowers, attrs)?;
    lower::adopt(root, &below, &pending.implied)?;
    for (path, target) in &pending.links {
        lower::link(root, &below, path, target)?;
    }
    Ok(())
}

/// What a name means in a layer.
enum Meaning {
    Entry,
    /// Hides this name of the same directory.
    Whiteout(Vec<u8>),
    /// Hides everything below in its directory.
    Opaque,
    /// Nothing: aufs's own business.
    Aufs,
}

fn meaning(name: &Name) -> Result<Meaning> {
    if name.base() == OPAQUE {
        return Ok(Meaning::Opaque);
    }
    if name
        .as_bytes()
        .split(|b| *b == b'/')
        .any(|part| part.starts_with(AUFS))
    {
        return Ok(Meaning::Aufs);
    }
    match name.base().strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Entry),
        Some(b"" | b"." | b"..") => Err(Error::InvalidName {
            path: shown(name.as_bytes()),
            reason: "a whiteout must name a file of its directory",
        }),
        Some(hidden) => Ok(Meaning::Whiteout(hidden.to_vec())),
    }
}

/// A hard link to something that must be in a layer below.
fn later(
    tree: &mut Tree<'_>,
    name: &Name,
    entry: &Entry,
    target: &Name,
    lowers: &Lowers,
) -> Result<(Vec<u8>, Vec<u8>)> {
    if matches!(lowers, Lowers::None) || target.is_root() {
        return Err(Error::LinkTargetMissing {
            path: shown(name.as_bytes()),
            target: shown(&entry.link),
        });
    }
    let dir = tree.parent(name.parent())?;
    let real = join(&dir.real, name.base());
    // The last entry of a name wins.
    if let Ok(found) = stat(dir.fd.as_fd(), name.base()) {
        tree.clear(&dir, name.base(), &real, &found)?;
    }
    Ok((real, target.as_bytes().to_vec()))
}

/// Hides a name of the layers below.
fn whiteout(tree: &mut Tree<'_>, hidden: &Name, attrs: OverlayAttrs) -> Result<()> {
    let dir = tree.parent(hidden.parent())?;
    let (fd, name) = (dir.fd.as_fd(), hidden.base());
    let real = join(&dir.real, name);
    let mode = Mode::empty();
    match rustix::fs::mknodat(fd, name, FileType::CharacterDevice, mode, 0) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let found = stat(fd, name).map_err(failed("stat", &real))?;
            // The layer's own file hides the one below by being there; a directory would merge.
            if file_type(&found) == FileType::Directory && !is_whiteout(&found) {
                let made = open_place(fd, name).map_err(failed("open", &real))?;
                tree.set_opaque(made.as_fd(), &real)?;
            }
            Ok(())
        }
        // Kernels before 5.8 want CAP_MKNOD for it, and some file systems have no devices.
        Err(Errno::PERM) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file =
                rustix::fs::openat(fd, name, flags, mode).map_err(failed("create", &real))?;
            Carrier::Open(file.as_fd())
                .set(attrs.whiteout().as_bytes(), b"y")
                .map_err(failed("make a whiteout of", &real))?;
            // Tells the kernel to look for such files in this directory.
            Carrier::Place(fd)
                .set(attrs.opaque().as_bytes(), b"x")
                .map_err(failed(
                    "allow whiteouts in",
                    as_path(&dir.real).as_os_str().as_encoded_bytes(),
                ))
        }
        Err(e) => Err(failed("create", &real)(e)),
    }
}
