//! What the host's cgroup file systems look like.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Access;

use crate::Error;
use crate::files;
use crate::mountinfo;

/// Which versions of cgroups a host has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// Only v1 hierarchies.
    V1,
    /// One v2 tree.
    V2,
    /// v1 hierarchies with the controllers, and a v2 tree beside them.
    Hybrid,
}

/// The host's cgroup file systems.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    pub(crate) v1: Vec<V1>,
    pub(crate) v2: Option<PathBuf>,
    rootless: bool,
}

/// One v1 hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct V1 {
    /// Its controllers, or `name=…`; several when they are mounted together.
    pub(crate) controllers: Vec<String>,
    pub(crate) root: PathBuf,
}

/// Every controller of v1 (`/proc/cgroups`).
const V1_CONTROLLERS: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
];

impl Hierarchy {
    /// The host's, by the mounts that this process sees below `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// [`Error::NotMounted`], or `/proc` can't be read.
    pub fn host() -> Result<Hierarchy, Error> {
        let mountinfo = files::read(Path::new("/proc/self"), "mountinfo")
            .map_err(|error| Error::io("reading", "/proc/self/mountinfo", error))?;
        let mut hierarchy = Hierarchy::detect(Path::new("/sys/fs/cgroup"), &mountinfo)?;
        hierarchy.rootless = is_rootless();
        Ok(hierarchy)
    }

    /// The cgroup file systems at and below `root` that `mountinfo` lists.
    ///
    /// # Errors
    /// [`Error::NotMounted`].
    pub fn detect(root: &Path, mountinfo: &str) -> Result<Hierarchy, Error> {
        let mut hierarchy = Hierarchy {
            v1: Vec::new(),
            v2: None,
            rootless: false,
        };
        for mount in mountinfo::cgroup_mounts(mountinfo) {
            if !mount.path.starts_with(root) {
                continue;
            }
            if mount.v2 {
                hierarchy.v2.get_or_insert(mount.path);
                continue;
            }
            let mut controllers = mount.options;
            controllers.retain(|option| {
                V1_CONTROLLERS.contains(&option.as_str()) || option.starts_with("name=")
            });
            let known = hierarchy
                .v1
                .iter()
                .any(|other| other.controllers == controllers);
            if !controllers.is_empty() && !known {
                hierarchy.v1.push(V1 {
                    controllers,
                    root: mount.path,
                });
            }
        }
        match (&hierarchy.v2, hierarchy.v1.is_empty()) {
            (None, true) => Err(Error::NotMounted),
            _ => Ok(hierarchy),
        }
    }

    /// Which versions there are.
    #[must_use]
    pub fn layout(&self) -> Layout {
        match (&self.v2, self.v1.is_empty()) {
            (None, _) => Layout::V1,
            (Some(_), true) => Layout::V2,
            (Some(_), false) => Layout::Hybrid,
        }
    }

    /// Whether this user is unprivileged on the host: not root, or root of a user namespace.
    #[must_use]
    pub fn rootless(&self) -> bool {
        self.rootless
    }

    /// The same, for a user of whom the caller knows better.
    #[must_use]
    pub fn with_rootless(mut self, rootless: bool) -> Hierarchy {
        self.rootless = rootless;
        self
    }

    /// All controllers by the names of their version, v1's before v2's.
    #[must_use]
    pub fn controllers(&self) -> Vec<String> {
        let v1 = self.v1.iter().flat_map(|v1| v1.controllers.clone());
        let v1 = v1.filter(|name| !name.starts_with("name="));
        v1.chain(self.v2_controllers()).collect()
    }

    pub(crate) fn v2_controllers(&self) -> Vec<String> {
        self.v2
            .iter()
            .filter_map(|root| files::read(root, "cgroup.controllers").ok())
            .flat_map(|text| words(&text))
            .collect()
    }

    pub(crate) fn v1(&self, controller: &str) -> Option<&Path> {
        let has = |v1: &&V1| v1.controllers.iter().any(|name| name == controller);
        self.v1.iter().find(has).map(|v1| v1.root.as_path())
    }

    /// The topmost cgroup that this user may make cgroups in, as a `parent` for
    /// [`crate::Cgroup::create`]: `/` for root, what systemd delegates to a user for that user,
    /// none where cgroups can't be used. Only the v2 tree is looked at, as v1 is never safe to
    /// delegate.
    #[must_use]
    pub fn delegated(&self) -> Option<String> {
        let own = files::read(Path::new("/proc/self"), "cgroup").ok()?;
        self.delegated_to(&own)
    }

