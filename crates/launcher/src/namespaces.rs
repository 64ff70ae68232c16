//! Which namespaces are made, which are joined, and how.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::ThreadNameSpaceType;

use crate::error::{Context, Error, Failure, Stage, Step};
use crate::sys;

/// The names in `/proc/PID/ns` and their `CLONE_NEW*` bits.
const KINDS: [(&str, u32); 8] = [
    ("user", sys::NEWUSER),
    ("mnt", sys::NEWNS),
    ("pid", sys::NEWPID),
    ("net", sys::NEWNET),
    ("ipc", sys::NEWIPC),
    ("uts", sys::NEWUTS),
    ("cgroup", sys::NEWCGROUP),
    ("time", sys::NEWTIME),
];

pub(crate) fn flag(kind: Type) -> u32 {
    match kind {
        Type::Mount => sys::NEWNS,
        Type::Cgroup => sys::NEWCGROUP,
        Type::Uts => sys::NEWUTS,
        Type::Ipc => sys::NEWIPC,
        Type::User => sys::NEWUSER,
        Type::Pid => sys::NEWPID,
        Type::Network => sys::NEWNET,
        Type::Time => sys::NEWTIME,
    }
}

/// What a specification says of namespaces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The bits of those to make.
    pub(crate) new: u32,
    /// Those to join, with their bits.
    pub(crate) join: Vec<(u32, PathBuf)>,
}

impl Plan {
    pub(crate) fn of(spec: &Spec) -> Plan {
        let mut plan = Plan::default();
        let listed = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.namespaces().as_ref());
        for namespace in listed.into_iter().flatten() {
            let bit = flag(namespace.typ());
            match namespace.path() {
                Some(path) if !path.as_os_str().is_empty() => plan.join.push((bit, path.clone())),
                _ => plan.new |= bit,
            }
        }
        plan
    }

    /// Whether the container has one of this kind that isn't the launcher's own.
    pub(crate) fn has(&self, bit: u32) -> bool {
        self.new & bit != 0 || self.join.iter().any(|(joined, _)| *joined == bit)
    }

    /// Whether one of this kind is made.
    pub(crate) fn makes(&self, bit: u32) -> bool {
        self.new & bit != 0
    }
}

