//! Writes a tree as a tar stream.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, Statx, StatxFlags};
use rustix::io::Errno;

use crate::apply::{OPAQUE, WHITEOUT};
use crate::entry::{Entry, Kind, Time};
use crate::error::{Error, Result, failed, shown};
use crate::path::{Missing, join, open_place, open_plain, resolve, split};
use crate::walk::{Step, Walker};
use crate::write::TarWriter;
use crate::xattr::{Carrier, OverlayAttrs, is_overlay};

/// File contents copied at once.
const BUFFER: usize = 256 << 10;

/// How a tree is written.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// What the start's name is replaced by in the archive; `/` makes all names absolute. Empty for
    /// paths relative to the start, which then has no entry of its own.
    pub rename: Vec<u8>,
    /// Mount points are shown as empty directories or files, without what is mounted there.
    pub one_mount: bool,
    /// Times have nanoseconds (a PAX header per file), else whole seconds, as Docker's archives.
    pub nanoseconds: bool,
    /// The tree is an overlay's upper directory: whiteouts and opaque directories are written as
    /// in OCI layers.
    pub layer: Option<OverlayAttrs>,
}

/// Writes the tree at `start` (a path inside `root`, followed as in a chroot; a directory or any
/// single file) as entries of `out`. Names are in byte order, parents before their children; hard
/// links are kept; sockets are left out; attributes are those that archives may set again
/// (`user.`, `security.capability`, ACLs). The archive isn't ended.
///
/// A file that changes meanwhile has the size that it had at first: cut, or filled up with zeros.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Write`], [`Error::Io`].
pub fn write_tree<W: Write>(
    root: BorrowedFd<'_>,
    start: &[u8],
    out: &mut TarWriter<W>,
    opts: &WriteOptions,
) -> Result<()> {
    let place = resolve(root, start, false, Missing::Fail)?;
    let mut writer = TreeWriter {
        opts,
        links: HashMap::new(),
        buffer: vec![0; BUFFER],
    };
    if place.kind != FileType::Directory {
        return writer.single(root, &place.real, out);
    }
    let start = place.real;
    let mut walker = Walker::below(root, start.clone());
    let mut mount = None;
    while let Some(step) = walker.next_step()? {
        let relative = step.path.get(start.len()..).unwrap_or_default();
        let relative = relative.strip_prefix(b"/").unwrap_or(relative);
        let here = mount_of(&step);
        let top = *mount.get_or_insert(here);
        let on_other = opts.one_mount && here.is_some() && here != top;
        let name = match (relative, &opts.rename[..]) {
            (b"", b"") => continue,
            (b"", rename) => rename.to_vec(),
            (relative, b"/") => [b"/", relative].concat(),
            (relative, rename) => join(rename, relative),
        };
        writer.step(&step, name, on_other, out)?;
        if on_other {
            walker.skip();
        }
    }
    Ok(())
}

struct TreeWriter<'o> {
    opts: &'o WriteOptions,
    /// The first name of files that have several: device and inode, name, names to come.
    links: HashMap<(u32, u32, u64), (Vec<u8>, u32)>,
    buffer: Vec<u8>,
}

