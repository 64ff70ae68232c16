//! The shared tree: nodes, open files, and how a request comes to a descriptor of the host.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat, openat2, statx};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::ServeOptions;
use super::handles::Handles;
use super::locks::Locks;
use super::nodes::{Found, Key, Nodes, Way};
use super::source::Source;
use super::wire::{Reply, Result};

/// `OVERLAYFS_SUPER_MAGIC`: a file's birth changes when it is copied up.
const OVERLAY: i64 = 0x794c_7630;
/// Every file system that a recursive share may hold.
const MAX_DEVICES: usize = 4096;

pub(super) struct Fs {
    pub(super) options: ServeOptions,
    /// `/proc/self/fd`.
    pub(super) descriptors: Arc<OwnedFd>,
    pub(super) handles: Handles,
    pub(super) locks: Locks,
    /// What INIT settled, [`u64::MAX`] before.
    pub(super) features: AtomicU64,
    nodes: Mutex<Nodes>,
    devices: Mutex<Vec<Device>>,
    cross: Option<u64>,
}

struct Device {
    number: (u32, u32),
    births: bool,
}

impl Fs {
    pub(super) fn new(
        source: Source,
        descriptors: Arc<OwnedFd>,
        options: ServeOptions,
    ) -> io::Result<Fs> {
        let devices = Mutex::default();
        let root = stat_fd(&source.root)?;
        let overlay = is_overlay(&source.root);
        let found = identify(&devices, &root, || overlay)?;
        if !matches!(found.kind, libc::S_IFDIR | libc::S_IFREG) {
            let message = "only a directory or a regular file can be shared";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let files = options.max_files.max(32);
        Ok(Fs {
            descriptors,
            handles: Handles::new(files / 2),
            locks: Locks::new(files / 8),
            features: AtomicU64::new(u64::MAX),
            nodes: Mutex::new(Nodes::new(
                source.root,
                found,
                options.max_nodes,
                files - files / 2 - files / 8,
            )),
            devices,
            cross: (!source.cross).then_some(root.stx_mnt_id),
            options,
        })
    }

    pub(super) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, feature: u64) -> bool {
        self.features.load(Ordering::Relaxed) & feature != 0
    }

    /// `EROFS` in a read-only share.
    pub(super) fn writable(&self) -> Result<()> {
        if self.options.read_only {
            Err(Errno::ROFS)
        } else {
            Ok(())
        }
    }

    /// The `O_PATH` descriptor of a node.
    pub(super) fn node(&self, id: u64) -> Result<Arc<OwnedFd>> {
        for _ in 0..64 {
            let way = self.nodes().way(id)?;
            let (base, path, expected) = match way {
                Way::Open(fd) => return Ok(fd),
                Way::Path(base, path, expected) => (base, path, expected),
            };
            let fd = self.open_path(&base, &path).map_err(gone)?;
            if self.identify_fd(&fd)? != expected {
                return Err(Errno::STALE);
            }
            let Some(found) = self.nodes().known(&expected) else {
                return Err(Errno::STALE);
            };
            let (fd, closed) = self.nodes().keep(found, fd);
            drop(closed);
            if found == id {
                return Ok(fd);
            }
        }
        Err(Errno::STALE)
    }

    /// Opens without following any link, or entering a mount that isn't part of the share.
    fn open_path(&self, base: &OwnedFd, path: &CStr) -> Result<OwnedFd> {
        let mut resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        if self.cross.is_some() {
            resolve |= ResolveFlags::NO_XDEV;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.patient(|| openat2(base, path, flags, Mode::empty(), resolve))
    }

    /// Opens a node, which must be of `kind`, for use.
    pub(super) fn reopen(&self, id: u64, kind: u32, flags: OFlags) -> Result<OwnedFd> {
        match self.nodes().kind(id)? {
            is if is == kind => {}
            libc::S_IFDIR => return Err(Errno::ISDIR),
            _ if kind == libc::S_IFDIR => return Err(Errno::NOTDIR),
            // The guest's kernel opens these itself.
            _ => return Err(Errno::NXIO),
        }
        let fd = self.node(id)?;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        self.patient(|| {
            openat(
                &*self.descriptors,
                DecInt::from_fd(&*fd),
                flags,
                Mode::empty(),
            )
        })
    }

    /// Does what opens a file; if the process has no more descriptors, those kept for speed go.
    pub(super) fn patient<T>(&self, open: impl Fn() -> Result<T>) -> Result<T> {
        match open() {
            Err(Errno::MFILE) => {
                let closed = self.nodes().shrink(8);
                drop(closed);
                open().map_err(|error| {
                    if error == Errno::MFILE {
                        Errno::NFILE
                    } else {
                        error
                    }
                })
            }
            result => result,
        }
    }

    /// Looks at an entry of a directory; the guest then knows it.
    pub(super) fn look_up(&self, parent: u64, name: &CStr) -> Result<(u64, Statx)> {
        let directory = self.node(parent)?;
        let (found, stat) = self.look_at(&directory, name)?;
        let id = self.nodes().seen(found, parent, name)?;
        Ok((id, stat))
    }

    /// Looks at an entry of a directory.
    pub(super) fn look_at(&self, directory: &OwnedFd, name: &CStr) -> Result<(Found, Statx)> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = statx(directory, name, flags, wanted())?;
        if self.cross.is_some_and(|mount| mount != stat.stx_mnt_id) {
            return Err(Errno::ACCESS);
        }
        let overlay = || {
            self.open_path(directory, name)
                .is_ok_and(|fd| is_overlay(&fd))
        };
        Ok((identify(&self.devices, &stat, overlay)?, stat))
    }

