//! What is mounted inside.

use std::path::{Path, PathBuf};

use coracle_runtime::spec::HostConfig;
use oci_spec::runtime::{Mount, MountBuilder};

use crate::SpecError;

/// Bytes of /dev/shm where nothing was asked for.
const SHM_SIZE: i64 = 64 << 20;

/// What a mount is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A host file or directory.
    Bind {
        /// Propagation word; empty means `rprivate`.
        propagation: String,
        /// Whether submounts come along.
        recursive: bool,
        /// Whether a read-only mount's submounts are read-only too: `None` where it can be done.
        recursive_read_only: Option<bool>,
    },
    /// Memory.
    Tmpfs {
        /// Mount options, checked by [`tmpfs_options`].
        options: Vec<String>,
    },
    /// A file system of its own, mounted in the container alone.
    FileSystem {
        /// Its type.
        kind: String,
        /// Its options.
        options: Vec<String>,
        /// It is mounted before the container's namespaces are entered: by the host's network.
        by_host: bool,
    },
    /// A disk of a network block device server, in the container's machine. The source is its URI.
    Disk {
        /// Its file system, or [`RAW`](crate::RAW).
        kind: String,
        /// The file system's options; `ro` for a disk that nobody writes to.
        options: Vec<String>,
    },
    /// A file of the file system that the launcher is handed beside the specification, by its name
    /// there: a secret's. Always read-only.
    Handed {
        /// Its name.
        file: String,
    },
}

/// A mount whose source is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedMount {
    /// Kind.
    pub kind: MountKind,
    /// Path on the host; empty for tmpfs.
    pub source: PathBuf,
    /// What of a bind's source is mounted: a relative path that no link may lead out of the source,
    /// not even one that is made while the container starts. Empty for all of it.
    pub subpath: String,
    /// Path inside.
    pub destination: PathBuf,
    /// Read-only.
    pub read_only: bool,
}

impl ResolvedMount {
    /// A plain bind mount.
    pub fn bind(
        source: impl Into<PathBuf>,
        destination: impl Into<PathBuf>,
        read_only: bool,
    ) -> Self {
        Self {
            kind: MountKind::Bind {
                propagation: String::new(),
                recursive: true,
                recursive_read_only: None,
            },
            source: source.into(),
            subpath: String::new(),
            destination: destination.into(),
            read_only,
        }
    }
}

/// The mounts, in the order they are made: the system's own, then the user's, parents first.
pub(crate) fn mounts(
    config: &HostConfig,
    user: &[ResolvedMount],
    default_shm: i64,
    private: Private,
) -> Result<Vec<Mount>, SpecError> {
    let taken = |destination: &str| {
        user.iter()
            .any(|mount| mount.destination == Path::new(destination))
    };
    let mut mounts = Vec::new();
    let access = if config.privileged { "rw" } else { "ro" };
    let shm = match config.shm_size {
        0 if default_shm > 0 => default_shm,
        0 => SHM_SIZE,
        given => given,
    };
    let shm = format!("size={shm}");
    let system: [(&str, &str, &str, Vec<&str>); 7] = [
        ("/proc", "proc", "proc", vec!["nosuid", "noexec", "nodev"]),
        (
            "/dev",
            "tmpfs",
            "tmpfs",
            vec!["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            vec![
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        (
            "/sys",
            "sysfs",
            "sysfs",
            vec!["nosuid", "noexec", "nodev", access],
        ),
        (
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            vec!["nosuid", "noexec", "nodev", access],
        ),
        (
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            vec!["nosuid", "noexec", "nodev"],
        ),
        (
            "/dev/shm",
            "tmpfs",
            "shm",
            vec!["nosuid", "noexec", "nodev", "mode=1777", &shm],
        ),
    ];
    for (destination, kind, source, options) in system {
        let hidden = destination == "/dev/shm" && !private.shm;
        if !taken(destination) && !hidden {
            mounts.push(mount(destination, kind, Path::new(source), &options)?);
        }
    }
    let mut user: Vec<&ResolvedMount> = user.iter().collect();
    // A stable sort: parents before children, else the order given.
    user.sort_by_key(|mount| mount.destination.components().count());
    for mount in user {
        mounts.push(user_mount(mount)?);
    }
    Ok(mounts)
}

/// Which system mounts are the container's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Private {
    /// `/dev/shm`, unless it is another container's or the host's.
    pub(crate) shm: bool,
}

pub(crate) fn user_mount(given: &ResolvedMount) -> Result<Mount, SpecError> {
    let destination = given.destination.to_string_lossy();
    match &given.kind {
        MountKind::FileSystem {
            kind,
            options,
            by_host,
        } => {
            let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
            options.extend(given.read_only.then_some("ro"));
            options.extend(by_host.then_some("X-coracle.host"));
            mount(&destination, kind, &given.source, &options)
        }
        MountKind::Disk { kind, options } => {
            let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
            let access = if given.read_only { "ro" } else { "rw" };
            options.extend(["X-coracle.disk", access]);
            mount(&destination, kind, &given.source, &options)
        }
        MountKind::Handed { file } => {
            let file = format!("X-coracle.handed={file}");
            let options = ["bind", "rprivate", "ro", "nosuid", "nodev", "noexec", &file];
            mount(&destination, "bind", &given.source, &options)
        }
        MountKind::Tmpfs { options } => {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            mount(&destination, "tmpfs", Path::new("tmpfs"), &options)
        }
        MountKind::Bind {
            propagation,
            recursive,
            recursive_read_only,
        } => {
            let propagation = if propagation.is_empty() {
                "rprivate"
            } else {
                propagation
            };
            let mut options = vec![if *recursive { "rbind" } else { "bind" }, propagation];
            if given.read_only {
                options.push("ro");
                if *recursive && *recursive_read_only == Some(true) {
                    options.push("rro");
                }
            } else {
                options.push("rw");
            }
            let inside = format!("X-mount.subdir={}", given.subpath);
            if !given.subpath.is_empty() {
                options.push(&inside);
            }
            mount(&destination, "bind", &given.source, &options)
        }
    }
}

fn mount(
    destination: &str,
    kind: &str,
    source: &Path,
    options: &[&str],
) -> Result<Mount, SpecError> {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options)
        .build()
        .map_err(|error| SpecError::invalid(error.to_string()))
}

