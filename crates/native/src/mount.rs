//! What a container is asked to mount.

use coracle_runtime::spec::{BindOptions, Mount, TmpfsOptions, VolumeOptions};

use crate::wire::{body, words};

body! {
    /// Something to mount.
    pub struct MountRequest {
        /// What it is.
        kind: MountKind,
        /// Path inside.
        target: String,
        ; // What may be left out:
        /// Path on the host, or the volume's name; an anonymous volume where there is none.
        source: String,
        /// Read-only.
        read_only: bool,
        /// Of a bind: `rprivate`, `rshared`, `rslave`, `private`, `shared`, `slave`.
        propagation: String,
        /// Of a bind: make the source where it is missing.
        create_source: bool,
        /// Of a volume: mount this path inside of it.
        subpath: String,
        /// Of a volume: do not copy the image's content into a new one.
        no_copy: bool,
        /// Of a tmpfs: bytes.
        size: i64,
        /// Of a tmpfs: permission bits; 0 means 01777.
        mode: u32,
    }
}

words! {
    /// What is mounted.
    pub enum MountKind {
        /// A path of the host.
        Bind = "bind",
        /// A volume.
        #[default]
        Volume = "volume",
        /// Memory.
        Tmpfs = "tmpfs",
    }
}

impl From<MountRequest> for Mount {
    fn from(mount: MountRequest) -> Self {
        let kind = mount.kind;
        Self {
            kind: kind.docker().to_owned(),
            source: mount.source,
            target: mount.target,
            read_only: mount.read_only,
            bind_options: (!mount.propagation.is_empty() || mount.create_source).then(|| {
                BindOptions {
                    propagation: mount.propagation,
                    create_mountpoint: mount.create_source,
                    ..BindOptions::default()
                }
            }),
            volume_options: (!mount.subpath.is_empty() || mount.no_copy).then(|| VolumeOptions {
                no_copy: mount.no_copy,
                subpath: mount.subpath,
                ..VolumeOptions::default()
            }),
            tmpfs_options: (mount.size != 0 || mount.mode != 0).then(|| TmpfsOptions {
                size_bytes: mount.size,
                mode: mount.mode,
                ..TmpfsOptions::default()
            }),
            ..Self::default()
        }
    }
}
