//! A share mounted on this host, in a mount namespace of the test's thread.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coracle_share::{ServeOptions, mount, relay, serve};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// One test of a process at a time: a child that another test forks has, until its exec, copies
/// of this one's files and of `/dev/fuse`, and would wait for itself when it closes them.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    static TURN: Cell<Option<MutexGuard<'static, ()>>> = const { Cell::new(None) };
}

/// Unmounts by force, also when a test fails.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH | UnmountFlags::FORCE);
    }
}

pub struct Share {
    _unmount: Unmount,
    /// The host's side.
    pub source: PathBuf,
    /// The guest's side.
    pub target: PathBuf,
    pub server: JoinHandle<std::io::Result<()>>,
    pub relay: JoinHandle<std::io::Result<()>>,
    pub runtime: Runtime,
    _at: TempDir,
}

/// Tests need root and FUSE; without, they say so and pass.
pub fn able() -> bool {
    let able = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
    if !able {
        eprintln!("skipped: mounting a share needs root and /dev/fuse");
    }
    able
}

/// The calling thread, and all that it starts, gets a mount namespace of its own.
pub fn own_mounts() {
    TURN.set(Some(ALONE.lock().unwrap_or_else(PoisonError::into_inner)));
    // SAFETY: takes no pointer; descriptors stay shared.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
}

pub fn path_fd(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

impl Share {
    /// Shares `source`. The thread must have [`own_mounts`].
    pub fn new(source: &Path, options: ServeOptions) -> Share {
        let at = tempfile::tempdir().unwrap();
        let target = at.path().join("share");
        let is_dir = source.is_dir();
        if is_dir {
            std::fs::create_dir(&target).unwrap();
        } else {
            std::fs::write(&target, "").unwrap();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (host, guest) = {
            let _in = runtime.enter();
            UnixStream::pair().unwrap()
        };
        let fuse = mount(&target, is_dir, options.read_only).unwrap();
        let server = runtime.spawn(serve(host, path_fd(source), options));
        let relay = runtime.spawn(relay(fuse, guest));
        Share {
            _unmount: Unmount(target.clone()),
            source: source.into(),
            target,
            server,
            relay,
            runtime,
            _at: at,
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    pub fn on_host(&self, name: &str) -> PathBuf {
        self.source.join(name)
    }

    /// Unmounts, and waits for both ends to end well.
    pub fn end(self) {
        let Share {
            target,
            server,
            relay,
            runtime,
            _at,
            ..
        } = self;
        // A program in the background may be about to end.
        let busy = |tries: &u32| {
            let result = rustix::mount::unmount(&target, UnmountFlags::empty());
            let busy = result == Err(rustix::io::Errno::BUSY) && *tries < 100;
            if busy {
                std::thread::sleep(std::time::Duration::from_millis(10));
            } else {
                result.unwrap();
            }
            busy
        };
        (0u32..).find(|tries| !busy(tries));
        runtime.block_on(async {
            relay.await.unwrap().unwrap();
            server.await.unwrap().unwrap();
        });
    }
}

/// A share of a new directory, no caching, for a test of what is seen on both sides.
pub fn fresh() -> (TempDir, Share) {
    own_mounts();
    let source = tempfile::tempdir().unwrap();
    let mut options = ServeOptions::default();
    options.cache = std::time::Duration::ZERO;
    let share = Share::new(source.path(), options);
    (source, share)
}

/// Runs a shell script in a directory; its output, if it succeeds.
pub fn sh(directory: &Path, script: &str) -> String {
    let output = Command::new("bash")
        .args(["-euc", script])
        .current_dir(directory)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(
        output.status.success(),
        "{script}: {}\n{out}{err}",
        output.status
    );
    out
}