/// Whether this process is in a user namespace other than the initial one, where some things can't
/// be done whatever the capabilities.
pub(crate) fn is_mapped() -> Step<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")
        .during(Stage::Namespaces, || "read /proc/self/uid_map")?;
    Ok(!map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// A descriptor of a container's first process, and the bits of those of its namespaces that
/// aren't the caller's.
pub(crate) fn of_process(pid: i32) -> Result<(OwnedFd, u32), Error> {
    let gone = |error: &dyn std::fmt::Display| {
        Error::Invalid(format!("container process {pid} can't be joined: {error}"))
    };
    let process = Pid::from_raw(pid)
        .filter(|pid| pid.as_raw_nonzero().get() > 0)
        .ok_or_else(|| gone(&"no such process"))?;
    let pidfd = rustix::process::pidfd_open(process, PidfdFlags::empty()).map_err(|e| gone(&e))?;
    let mut namespaces = 0;
    for (name, bit) in KINDS {
        let identity = |path: String| fs::metadata(path).map(|data| (data.dev(), data.ino()));
        let ours = match identity(format!("/proc/self/ns/{name}")) {
            // A kernel without this kind.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            ours => ours.map_err(|e| gone(&e))?,
        };
        if identity(format!("/proc/{pid}/ns/{name}")).map_err(|e| gone(&e))? != ours {
            namespaces |= bit;
        }
    }
    Ok((pidfd, namespaces))
}

/// Joins, at once, the namespaces of the process behind `pidfd`. The pid namespace becomes that of
/// the children only.
pub(crate) fn join_process(pidfd: &OwnedFd, namespaces: u32) -> Step<()> {
    if namespaces == 0 {
        return Ok(());
    }
    rustix::thread::move_into_thread_name_spaces(
        pidfd.as_fd(),
        ThreadNameSpaceType::from_bits_retain(namespaces),
    )
    .during(Stage::Namespaces, || "join the container's namespaces")
}

/// Namespaces that are joined by their paths.
pub(crate) struct Joins(Vec<(u32, PathBuf, OwnedFd)>);

impl Joins {
    /// Opens them all, as long as the paths can be seen.
    pub(crate) fn open(paths: &[(u32, PathBuf)]) -> Step<Joins> {
        let open = |(bit, path): &(u32, PathBuf)| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = rustix::fs::open(path, flags, Mode::empty())
                .during(Stage::Namespaces, || format!("open {}", path.display()))?;
            Ok((*bit, path.clone(), fd))
        };
        paths.iter().map(open).collect::<Step<_>>().map(Joins)
    }

    /// Joins those that this process may join now; a user namespace only if `user`.
    ///
    /// Called before and after the user namespace changes: some need the privileges over the old
    /// one, some those in the new one.
    pub(crate) fn join_possible(&mut self) {
        self.0
            .retain(|(bit, _, fd)| *bit == sys::NEWUSER || set(fd, *bit).is_err());
    }

    /// Joins the user namespace, if there is one to join. Tells whether there was.
    pub(crate) fn join_user(&mut self) -> Step<bool> {
        let Some(index) = self.0.iter().position(|(bit, ..)| *bit == sys::NEWUSER) else {
            return Ok(false);
        };
        let (bit, path, fd) = self.0.remove(index);
        set(&fd, bit).map_err(|error| refused(&path, &error))?;
        Ok(true)
    }

    /// Joins the rest.
    pub(crate) fn join_rest(self) -> Step<()> {
        for (bit, path, fd) in self.0 {
            set(&fd, bit).map_err(|error| refused(&path, &error))?;
        }
        Ok(())
    }
}

fn set(fd: &OwnedFd, bit: u32) -> rustix::io::Result<()> {
    use rustix::thread::LinkNameSpaceType as Link;
    let kind = match bit {
        sys::NEWTIME => Link::Time,
        sys::NEWNS => Link::Mount,
        sys::NEWCGROUP => Link::ControlGroup,
        sys::NEWUTS => Link::HostNameAndNISDomainName,
        sys::NEWIPC => Link::InterProcessCommunication,
        sys::NEWUSER => Link::User,
        sys::NEWPID => Link::ProcessID,
        _ => Link::Network,
    };
    rustix::thread::move_into_link_name_space(fd.as_fd(), Some(kind))
}

fn refused(path: &Path, errno: &rustix::io::Errno) -> Failure {
    Failure::errno(
        Stage::Namespaces,
        *errno,
        format!("join namespace {}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxBuilder, LinuxNamespaceBuilder, SpecBuilder};

    #[test]
    fn the_plan_tells_new_from_joined() {
        let namespaces = vec![
            LinuxNamespaceBuilder::default()
                .typ(Type::Pid)
                .build()
                .unwrap(),
            LinuxNamespaceBuilder::default()
                .typ(Type::Network)
                .path("/run/netns/x")
                .build()
                .unwrap(),
        ];
        let linux = LinuxBuilder::default()
            .namespaces(namespaces)
            .build()
            .unwrap();
        let plan = Plan::of(&SpecBuilder::default().linux(linux).build().unwrap());
        assert!(plan.makes(sys::NEWPID) && !plan.makes(sys::NEWNET));
        assert!(plan.has(sys::NEWNET) && !plan.has(sys::NEWIPC));
        assert_eq!(plan.join, [(sys::NEWNET, PathBuf::from("/run/netns/x"))]);
    }

    #[test]
    fn a_process_shares_its_own_namespaces() {
        let (_, namespaces) = of_process(std::process::id() as i32).unwrap();
        assert_eq!(namespaces, 0);
        assert!(matches!(of_process(0), Err(Error::Invalid(_))));
        assert!(matches!(of_process(i32::MAX), Err(Error::Invalid(_))));
    }
}
