//! One cgroup: a directory in each hierarchy.

use std::path::Path;
use std::path::PathBuf;

use oci_spec::runtime::LinuxResources;

use crate::Error;
use crate::Hierarchy;
use crate::files;
use crate::hierarchy::plain;
use crate::hierarchy::words;
use crate::limits;
use crate::walk;

/// One cgroup: a directory in each v1 hierarchy, and one in the v2 tree.
///
/// It is only names, so cloning it is cheap, and dropping it does nothing; see
/// [`Cgroup::delete`].
#[derive(Clone, Debug)]
pub struct Cgroup {
    /// Below each root, without slashes around it; empty only for [`Cgroup::none`].
    pub(crate) relative: String,
    pub(crate) v1: Vec<V1Dir>,
    pub(crate) v2: Option<PathBuf>,
    /// What the v2 directory can control.
    pub(crate) v2_controllers: Vec<String>,
    pub(crate) rootless: bool,
}

/// A directory of a v1 hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct V1Dir {
    pub(crate) controllers: Vec<String>,
    pub(crate) path: PathBuf,
}

/// Where a controller's files are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    V1(&'a Path),
    V2(&'a Path),
}

impl Cgroup {
    /// A cgroup that joins nothing and limits nothing, for users who may not make one. Its
    /// statistics are zero; asking it for a limit is an error that names the limit.
    #[must_use]
    pub fn none() -> Cgroup {
        Cgroup {
            relative: String::new(),
            v1: Vec::new(),
            v2: None,
            v2_controllers: Vec::new(),
            rootless: true,
        }
    }

    /// An existing cgroup. Directories that are missing (all of them, after [`Cgroup::delete`])
    /// are left out.
    ///
    /// # Errors
    /// [`Error::BadPath`].
    pub fn open(hierarchy: &Hierarchy, parent: &str, name: &str) -> Result<Cgroup, Error> {
        let mut cgroup = Cgroup::named(hierarchy, parent, name)?;
        cgroup.v1.retain(|dir| dir.path.is_dir());
        cgroup.v2 = cgroup.v2.filter(|path| path.is_dir());
        if let Some(path) = &cgroup.v2
            && let Ok(text) = files::read(path, "cgroup.controllers")
        {
            cgroup.v2_controllers = words(&text);
        }
        Ok(cgroup)
    }

    /// The directories, whether there or not.
    pub(crate) fn named(hierarchy: &Hierarchy, parent: &str, name: &str) -> Result<Cgroup, Error> {
        let parent = plain(parent)?;
        let name = match plain(name)? {
            plain if plain == name && !plain.is_empty() && !plain.contains('/') => plain,
            _ => return Err(Error::BadPath(name.to_owned())),
        };
        let relative = match parent.is_empty() {
            true => name,
            false => format!("{parent}/{name}"),
        };
        let v1 = hierarchy.v1.iter().map(|v1| V1Dir {
            controllers: v1.controllers.clone(),
            path: v1.root.join(&relative),
        });
        Ok(Cgroup {
            v1: v1.collect(),
            v2: hierarchy.v2.as_ref().map(|root| root.join(&relative)),
            v2_controllers: Vec::new(),
            rootless: hierarchy.rootless(),
            relative,
        })
    }

    /// Whether there is no directory at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.v1.is_empty() && self.v2.is_none()
    }

    /// The path below each hierarchy's root, as `/proc/<pid>/cgroup` shows it; empty for
    /// [`Cgroup::none`].
    #[must_use]
    pub fn relative_path(&self) -> String {
        match self.relative.is_empty() {
            true => String::new(),
            false => format!("/{}", self.relative),
        }
    }

    /// Its directories.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.dirs().map(Path::to_path_buf).collect()
    }

    /// The files that a process id is written to, to move that process here.
    #[must_use]
    pub fn procs_paths(&self) -> Vec<PathBuf> {
        self.dirs().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// Its directory in the v2 tree, for `CLONE_INTO_CGROUP` (clone3(2)).
    #[must_use]
    pub fn unified_path(&self) -> Option<&Path> {
        self.v2.as_deref()
    }

    /// Moves a process here, with all its threads, in every hierarchy.
    ///
    /// This waits for an RCU grace period (milliseconds); see [`crate::Joiner`] for what a process
    /// can do for itself.
    ///
    /// # Errors
    /// [`Error::Io`], with `ESRCH` if there is no such process.
    pub fn add(&self, pid: i32) -> Result<(), Error> {
        let pid = pid.to_string();
        for dir in self.dirs() {
            files::write(dir, "cgroup.procs", &pid)
                .map_err(|error| Error::io("writing", dir.join("cgroup.procs"), error))?;
        }
        Ok(())
    }

    /// Changes limits; those that aren't set in `resources` stay. Device rules, if there are any,
    /// replace the former ones.
    ///
    /// # Errors
    /// The first limit that can't be set; those before it are set.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Error> {
        limits::apply(self, resources, limits::Fresh::No)
    }

    /// The processes here and in all cgroups below, in no order; those that a process namespace
    /// hides are left out.
    ///
    /// # Errors
    /// [`Error::Io`]; a cgroup that is gone has no processes.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        match self.dirs().next() {
            Some(dir) => walk::pids(dir),
            None => Ok(Vec::new()),
        }
    }

    pub(crate) fn dirs(&self) -> impl Iterator<Item = &Path> {
        let v1 = self.v1.iter().map(|dir| dir.path.as_path());
        self.v2.as_deref().into_iter().chain(v1)
    }

    pub(crate) fn v1(&self, controller: &str) -> Option<&Path> {
        let has = |dir: &&V1Dir| dir.controllers.iter().any(|name| name == controller);
        self.v1.iter().find(has).map(|dir| dir.path.as_path())
    }

    /// The files of a controller, by its v1 name.
    pub(crate) fn place(&self, controller: &str) -> Option<Place<'_>> {
        if let Some(path) = self.v1(controller) {
            return Some(Place::V1(path));
        }
        let name = match controller {
            "blkio" => "io",
            other => other,
        };
        let path = self.v2.as_deref()?;
        let has = self.v2_controllers.iter().any(|other| other == name);
        has.then_some(Place::V2(path))
    }

    /// As [`Cgroup::place`], for a limit.
    pub(crate) fn need(&self, controller: &'static str, limit: &str) -> Result<Place<'_>, Error> {
        self.place(controller)
            .ok_or_else(|| Error::unavailable(limit, controller))
    }
}
