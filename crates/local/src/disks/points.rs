//! The mount points that every container needs, as the topmost layer of its image's disk: what is
//! mounted there is no change of the container's.

use coracle_archive::{Entry, Kind, TarWriter};
use coracle_snapshot::{MOUNT_POINTS, MountPoint};

/// The layer's tar.
pub(crate) fn tar() -> coracle_archive::Result<Vec<u8>> {
    let mut tar = TarWriter::new(Vec::new());
    for (path, point) in MOUNT_POINTS {
        let (kind, link, mode) = match point {
            MountPoint::Directory => (Kind::Directory, "", 0o755),
            MountPoint::File => (Kind::File, "", 0o755),
            MountPoint::Link(target) => (Kind::Symlink, target, 0o777),
        };
        tar.entry(&Entry {
            path: path.as_bytes().to_vec(),
            link: link.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Default::default(),
            device: (0, 0),
            xattrs: Vec::new(),
            sparse: None,
        })?;
    }
    tar.finish()
}
