//! Network namespaces that live on without a process: bind-mounted onto a file.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::thread::LinkNameSpaceType;
use tokio::sync::{Mutex, MutexGuard};

use crate::error::{Error, Result, blocking};
use crate::netlink::{Netlink, link};
use crate::sys;

/// `NSFS_MAGIC`: the file system of namespace files.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// One of them is held while a file is made or removed: which one follows from its path. A maker
/// that was given up goes on to its end, and whoever clears up after it must come later.
static PLACES: [Mutex<()>; 64] = [const { Mutex::const_new(()) }; 64];

async fn exclusive(path: &Path) -> MutexGuard<'static, ()> {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let index = usize::try_from(hasher.finish() % PLACES.len() as u64).unwrap_or(0);
    PLACES[index].lock().await
}

/// Makes a network namespace with its loopback up and nothing else, and keeps it alive at `path`.
/// What an earlier run left there is removed first. Its owner is the calling process's user
/// namespace.
///
/// # Errors
/// `Namespace` if the kernel refuses; nothing is left at `path` then.
pub async fn create_netns(path: impl Into<PathBuf>) -> Result<()> {
    let path = path.into();
    let guard = exclusive(&path).await;
    blocking(move || {
        let _guard = guard;
        create(&path)
    })
    .await
}

/// Removes what [`create_netns`] made; nothing there is no error. The namespace itself, with its
/// interfaces, goes when its last process does; the kernel does that in the background.
///
/// # Errors
/// `Namespace` if the file can't be unmounted or removed.
pub async fn remove_netns(path: impl Into<PathBuf>) -> Result<()> {
    let path = path.into();
    let guard = exclusive(&path).await;
    blocking(move || {
        let _guard = guard;
        remove(&path)
    })
    .await
}

/// Removes all namespaces in a directory but those whose file names are in `live`; returns the
/// names of the removed ones. A directory that isn't there is an empty one.
///
/// # Errors
/// `Io` if the directory can't be read, `Namespace` if one can't be removed (the others are).
pub async fn remove_stale_netns(
    directory: impl Into<PathBuf>,
    live: HashSet<String>,
) -> Result<Vec<String>> {
    let directory = directory.into();
    blocking(move || {
        let failed = |source| Error::Io {
            what: format!("read {}", directory.display()),
            source,
        };
        let entries = match fs::read_dir(&directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let (mut removed, mut result) = (Vec::new(), Ok(()));
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy().into_owned();
            if live.contains(&name) {
                continue;
            }
            match remove(&directory.join(&name)) {
                Ok(()) => removed.push(name),
                Err(e) => result = Err(e),
            }
        }
        result.map(|()| removed)
    })
    .await
}

fn create(path: &Path) -> Result<()> {
    let failed = |source| Error::Namespace {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(failed)?;
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let place = || rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o400));
    match place() {
        Err(Errno::EXIST) => {
            remove(path)?;
            place().map_err(io::Error::from).map_err(failed)?;
        }
        result => drop(result.map_err(io::Error::from).map_err(failed)?),
    }
    let target = path.to_owned();
    let result = in_thread(move || {
        sys::unshare_net()?;
        Netlink::open()?.change(link::set_up(1))?;
        rustix::mount::mount_bind("/proc/thread-self/ns/net", &target)?;
        Ok(())
    });
    if result.is_err() {
        // Already failing: the first error is the one to tell.
        let _ = remove(path);
    }
    result.map_err(failed)
}

fn remove(path: &Path) -> Result<()> {
    let failed = |e: Errno| Error::Namespace {
        path: path.to_owned(),
        source: e.into(),
    };
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    loop {
        match rustix::mount::unmount(path, flags) {
            // One may lie on another after a crash between mount and clean-up.
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(e) => return Err(failed(e)),
        }
    }
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(failed(e)),
    }
}

/// Opens a namespace file.
pub(crate) fn open(path: &Path) -> Result<OwnedFd> {
    let failed = |source| Error::Namespace {
        path: path.to_owned(),
        source,
    };
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| failed(e.into()))?;
    let kind = rustix::fs::fstatfs(&file)
        .map_err(|e| failed(e.into()))?
        .f_type;
    if kind != NSFS_MAGIC {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a namespace: it must be made (again) first",
        )));
    }
    Ok(file)
}

/// Runs `work` in a namespace, in a thread of its own that ends with it: no thread that others use
/// is ever in a foreign namespace.
pub(crate) fn within<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    in_thread(|| {
        rustix::thread::move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(256 * 1024)
            .spawn_scoped(scope, work)?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a namespace thread panicked")))
    })
}
