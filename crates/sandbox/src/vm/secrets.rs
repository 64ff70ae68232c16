//! Files that are handed over beside the task (secrets), for the guest's memory: nothing of them is
//! written to a disk, neither here nor there.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use coracle_guest::File;
use coracle_task::HANDED;
use oci_spec::runtime::Mount;
use rustix::fs::{Mode, OFlags};

/// What is sent along with the set-up, in bytes together; the rest follows one by one, as a request
/// must fit a frame.
pub(crate) const SET_UP: usize = 64 << 10;
/// The most bytes of one.
const MAX: u64 = 1 << 20;

/// The file that a mount names, if it names one.
pub(crate) fn name(mount: &Mount) -> Option<String> {
    let mut options = mount.options().iter().flatten();
    options.find_map(|option| option.strip_prefix(HANDED).map(str::to_owned))
}

/// Reads it, and has the mount refer to the guest's copy, which is in the container's own directory there,
/// in memory.
pub(crate) fn carry(
    filesystem: Option<&OwnedFd>,
    name: &str,
    own: &str,
    number: usize,
    mount: &mut Mount,
) -> io::Result<File> {
    let filesystem =
        filesystem.ok_or_else(|| io::Error::other("the file system of secrets did not come"))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(filesystem, name, flags, Mode::empty())?;
    let file = std::fs::File::from(file);
    let metadata = file.metadata()?;
    // Exactly as large: a buffer that grows leaves copies behind.
    let length = metadata.len().min(MAX);
    let mut data = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut data)?;
    let path = format!("{own}/secrets/{number}");
    let options = mount.options().iter().flatten();
    let kept: Vec<String> = options
        .filter(|option| !option.starts_with(HANDED))
        .cloned()
        .collect();
    mount.set_options(Some(kept));
    mount.set_source(Some(path.clone().into()));
    Ok(File {
        path,
        mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        data,
    })
}
