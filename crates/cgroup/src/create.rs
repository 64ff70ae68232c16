//! Making a cgroup.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Instant;

use oci_spec::runtime::LinuxResources;

use crate::Cgroup;
use crate::Error;
use crate::Hierarchy;
use crate::Layout;
use crate::delete::remove_tree;
use crate::error::is_permission;
use crate::files;
use crate::hierarchy::words;
use crate::limits;
use crate::walk;

/// What a container's cgroup has in the v2 tree, as far as the host has it.
const V2_CONTROLLERS: [&str; 8] = [
    "cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc",
];

impl Cgroup {
    /// Makes the cgroup `name` in `parent` (which is made too), with limits. What an earlier one of
    /// that name left is removed, if no process is in it.
    ///
    /// A user who may not make cgroups ([`Hierarchy::rootless`]) gets [`Cgroup::none`], if no limit
    /// is asked for.
    ///
    /// # Errors
    /// [`Error::BadPath`], [`Error::InUse`], any limit that can't be set; no directory is left
    /// then, but for `parent`.
    pub fn create(
        hierarchy: &Hierarchy,
        parent: &str,
        name: &str,
        resources: &LinuxResources,
    ) -> Result<Cgroup, Error> {
        let mut cgroup = Cgroup::named(hierarchy, parent, name)?;
        let made = cgroup
            .make(hierarchy, resources)
            .and_then(|()| limits::apply(&cgroup, resources, limits::Fresh::Yes));
        match made {
            Ok(()) => Ok(cgroup),
            // Whose processes they are, they stay.
            Err(error @ Error::InUse { .. }) => Err(error),
            Err(error) => {
                let _the_first_error_counts = cgroup.delete();
                Err(error)
            }
        }
    }

    fn make(&mut self, hierarchy: &Hierarchy, resources: &LinuxResources) -> Result<(), Error> {
        // First of all look, so that a cgroup in use isn't half taken apart.
        for dir in self.dirs() {
            clear(dir)?;
        }
        let mut refused = Vec::new();
        for (dir, v1) in self.v1.iter().zip(&hierarchy.v1) {
            let cpuset = dir.controllers.iter().any(|name| name == "cpuset");
            let made = make_dir(&dir.path, &v1.root).and_then(|()| match cpuset {
                true => fill_cpuset(&dir.path, &v1.root),
                false => Ok(()),
            });
            match made {
                Ok(()) => {}
                Err(error) if self.rootless && is_permission(&error) => {
                    refused.push(dir.path.clone());
                }
                Err(error) => return Err(Error::io("making", &dir.path, error)),
            }
        }
        self.v1.retain(|dir| !refused.contains(&dir.path));
        if let (Some(path), Some(root)) = (&self.v2, &hierarchy.v2) {
            let wanted = match hierarchy.layout() {
                Layout::V2 => V2_CONTROLLERS.to_vec(),
                // The tree is somebody else's; only what is asked for is switched on.
                _ => limits::wanted(resources),
            };
            match make_v2(path, root, &wanted) {
                Ok(controllers) => self.v2_controllers = controllers,
                Err(error) if self.rootless && is_permission(&error) => self.v2 = None,
                Err(error) => return Err(Error::io("making", path, error)),
            }
        }
        if self.is_none() {
            *self = Cgroup::none();
        }
        Ok(())
    }
}

/// Removes a directory that is there already, unless processes are in it or below.
fn clear(dir: &Path) -> Result<(), Error> {
    // Nearly always there is none.
    if !dir.exists() {
        return Ok(());
    }
    let pids = walk::pids(dir)?;
    if !pids.is_empty() {
        return Err(Error::InUse {
            path: dir.to_path_buf(),
            processes: pids.len(),
        });
    }
    remove_tree(dir, Instant::now()).map_err(|errno| Error::io("removing", dir, errno))
}

fn mkdir(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a directory, and those above it as far as they are missing.
fn make_dir(path: &Path, root: &Path) -> io::Result<()> {
    match mkdir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && path != root => {
            if let Some(parent) = path.parent() {
                make_dir(parent, root)?;
            }
            mkdir(path)?;
        }
        result => {
            result?;
        }
    }
    Ok(())
}

/// A new v1 cpuset is empty and takes no process; it gets all that its parent has, which may be new
/// itself.
fn fill_cpuset(path: &Path, root: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        fill(path, root, file)?;
    }
    Ok(())
}

fn fill(path: &Path, root: &Path, file: &str) -> io::Result<String> {
    let value = files::read(path, file)?;
    if !value.trim().is_empty() || path == root {
        return Ok(value);
    }
    let Some(parent) = path.parent() else {
        return Ok(value);
    };
    let value = fill(parent, root, file)?;
    files::write(path, file, &value)?;
    Ok(value)
}

/// Makes a directory in the v2 tree, and switches controllers on for it. Answers what it can
/// control.
fn make_v2(path: &Path, root: &Path, wanted: &[&str]) -> io::Result<Vec<String>> {
    let Some(parent) = path.parent() else {
        return Ok(Vec::new());
    };
    make_dir(parent, root)?;
    let enabled = enable(parent, root, wanted)?;
    mkdir(path)?;
    Ok(enabled)
}

/// Switches controllers on for the children of `dir`, as far as they are there, and answers which
/// ones are.
pub(crate) fn enable(dir: &Path, root: &Path, wanted: &[&str]) -> io::Result<Vec<String>> {
    let file = "cgroup.subtree_control";
    let enabled = words(&files::read(dir, file)?);
    let missing: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|name| !enabled.iter().any(|other| other == name))
        .collect();
    if missing.is_empty() {
        return Ok(enabled);
    }
    // A cgroup has what its parent switched on.
    if dir != root
        && let Some(parent) = dir.parent()
    {
        enable(parent, root, &missing)?;
    }
    let available = words(&files::read(dir, "cgroup.controllers")?);
    let missing: Vec<String> = available
        .into_iter()
        .filter(|name| missing.contains(&name.as_str()))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(enabled);
    }
    if files::write(dir, file, &missing.join(" ")).is_err() {
        // All or nothing is how it is written; some are better than none. A limit that needs one
        // of the others is refused by name later.
        for name in &missing {
            let _refused = files::write(dir, file, name);
        }
    }
    Ok(words(&files::read(dir, file)?))
}
