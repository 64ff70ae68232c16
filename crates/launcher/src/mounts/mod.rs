//! The mounts of a container: made while the host is in sight, attached when it's gone.

pub(crate) mod cgroups;
pub(crate) mod copy_up;
pub(crate) mod foreign;
mod handed;
pub(crate) mod masks;
pub(crate) mod options;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use self::options::{Attributes, Depth, Options};
use crate::error::{Context, Failure, Stage, Step};
use crate::namespaces::Plan;
use crate::path::{self, Root};
use crate::sys;

const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Files of /proc that may be mounted over, as with LXCFS.
const OPEN_PROC: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
];

/// What of the host may be shown where a file system can't be mounted anew.
pub(crate) struct Sight {
    own_pid: bool,
    own_net: bool,
    own_ipc: bool,
    own_cgroup: bool,
    /// In a user namespace.
    mapped: bool,
    hierarchies: cgroups::Hierarchies,
}

impl Sight {
    pub(crate) fn new(plan: &Plan, mounts: &[Mount], mapped: bool) -> Step<Sight> {
        let kinds = mounts.iter().filter_map(|mount| mount.typ().as_deref());
        let needed = kinds
            .into_iter()
            .any(|kind| kind == "cgroup" || kind == "cgroup2");
        Ok(Sight {
            own_pid: plan.has(sys::NEWPID),
            own_net: plan.has(sys::NEWNET),
            own_ipc: plan.has(sys::NEWIPC),
            own_cgroup: plan.has(sys::NEWCGROUP),
            mapped,
            hierarchies: if needed {
                cgroups::Hierarchies::of_this_process()?
            } else {
                cgroups::Hierarchies::default()
            },
        })
    }

    /// Where the host has what a file system of this kind would show in this container.
    fn twin(&self, kind: &str) -> Option<&'static str> {
        match kind {
            "proc" if !self.own_pid => Some("/proc"),
            "sysfs" if !self.own_net => Some("/sys"),
            "mqueue" if !self.own_ipc => Some("/dev/mqueue"),
            _ => None,
        }
    }
}

/// A mount that is made and not attached.
pub(crate) struct Prepared {
    mount: OwnedFd,
    /// For messages.
    source: PathBuf,
    place: PathBuf,
    kind: Kind,
    /// Attributes to set when everything below it is in place.
    late: Attributes,
    copy_up: bool,
    /// Mounts below it, and links.
    below: Vec<Prepared>,
    links: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bind,
    /// May only be mounted on a plain directory that no link leads to.
    Proc,
    Devpts,
    Other,
}

impl Prepared {
    fn new(mount: OwnedFd, place: PathBuf, kind: Kind) -> Prepared {
        Prepared {
            mount,
            source: PathBuf::new(),
            place,
            kind,
            late: Attributes::default(),
            copy_up: false,
            below: Vec::new(),
            links: Vec::new(),
        }
    }
}

/// Makes all mounts, in order. `foreign` are copies that were made already, one place for each
/// mount.
pub(crate) fn prepare(
    mounts: &[Mount],
    foreign: Vec<Option<OwnedFd>>,
    sight: &Sight,
    warnings: &mut Vec<String>,
) -> Step<Vec<Prepared>> {
    let copies = foreign.into_iter().chain(std::iter::repeat_with(|| None));
    mounts
        .iter()
        .zip(copies)
        .map(|(mount, copy)| {
            let options = Options::of(mount)
                .map_err(|error| Failure::new(Stage::Mounts, error.to_string()))?;
            let source = mount.source().as_deref().unwrap_or(Path::new(""));
            let mut prepared = prepare_one(mount, copy, options, sight, warnings)
                .map_err(|failure| described(failure, source, mount.destination()))?;
            prepared.source = source.to_owned();
            Ok(prepared)
        })
        .collect()
}

