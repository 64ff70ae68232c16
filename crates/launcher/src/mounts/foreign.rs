//! Binds of what another container has mounted: sources of the form `/proc/PID/root/PATH`.
//!
//! The kernel copies a mount only for a process in the mount's own namespace. So the helper goes
//! there for that one call, and comes back; what it brings is attached nowhere. The path is
//! resolved before, in the other container's root, which its links can't lead out of.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Mount;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::described;
use super::handed;
use super::options::{Depth, Options};
use crate::error::{Context, Failure, Stage, Step};
use crate::path::Root;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Copies what is bound from other processes' roots, for each of the mounts that does so.
///
/// For a process with one thread, and with its caller's privileges still.
pub(crate) fn clone_all(
    mounts: &[Mount],
    filesystem: Option<&OwnedFd>,
) -> Step<Vec<Option<OwnedFd>>> {
    let one = |mount: &Mount| {
        let options =
            Options::of(mount).map_err(|error| Failure::new(Stage::Mounts, error.to_string()))?;
        if options.by_host {
            return super::by_host(mount, &options).map(Some);
        }
        let Some((process, inside)) = mount.source().as_deref().and_then(parse) else {
            return Ok(None);
        };
        let (Some(depth), None) = (options.bind, options.subdir) else {
            return Ok(None);
        };
        let source = mount.source().as_deref().unwrap_or(Path::new(""));
        clone(&process, &inside, depth)
            .map(Some)
            .map_err(|failure| described(failure, source, mount.destination()))
    };
    let handed = handed::clone_all(mounts, filesystem)?;
    let both = mounts.iter().zip(handed);
    both.map(|(mount, copied)| match copied {
        Some(copied) => Ok(Some(copied)),
        None => one(mount),
    })
    .collect()
}

/// A process's directory in /proc, and the path in its root.
fn parse(source: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut parts = source.components();
    let mut next = || match parts.next()? {
        Component::Normal(name) => name.to_str(),
        Component::RootDir => Some("/"),
        _ => None,
    };
    let (Some("/"), Some("proc"), Some(pid), Some("root")) = (next(), next(), next(), next())
    else {
        return None;
    };
    let digits = pid.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| (Path::new("/proc").join(pid), parts.as_path().to_owned()))
}

fn clone(process: &Path, inside: &Path, depth: Depth) -> Step<OwnedFd> {
    let what = |what: &'static str| move || what;
    let process = rustix::fs::open(process, DIRECTORY, Mode::empty())
        .during(Stage::Mounts, what("find the process"))?;
    let root = rustix::fs::openat(&process, "root", DIRECTORY, Mode::empty())
        .map(Root::new)
        .during(Stage::Mounts, what("open the process's root"))?;
    let inside = Path::new("/").join(inside);
    let found = root
        .open(&inside, OFlags::PATH)
        .during(Stage::Mounts, what("find it in the process's root"))?;
    match copy(&found, depth) {
        // It is in another namespace than this process.
        Err(Errno::INVAL) => {}
        copied => return copied.during(Stage::Mounts, what("copy the mount")),
    }
    let namespace = open_namespace(process.as_fd(), "ns/mnt")
        .during(Stage::Mounts, what("open the process's mount namespace"))?;
    let home = Home::open().during(Stage::Mounts, what("keep the own mount namespace"))?;
    enter(&namespace).during(Stage::Mounts, what("enter the process's mount namespace"))?;
    let copied = copy(&found, depth);
    home.enter()
        .during(Stage::Mounts, what("return to the own mount namespace"))?;
    copied.during(Stage::Mounts, what("copy the mount"))
}

fn copy(found: &OwnedFd, depth: Depth) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if depth == Depth::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(found, "", flags)
}

/// What entering another mount namespace changes of a process (setns(2)).
pub(super) struct Home {
    namespace: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Home {
    pub(super) fn open() -> Result<Home, Errno> {
        let open = |path: &str| rustix::fs::open(path, DIRECTORY, Mode::empty());
        Ok(Home {
            namespace: open_namespace(CWD, "/proc/self/ns/mnt")?,
            root: open("/")?,
            cwd: open(".")?,
        })
    }

    pub(super) fn enter(&self) -> Result<(), Errno> {
        enter(&self.namespace)?;
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        rustix::process::fchdir(&self.cwd)
    }
}

fn open_namespace(dir: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn enter(namespace: &OwnedFd) -> Result<(), Errno> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let parsed = |source: &str| parse(Path::new(source));
        let found = |pid: &str, inside: &str| Some((pid.into(), inside.into()));
        assert_eq!(
            parsed("/proc/12/root/dev/shm"),
            found("/proc/12", "dev/shm")
        );
        assert_eq!(parsed("/proc/1/root"), found("/proc/1", ""));
        assert_eq!(
            parsed("/proc/12/root/../x"),
            found("/proc/12", "../x"),
            "resolved inside the root"
        );
        for other in [
            "/proc/self/root/x",
            "/proc/12/cwd/x",
            "/proc/../12/root",
            "proc/12/root",
            "/proc/12",
            "/x",
            "",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }
}
