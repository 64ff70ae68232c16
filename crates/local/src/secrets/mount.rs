//! Secrets on their way into a container: a file system in memory, mounted nowhere, that the
//! container's shim is handed as a descriptor and mounts single files of.
//!
//! So no value is in any configuration, argument or environment, and none passes through the shim's
//! memory unless it has a machine to bring it to. The kernel drops the file system with the last
//! container and shim that has it. It isn't swapped out where the kernel can be told so (`noswap`,
//! since Linux 6.4, and not by an ordinary user).

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use coracle_runtime::{Result, RuntimeError};
use coracle_secret::Vault;
use coracle_spec::{MountKind, ResolvedMount};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::{FileRecord, error};

/// What a file takes besides its content, at most.
const PAGE: usize = 64 << 10;

/// The mounts of files, each by its place in the list as its name.
pub(crate) fn mounts(files: &[FileRecord]) -> impl Iterator<Item = ResolvedMount> {
    files
        .iter()
        .enumerate()
        .map(|(number, file)| ResolvedMount {
            kind: MountKind::Handed {
                file: number.to_string(),
            },
            // For messages: it is not looked at.
            source: format!("/{}/{}", file.kind, file.name).into(),
            subpath: String::new(),
            destination: file.destination.clone().into(),
            read_only: true,
        })
}

/// Makes the file system; none for a container without secrets. Blocks.
pub(crate) fn make(vault: &Vault, files: &[FileRecord]) -> Result<Option<OwnedFd>> {
    if files.is_empty() {
        return Ok(None);
    }
    let failed = |name: &str, error: io::Error| {
        RuntimeError::Internal(format!("cannot give the container {name}: {error}"))
    };
    let room = |file: &FileRecord| match file.kind {
        coracle_secret::Kind::Secret => coracle_secret::MAX_SECRET + PAGE,
        coracle_secret::Kind::Config => coracle_secret::MAX_CONFIG + PAGE,
    };
    let filesystem =
        new_tmpfs(files.iter().map(room).sum()).map_err(|error| failed("its secrets", error))?;
    for (number, file) in files.iter().enumerate() {
        let value = vault.value(file.kind, &file.id).map_err(error)?;
        write(&filesystem, number, file, &value).map_err(|error| failed(&file.name, error))?;
    }
    Ok(Some(filesystem))
}

fn new_tmpfs(size: usize) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "mode", "0700")?;
    rustix::mount::fsconfig_set_string(&context, "size", size.to_string())?;
    // Older kernels don't know it, and user namespaces may not.
    let _ = rustix::mount::fsconfig_set_flag(&context, "noswap");
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok(mount)
}

fn write(filesystem: &OwnedFd, number: usize, file: &FileRecord, value: &[u8]) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let made = rustix::fs::openat(filesystem, number.to_string(), flags, mode)?;
    let mut made = std::fs::File::from(made);
    made.write_all(value)?;
    let (uid, gid) = (Uid::from_raw(file.uid), Gid::from_raw(file.gid));
    rustix::fs::fchown(&made, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(file.mode))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;

    use coracle_secret::Kind;

    use super::*;

    #[test]
    fn files_are_as_asked_for_and_mounted_nowhere() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root mounts");
            return;
        }
        let table = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let before = table().lines().count();
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path().join("vault")).unwrap();
        let large = vec![b'x'; coracle_secret::MAX_SECRET - 1];
        let mut files = Vec::new();
        for (name, value) in [("one", b"value".as_slice()), ("two", &large)] {
            let made = vault.create(Kind::Secret, name, BTreeMap::new(), value);
            files.push(FileRecord {
                kind: Kind::Secret,
                id: made.unwrap().id,
                name: name.into(),
                destination: format!("/run/secrets/{name}"),
                uid: 7,
                gid: 8,
                mode: 0o440,
            });
        }
        assert!(make(&vault, &[]).unwrap().is_none());
        let made = make(&vault, &files).unwrap().unwrap();
        let open = |name: &str| {
            let file = rustix::fs::openat(&made, name, OFlags::RDONLY, Mode::empty());
            std::fs::File::from(file.unwrap())
        };
        let mut text = String::new();
        open("0").read_to_string(&mut text).unwrap();
        assert_eq!(text, "value");
        let metadata = open("1").metadata().unwrap();
        assert_eq!(metadata.len(), large.len() as u64);
        assert_eq!((metadata.uid(), metadata.gid()), (7, 8));
        assert_eq!(metadata.mode() & 0o7777, 0o440);
        assert_eq!(table().lines().count(), before);
        vault.remove(Kind::Secret, &files[1].id).unwrap();
        assert!(make(&vault, &files).is_err());
    }
}