fn prepare_one(
    mount: &Mount,
    copy: Option<OwnedFd>,
    options: Options,
    sight: &Sight,
    warnings: &mut Vec<String>,
) -> Step<Prepared> {
    let place = mount.destination().clone();
    let kind = mount.typ().as_deref().unwrap_or("none");
    if let Some(depth) = options.bind {
        let source = mount
            .source()
            .as_deref()
            .ok_or_else(|| Failure::new(Stage::Mounts, "a bind mount needs a source"))?;
        let bound = match copy {
            Some(copy) => finish_bind(copy, source, &options)?,
            None => bind(source, depth, &options)?,
        };
        return Ok(Prepared::new(bound, place, Kind::Bind));
    }
    if let Some(made) = copy {
        propagate(&made, &options)?;
        return Ok(Prepared::new(made, place, Kind::Other));
    }
    if kind == "cgroup" || kind == "cgroup2" {
        return cgroups::prepare(place, &options, &sight.hierarchies, sight.own_cgroup);
    }
    // A read-only tmpfs becomes so when the places in it are made.
    let mut now = options.attributes;
    let mut late = Attributes::default();
    if kind == "tmpfs" && now.read_only() {
        now.set &= !libc::MOUNT_ATTR_RDONLY;
        late.set = libc::MOUNT_ATTR_RDONLY;
    }
    let source = mount.source().as_deref();
    let made = match new_filesystem(kind, source, &options.data, now) {
        Err(Errno::INVAL) if kind == "devpts" && sight.mapped => {
            // The tty group isn't mapped.
            let without: Vec<_> = options
                .data
                .iter()
                .filter(|option| !option.starts_with("gid="))
                .cloned()
                .collect();
            let made = new_filesystem(kind, source, &without, now);
            if made.is_ok() {
                warnings.push("terminals have no group of their own: gid 5 is not mapped".into());
            }
            made
        }
        Err(Errno::PERM | Errno::ACCESS) if sight.twin(kind).is_some() => {
            let twin = sight.twin(kind).unwrap_or_default();
            let bound = bind(Path::new(twin), Depth::Tree, &options)?;
            return Ok(Prepared::new(bound, place, Kind::Proc));
        }
        made => made,
    };
    let made = made.during(Stage::Mounts, || format!("mount {kind}"))?;
    propagate(&made, &options)?;
    let kind = match kind {
        "proc" | "sysfs" => Kind::Proc,
        "devpts" => Kind::Devpts,
        _ => Kind::Other,
    };
    let mut prepared = Prepared::new(made, place, kind);
    prepared.late = late;
    prepared.copy_up = options.copy_up;
    Ok(prepared)
}

/// The file system of a mount that is made before the namespaces are entered.
pub(crate) fn by_host(mount: &Mount, options: &Options) -> Step<OwnedFd> {
    let kind = mount.typ().as_deref().unwrap_or_default();
    let source = mount.source().as_deref();
    new_filesystem(kind, source, &options.data, options.attributes)
        .during(Stage::Mounts, || format!("mount {kind}"))
        .map_err(|failure| {
            described(
                failure,
                source.unwrap_or(Path::new("")),
                mount.destination(),
            )
        })
}

/// Mounts the file system that a mount with the option `X-coracle.host` asks for, nowhere: for those
/// who don't give it to a container by its mount namespace.
///
/// # Errors
/// What the kernel says, in Docker's words.
pub fn detached(mount: &Mount) -> Result<OwnedFd, crate::Error> {
    let options = Options::of(mount)?;
    by_host(mount, &options).map_err(crate::Error::Failed)
}

/// A new file system, mounted nowhere.
pub(crate) fn new_filesystem(
    kind: &str,
    source: Option<&Path>,
    data: &[String],
    attributes: Attributes,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some(source) = source {
        rustix::mount::fsconfig_set_string(&context, "source", source)?;
    }
    for option in data {
        match option.split_once('=') {
            Some((key, value)) => rustix::mount::fsconfig_set_string(&context, key, value)?,
            None => rustix::mount::fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::from_bits_retain(attributes.set as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A copy of a mount of the host's, attached nowhere.
pub(crate) fn clone_tree(source: &Path, depth: Depth) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if depth == Depth::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, source, flags)
}

/// The host's device node, to be attached in the container. The mount is read-only, which for a
/// device means that its owner and mode can't be changed; they are the host's.
pub(crate) fn clone_device(path: &Path) -> std::io::Result<OwnedFd> {
    let mount = clone_tree(path, Depth::One)?;
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    sys::mount_setattr(mount.as_fd(), false, set, 0, libc::MS_PRIVATE)?;
    Ok(mount)
}

/// As [`clone_tree`], of something inside the source: whoever can write there can't lead it out by
/// links, whenever they change them.
fn clone_inside(source: &Path, inside: &Path, depth: Depth) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let source = rustix::fs::open(source, flags, Mode::empty())?;
    let found = path::open_beneath(&source, inside)?;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if depth == Depth::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(&found, "", flags)
}

fn bind(source: &Path, depth: Depth, options: &Options) -> Step<OwnedFd> {
    let what = || match &options.subdir {
        Some(inside) => format!("bind {:?} of {}", inside.display(), source.display()),
        None => format!("bind {}", source.display()),
    };
    let mount = match &options.subdir {
        Some(inside) => clone_inside(source, inside, depth),
        None => clone_tree(source, depth),
    };
    finish_bind(mount.during(Stage::Mounts, what)?, source, options)
}

fn finish_bind(mount: OwnedFd, source: &Path, options: &Options) -> Step<OwnedFd> {
    for (attributes, recursive) in [(options.recursive, true), (options.attributes, false)] {
        if !attributes.is_empty() {
            let (set, clear) = (attributes.set, attributes.clear);
            sys::mount_setattr(mount.as_fd(), recursive, set, clear, 0)
                .during(Stage::Mounts, || {
                    format!("set the flags of {}", source.display())
                })?;
        }
    }
    propagate(&mount, options)?;
    Ok(mount)
}

/// Binds are private unless something else is asked for: the host must not see what happens in
/// the container, nor the other way round.
fn propagate(mount: &OwnedFd, options: &Options) -> Step<()> {
    let (propagation, depth) = options
        .propagation
        .unwrap_or((libc::MS_PRIVATE, Depth::Tree));
    sys::mount_setattr(mount.as_fd(), depth == Depth::Tree, 0, 0, propagation)
        .during(Stage::Mounts, || "set the propagation")
}

/// Attaches a mount to a place.
pub(crate) fn attach(mount: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", place, "", flags)
}

/// The container's mounts, attached.
pub(crate) struct Attached {
    late: Vec<(OwnedFd, Attributes)>,
    devpts: Option<OwnedFd>,
    dev_is_bound: bool,
}

impl Attached {
    /// The root directory of the container's devpts.
    pub(crate) fn devpts(&self) -> Option<BorrowedFd<'_>> {
        self.devpts.as_ref().map(AsFd::as_fd)
    }

    /// Whether /dev is a directory of the host's, in which nothing is made.
    pub(crate) fn dev_is_bound(&self) -> bool {
        self.dev_is_bound
    }

    /// Sets the attributes that had to wait.
    pub(crate) fn freeze(self) -> Step<()> {
        for (mount, attributes) in self.late {
            sys::mount_setattr(mount.as_fd(), false, attributes.set, attributes.clear, 0)
                .during(Stage::Mounts, || "make a mount read-only")?;
        }
        Ok(())
    }
}