    /// As [`Hierarchy::delegated`], for a process whose `/proc/<pid>/cgroup` is `own`.
    #[must_use]
    pub fn delegated_to(&self, own: &str) -> Option<String> {
        let root = self.v2.as_deref()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let relative = own.trim_start_matches('/');
        if relative.split('/').any(|part| part == "..") {
            return None;
        }
        let writable = |relative: &Path| {
            let dir = root.join(relative);
            ["", "cgroup.procs", "cgroup.subtree_control"]
                .iter()
                .all(|file| rustix::fs::access(dir.join(file), Access::WRITE_OK).is_ok())
        };
        let ancestors = Path::new(relative).ancestors();
        let top = ancestors.take_while(|path| writable(path)).last()?;
        Some(format!("/{}", top.to_str()?))
    }

    /// The names of the cgroups in a parent, in whatever hierarchy; none if it isn't there.
    ///
    /// # Errors
    /// [`Error::BadPath`].
    pub fn children(&self, parent: &str) -> Result<BTreeSet<String>, Error> {
        let relative = plain(parent)?;
        let roots = self.v1.iter().map(|v1| &v1.root).chain(&self.v2);
        let entries = roots.filter_map(|root| std::fs::read_dir(root.join(&relative)).ok());
        let entries = entries.flatten().flatten();
        Ok(entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    /// Removes a parent that [`crate::Cgroup::create`] made, if nothing is in it. Directories that
    /// are in use or aren't there are passed over.
    ///
    /// # Errors
    /// [`Error::BadPath`], also for a root.
    pub fn remove_parent(&self, parent: &str) -> Result<(), Error> {
        let relative = plain(parent)?;
        if relative.is_empty() {
            return Err(Error::BadPath(parent.to_owned()));
        }
        for root in self.v1.iter().map(|v1| &v1.root).chain(&self.v2) {
            let _in_use_or_gone = std::fs::remove_dir(root.join(&relative));
        }
        Ok(())
    }
}

/// A cgroup path without leading and trailing slashes.
pub(crate) fn plain(path: &str) -> Result<String, Error> {
    let trimmed = path.trim_matches('/');
    let fine = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.len() <= 255
            && !part.contains(|c: char| c.is_control())
    };
    if trimmed.len() > 2048 || !(trimmed.is_empty() || trimmed.split('/').all(fine)) {
        return Err(Error::BadPath(path.to_owned()));
    }
    Ok(trimmed.to_owned())
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn is_rootless() -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    // The initial user namespace maps everything to itself (user_namespaces(7)).
    match files::read(Path::new("/proc/self"), "uid_map") {
        Ok(map) => words(&map) != ["0", "0", "4294967295"],
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CO_MOUNTED: &str = "\
        30 1 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
        31 1 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        32 1 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        33 1 0:3 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
        34 1 0:4 / /elsewhere/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn layouts() {
        let root = Path::new("/sys/fs/cgroup");
        let hybrid = Hierarchy::detect(root, CO_MOUNTED).unwrap();
        assert_eq!(hybrid.layout(), Layout::Hybrid);
        assert_eq!(hybrid.v1.len(), 2);
        assert_eq!(
            hybrid.v1("cpuacct"),
            Some(Path::new("/sys/fs/cgroup/cpu,cpuacct"))
        );
        assert_eq!(hybrid.v1("memory"), None);

        let (_, v1_only) = CO_MOUNTED.split_once('\n').unwrap();
        assert_eq!(
            Hierarchy::detect(root, v1_only).unwrap().layout(),
            Layout::V1
        );
        let v2 = "30 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(Hierarchy::detect(root, v2).unwrap().layout(), Layout::V2);
        assert!(matches!(
            Hierarchy::detect(root, ""),
            Err(Error::NotMounted)
        ));
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(plain("/").unwrap(), "");
        assert_eq!(plain("/coracle/").unwrap(), "coracle");
        assert_eq!(plain("a.slice/b").unwrap(), "a.slice/b");
        for bad in ["..", "/a/../b", "a//b", "a/./b", "a\nb", "a\0"] {
            assert!(matches!(plain(bad), Err(Error::BadPath(_))), "{bad:?}");
        }
        assert!(plain(&"a/".repeat(2000)).is_err());
        assert!(plain(&"a".repeat(256)).is_err());
    }
}