    pub(super) fn identify_fd(&self, fd: &OwnedFd) -> Result<Found> {
        identify(&self.devices, &stat_fd(fd)?, || is_overlay(fd))
    }

    /// The number that the guest sees: one of a file system below must not be taken for another
    /// of the root's.
    pub(super) fn inode(&self, inode: u64, device: u32) -> u64 {
        inode ^ (u64::from(device) << 48)
    }

    /// `struct fuse_attr`.
    pub(super) fn attributes(&self, reply: Reply, stat: &Statx) -> Reply {
        let number = (stat.stx_dev_major, stat.stx_dev_minor);
        let device = position(&lock(&self.devices), number).unwrap_or_default();
        let seconds = |time: i64| time.cast_unsigned();
        let rdev = (stat.stx_rdev_minor & 0xff)
            | (stat.stx_rdev_major << 8)
            | ((stat.stx_rdev_minor & !0xff) << 12);
        reply
            .u64(self.inode(stat.stx_ino, device))
            .u64(stat.stx_size)
            .u64(stat.stx_blocks)
            .u64(seconds(stat.stx_atime.tv_sec))
            .u64(seconds(stat.stx_mtime.tv_sec))
            .u64(seconds(stat.stx_ctime.tv_sec))
            .u32(stat.stx_atime.tv_nsec)
            .u32(stat.stx_mtime.tv_nsec)
            .u32(stat.stx_ctime.tv_nsec)
            .u32(stat.stx_mode.into())
            .u32(stat.stx_nlink)
            .u32(stat.stx_uid)
            .u32(stat.stx_gid)
            .u32(rdev)
            .u32(stat.stx_blksize)
            .u32(0)
    }

    /// `struct fuse_entry_out`.
    pub(super) fn entry(&self, reply: Reply, id: u64, stat: &Statx) -> Reply {
        let (seconds, nanoseconds) = self.validity();
        let reply = reply.u64(id).u64(0).u64(seconds).u64(seconds);
        self.attributes(reply.u32(nanoseconds).u32(nanoseconds), stat)
    }

    /// How long the guest may believe what it was told.
    pub(super) fn validity(&self) -> (u64, u32) {
        (
            self.options.cache.as_secs(),
            self.options.cache.subsec_nanos(),
        )
    }
}

/// A node that can't be found at its place is not there any more: the guest looks it up again.
fn gone(error: Errno) -> Errno {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Errno::STALE,
        error => error,
    }
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID
}

pub(super) fn stat_fd(fd: impl AsFd) -> Result<Statx> {
    statx(fd, c"", AtFlags::EMPTY_PATH, wanted())
}

fn is_overlay(fd: &OwnedFd) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_type == OVERLAY)
}

fn lock(devices: &Mutex<Vec<Device>>) -> MutexGuard<'_, Vec<Device>> {
    devices.lock().unwrap_or_else(PoisonError::into_inner)
}

fn position(devices: &[Device], number: (u32, u32)) -> Option<u32> {
    let position = devices.iter().position(|device| device.number == number)?;
    u32::try_from(position).ok()
}

fn identify(
    devices: &Mutex<Vec<Device>>,
    stat: &Statx,
    overlay: impl Fn() -> bool,
) -> Result<Found> {
    let number = (stat.stx_dev_major, stat.stx_dev_minor);
    let known = position(&lock(devices), number);
    let device = match known {
        Some(device) => device,
        None => {
            let births = !overlay();
            let mut devices = lock(devices);
            match position(&devices, number) {
                Some(device) => device,
                None if devices.len() >= MAX_DEVICES => return Err(Errno::NFILE),
                None => {
                    devices.push(Device { number, births });
                    u32::try_from(devices.len() - 1).unwrap_or_default()
                }
            }
        }
    };
    let births = lock(devices)
        .get(device as usize)
        .is_some_and(|device| device.births);
    let birth = (births && StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME))
        .then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec));
    let key = Key {
        inode: stat.stx_ino,
        mount: stat.stx_mnt_id,
        device,
    };
    Ok(Found {
        key,
        birth,
        kind: u32::from(stat.stx_mode) & libc::S_IFMT,
    })
}