/// Attaches all mounts, in order, making their places in the root where they are missing.
pub(crate) fn attach_all(mounts: Vec<Prepared>, root: &Root) -> Step<Attached> {
    let mut attached = Attached {
        late: Vec::new(),
        devpts: None,
        dev_is_bound: false,
    };
    for mount in mounts {
        let (source, place) = (mount.source.clone(), mount.place.clone());
        attach_one(mount, root, &mut attached)
            .map_err(|failure| described(failure, &source, &place))?;
    }
    Ok(attached)
}

fn attach_one(mount: Prepared, root: &Root, attached: &mut Attached) -> Step<()> {
    let place = find_place(&mount, root)?;
    check_place(&mount, &place)?;
    if mount.copy_up {
        copy_up::copy(&place, &mount.mount)?;
    }
    for (name, target) in &mount.links {
        rustix::fs::symlinkat(target.as_str(), &mount.mount, name.as_str())
            .during(Stage::Mounts, || format!("make the link {name}"))?;
    }
    attach(&mount.mount, &place).during(Stage::Mounts, || "attach it")?;
    for below in mount.below {
        attach_one(below, root, attached)?;
    }
    if mount.place == Path::new("/dev") {
        attached.dev_is_bound = mount.kind == Kind::Bind;
    }
    if !mount.late.is_empty() {
        attached.late.push((mount.mount, mount.late));
    } else if mount.kind == Kind::Devpts && mount.place == Path::new("/dev/pts") {
        attached.devpts = Some(mount.mount);
    }
    Ok(())
}

fn find_place(mount: &Prepared, root: &Root) -> Step<OwnedFd> {
    let made = || "find or make its place";
    let is_dir = path::is_dir(&mount.mount).during(Stage::Mounts, || "look at it")?;
    if mount.kind == Kind::Proc {
        root.ensure_dir(&mount.place).during(Stage::Mounts, made)?;
        return root
            .open_unlinked(&mount.place, OFlags::PATH | OFlags::DIRECTORY)
            .during(
                Stage::Mounts,
                || "its place must be a directory, not a link",
            );
    }
    let place = if is_dir {
        root.ensure_dir(&mount.place)
    } else {
        root.ensure_file(&mount.place)
    };
    match place {
        Err(errno @ (Errno::NOTDIR | Errno::ISDIR)) => {
            let mut failure = Failure::errno(Stage::Mounts, errno, "find or make its place");
            failure.message += ": Are you trying to mount a directory onto a file (or vice-versa)? \
                                Check if the specified host path exists and is the expected type";
            Err(failure)
        }
        place => place.during(Stage::Mounts, made),
    }
}

/// Nothing may hide parts of /proc: the paths to mask, for example.
fn check_place(mount: &Prepared, place: &OwnedFd) -> Step<()> {
    let magic = |fd| rustix::fs::fstatfs(fd).map(|stat| stat.f_type as u64);
    let on_proc = magic(place).during(Stage::Mounts, || "look at its place")? == PROC_SUPER_MAGIC;
    let allowed = !on_proc
        || OPEN_PROC.iter().any(|open| mount.place == Path::new(open))
        || magic(&mount.mount).during(Stage::Mounts, || "look at it")? == PROC_SUPER_MAGIC;
    if allowed {
        Ok(())
    } else {
        Err(Failure::new(Stage::Mounts, "it can't be inside /proc"))
    }
}

/// In the words that Docker's users know.
fn described(mut failure: Failure, source: &Path, place: &Path) -> Failure {
    failure.message = format!(
        "error mounting {:?} to rootfs at {:?}: {}",
        source.display().to_string(),
        place.display().to_string(),
        failure.message
    );
    failure
}