impl TreeWriter<'_> {
    /// A start that isn't a directory.
    fn single<W: Write>(
        &mut self,
        root: BorrowedFd<'_>,
        real: &[u8],
        out: &mut TarWriter<W>,
    ) -> Result<()> {
        let (end, _) = split(real);
        let parent = real.get(..end).unwrap_or_default();
        let dir = open_plain(root, parent, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(failed("open", parent))?;
        let step = Step::look(dir.as_fd(), real.to_vec())?;
        let name = if self.opts.rename.is_empty() {
            step.name().to_vec()
        } else {
            self.opts.rename.clone()
        };
        self.step(&step, name, false, out)
    }

    fn step<W: Write>(
        &mut self,
        step: &Step<'_>,
        name: Vec<u8>,
        on_other: bool,
        out: &mut TarWriter<W>,
    ) -> Result<()> {
        let stat = &step.stat;
        let mut entry = Entry {
            path: name,
            kind: match step.file_type() {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Directory,
                FileType::Symlink => Kind::Symlink,
                FileType::CharacterDevice => Kind::CharDevice,
                FileType::BlockDevice => Kind::BlockDevice,
                FileType::Fifo => Kind::Fifo,
                _ => return Ok(()),
            },
            mode: u32::from(stat.stx_mode) & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mtime: Time {
                secs: stat.stx_mtime.tv_sec,
                nanos: if self.opts.nanoseconds {
                    stat.stx_mtime.tv_nsec
                } else {
                    0
                },
            },
            ..Entry::default()
        };
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            entry.device = (stat.stx_rdev_major, stat.stx_rdev_minor);
        }
        if self.opts.layer.is_some() && entry.kind == Kind::CharDevice && entry.device == (0, 0) {
            return self.whiteout(entry, out);
        }
        if entry.kind != Kind::Directory
            && stat.stx_nlink > 1
            && !on_other
            && let Some(first) = self.first_name(stat, &entry.path)
        {
            entry.kind = Kind::HardLink;
            entry.link = first;
            return out.entry(&entry);
        }
        match entry.kind {
            Kind::File if on_other => out.entry(&entry),
            Kind::File => self.file(step, entry, out),
            _ => self.other(step, entry, on_other, out),
        }
    }

    /// The name under which a file was written before.
    fn first_name(&mut self, stat: &Statx, name: &[u8]) -> Option<Vec<u8>> {
        let id = (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
        let Some((first, left)) = self.links.get_mut(&id) else {
            self.links.insert(id, (name.to_vec(), stat.stx_nlink - 1));
            return None;
        };
        let first = first.clone();
        *left -= 1;
        if *left == 0 {
            self.links.remove(&id);
        }
        Some(first)
    }

    /// A file that the upper directory deletes.
    fn whiteout<W: Write>(&mut self, mut entry: Entry, out: &mut TarWriter<W>) -> Result<()> {
        let (end, start) = split(&entry.path);
        let parent = entry.path.get(..end).unwrap_or_default();
        let base = entry.path.get(start..).unwrap_or_default();
        entry.path = join(parent, &[WHITEOUT, base].concat());
        entry.kind = Kind::File;
        entry.mode = 0o600;
        out.entry(&entry)
    }

    fn file<W: Write>(
        &mut self,
        step: &Step<'_>,
        mut entry: Entry,
        out: &mut TarWriter<W>,
    ) -> Result<()> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match rustix::fs::openat(step.dir, step.name(), flags, Mode::empty()) {
            Ok(fd) => fd,
            // It went away.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
            Err(e) => return Err(failed("open", &step.path)(e)),
        };
        // It may be another file by now, a pipe even: what is open counts.
        let stat = rustix::fs::fstat(&fd).map_err(failed("stat", &step.path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        entry.size = u64::try_from(stat.st_size).unwrap_or(0);
        if let Some(attrs) = self.opts.layer
            && entry.size == 0
            && has(Carrier::Open(fd.as_fd()), attrs.whiteout(), &step.path)?
        {
            return self.whiteout(entry, out);
        }
        entry.xattrs = xattrs(Carrier::Open(fd.as_fd()), &step.path)?;
        out.entry(&entry)?;
        let holes = (stat.st_blocks as u64).saturating_mul(512) < entry.size;
        self.contents(&File::from(fd), &step.path, entry.size, holes, out)
    }

    /// Copies a file's contents; holes aren't read.
    fn contents<W: Write>(
        &mut self,
        file: &File,
        path: &[u8],
        size: u64,
        holes: bool,
        out: &mut TarWriter<W>,
    ) -> Result<()> {
        let mut at = 0;
        let mut data = if holes {
            data_after(file, 0, size)
        } else {
            (0, size)
        };
        while at < size {
            if at >= data.1 {
                data = data_after(file, at, size);
            }
            if at < data.0 {
                out.hole(data.0 - at)?;
                at = data.0;
                continue;
            }
            let want = usize::try_from(data.1 - at)
                .unwrap_or(usize::MAX)
                .min(BUFFER);
            let space = self.buffer.get_mut(..want).unwrap_or_default();
            match file.read_at(space, at) {
                // It got shorter.
                Ok(0) => break,
                Ok(n) => {
                    out.data(space.get(..n).unwrap_or_default())?;
                    at += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(Error::Io {
                        op: "read",
                        path: shown(path),
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// Everything without contents.
    fn other<W: Write>(
        &mut self,
        step: &Step<'_>,
        mut entry: Entry,
        on_other: bool,
        out: &mut TarWriter<W>,
    ) -> Result<()> {
        let fd = match open_place(step.dir, step.name()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(failed("open", &step.path)(e)),
        };
        if entry.kind == Kind::Symlink {
            let target = rustix::fs::readlinkat(&fd, "", Vec::new());
            entry.link = target
                .map_err(failed("read the link", &step.path))?
                .into_bytes();
        }
        let carrier = Carrier::Place(fd.as_fd());
        if !on_other {
            entry.xattrs = xattrs(carrier, &step.path)?;
        }
        out.entry(&entry)?;
        if let (Some(attrs), Kind::Directory) = (self.opts.layer, entry.kind) {
            let opaque = carrier.get(attrs.opaque().as_bytes());
            let opaque = opaque.map_err(failed("read an attribute of", &step.path))?;
            if opaque.as_deref() == Some(b"y") {
                let path = join(&entry.path, OPAQUE);
                let mode = entry.mode & 0o777;
                let marker = Entry {
                    path,
                    mode,
                    kind: Kind::File,
                    xattrs: Vec::new(),
                    ..entry
                };
                out.entry(&marker)?;
            }
        }
        Ok(())
    }
}

/// Where a file's next data begins and ends, at or after an offset below `size`.
fn data_after(file: &File, at: u64, size: u64) -> (u64, u64) {
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.clamp(at, size),
        Err(Errno::NXIO) => return (size, size),
        // The file system doesn't tell: everything is data.
        Err(_) => return (at, size),
    };
    match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) if end > start => (start, end.min(size)),
        _ => (start, size),
    }
}

/// The mount that something is on; before Linux 5.8 the device has to do, and it tells about
/// directories only.
fn mount_of(step: &Step<'_>) -> Option<(u64, u32, u32)> {
    let stat = &step.stat;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        Some((stat.stx_mnt_id, 0, 0))
    } else if step.file_type().is_dir() {
        Some((0, stat.stx_dev_major, stat.stx_dev_minor))
    } else {
        None
    }
}

fn has(carrier: Carrier<'_>, name: &str, path: &[u8]) -> Result<bool> {
    let found = carrier.get(name.as_bytes());
    Ok(found
        .map_err(failed("read an attribute of", path))?
        .is_some())
}

/// The attributes that go into archives, in byte order.
fn xattrs(carrier: Carrier<'_>, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut names = carrier
        .names()
        .map_err(failed("list the attributes of", path))?;
    names.retain(|name| {
        let portable = name.starts_with(b"user.")
            || name == b"security.capability"
            || name.starts_with(b"system.posix_acl_");
        portable && !is_overlay(name)
    });
    names.sort_unstable();
    for name in names {
        let value = carrier
            .get(&name)
            .map_err(failed("read an attribute of", path))?;
        if let Some(value) = value {
            found.push((name, value));
        }
    }
    Ok(found)
}
