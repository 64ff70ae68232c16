//! File systems mounted by the kernel, attached nowhere.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle_oci::Digest;
use coracle_snapshot::{Options, Snapshots, mount_detached};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// False, with a word about it, where the caller isn't root.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

/// Runs a tool; its output, and whether it is content.
pub(crate) fn run(tool: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(tool)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|e| panic!("{tool}: {e}"));
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A mounted file system.
pub(crate) struct Mounted {
    fd: OwnedFd,
    /// The loop device under it, if there is one.
    pub(crate) device: Option<PathBuf>,
    snapshots: Option<Snapshots>,
}

impl Mounted {
    /// Where it can be reached as long as this is.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// Mounts an image by way of a loop device, which goes together with the mount.
    pub(crate) fn image(image: &Path, kind: &str, writable: bool) -> Mounted {
        let mut args = vec!["--find", "--show"];
        if !writable {
            args.push("--read-only");
        }
        args.push(image.to_str().unwrap());
        let (good, device) = run("losetup", &args);
        assert!(good, "{device}");
        let device = device.trim().to_owned();
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        let mounted = fsconfig_set_string(context.as_fd(), "source", device.as_str())
            .and_then(|()| {
                if writable {
                    Ok(())
                } else {
                    fsconfig_set_flag(context.as_fd(), "ro")
                }
            })
            .and_then(|()| fsconfig_create(context.as_fd()))
            .and_then(|()| {
                let flags = FsMountFlags::FSMOUNT_CLOEXEC;
                fsmount(context.as_fd(), flags, MountAttrFlags::empty())
            });
        // Gone once nobody uses it.
        let detached = run("losetup", &["--detach", &device]);
        let mount = mounted.unwrap_or_else(|e| panic!("mount {kind}: {e}"));
        assert!(detached.0, "{}", detached.1);
        // A mount's own descriptor is only good for look-ups.
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let fd = rustix::fs::openat(&mount, ".", flags, rustix::fs::Mode::empty()).unwrap();
        Mounted {
            fd,
            device: Some(device.into()),
            snapshots: None,
        }
    }

    /// The same layers as a container sees them, without the mount points that are added there.
    pub(crate) fn layers(dir: &Path, tars: &[Vec<u8>]) -> Result<Mounted, coracle_snapshot::Error> {
        let snapshots = Snapshots::open(dir, Options::default())?;
        let diffs: Vec<Digest> = tars.iter().map(|tar| Digest::sha256(tar)).collect();
        let chain = coracle_oci::chain_ids(&diffs);
        for (n, tar) in tars.iter().enumerate() {
            let parent = n.checked_sub(1).map(|n| &chain[n]);
            snapshots.prepare_layer(&chain[n], parent, &diffs[n], &tar[..])?;
        }
        let mut fs = snapshots.create_container("test", &chain)?;
        fs.lower.remove(0);
        let fd = mount_detached(&fs, false)?;
        Ok(Mounted {
            fd,
            device: None,
            snapshots: Some(snapshots),
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(snapshots) = &self.snapshots {
            snapshots.wait_idle();
        }
    }
}

/// Sets an extended attribute.
pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    let name = CString::new(name).unwrap();
    rustix::fs::lsetxattr(
        path,
        name.as_c_str(),
        value,
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
}

/// Has a file's bytes written to disk.
pub(crate) fn sync(path: &Path) {
    rustix::fs::syncfs(File::open(path).unwrap()).unwrap();
}