/// Docker's defaults for a tmpfs, then the options given, each known to tmpfs(5) or mount(8).
pub fn tmpfs_options(given: &str) -> Result<Vec<String>, SpecError> {
    const FLAGS: [&str; 20] = [
        "rw",
        "ro",
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "sync",
        "async",
        "dirsync",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "defaults",
    ];
    const VALUES: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];
    let mut options: Vec<String> = ["noexec", "nosuid", "nodev"].map(str::to_owned).into();
    for option in given.split(',').filter(|option| !option.is_empty()) {
        let known = match option.split_once('=') {
            None => FLAGS.contains(&option) || option == "tmpcopyup",
            Some((key, value)) => {
                VALUES.contains(&key)
                    && !value.is_empty()
                    && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '%')
            }
        };
        if !known {
            return Err(SpecError::invalid(format!(
                "invalid tmpfs option [\"{option}\"]"
            )));
        }
        // `exec` takes the default `noexec` away, and so on.
        options.retain(|kept| kept.strip_prefix("no") != Some(option));
        options.push(option.to_owned());
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_options_are_dockers() {
        assert_eq!(tmpfs_options("").unwrap(), ["noexec", "nosuid", "nodev"]);
        assert_eq!(
            tmpfs_options("exec,size=64m").unwrap(),
            ["nosuid", "nodev", "exec", "size=64m"]
        );
        assert!(tmpfs_options("lowerdir=/etc").is_err());
    }

    #[test]
    fn a_part_of_a_source_is_left_to_be_found_safely() {
        let mut part = ResolvedMount::bind("/volume", "/data", true);
        part.subpath = "a/b".into();
        let made = user_mount(&part).unwrap();
        assert_eq!(made.source().as_deref(), Some(Path::new("/volume")));
        let options = made.options().clone().unwrap();
        assert!(options.contains(&"X-mount.subdir=a/b".to_owned()));
    }

    #[test]
    fn the_users_mount_takes_the_systems_place_and_parents_come_first() {
        let user = [
            ResolvedMount::bind("/b", "/data/deep", false),
            ResolvedMount::bind("/a", "/data", true),
            ResolvedMount::bind("/s", "/dev/shm", false),
        ];
        let mounts = mounts(&HostConfig::default(), &user, 0, Private { shm: true }).unwrap();
        let order: Vec<_> = mounts
            .iter()
            .map(|mount| mount.destination().to_string_lossy().into_owned())
            .collect();
        assert_eq!(order.iter().filter(|path| *path == "/dev/shm").count(), 1);
        let place = |path: &str| order.iter().position(|other| other == path).unwrap();
        assert!(place("/data") < place("/data/deep"));
    }
}
