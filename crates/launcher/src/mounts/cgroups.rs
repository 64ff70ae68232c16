//! The control groups as a container sees them.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::options::{Attributes, Depth, Options};
use super::{Kind, Prepared, bind, new_filesystem};
use crate::error::{Context, Failure, Stage, Step};

/// The host's control group hierarchies, and where this process is in each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    v1: Vec<Hierarchy>,
    /// The directory of this process's version 2 group.
    unified: Option<PathBuf>,
    /// Whether version 2 is all there is.
    only_unified: bool,
}

/// A version 1 hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    /// The name of the directory that it is mounted at, as `cpu,cpuacct`.
    name: String,
    /// Its controllers, or `name=systemd`.
    controllers: Vec<String>,
    /// The directory of this process's group.
    dir: PathBuf,
}

impl Hierarchies {
    /// As /proc tells them. The process must be in its control groups, and not yet in a cgroup
    /// namespace of its own.
    pub(crate) fn of_this_process() -> Step<Hierarchies> {
        let read =
            |file: &str| fs::read_to_string(file).during(Stage::Mounts, || format!("read {file}"));
        Ok(Hierarchies::parse(
            &read("/proc/self/mountinfo")?,
            &read("/proc/self/cgroup")?,
        ))
    }

    fn parse(mountinfo: &str, groups: &str) -> Hierarchies {
        let mut hierarchies = Hierarchies::default();
        for line in mountinfo.lines() {
            let Some(mount) = CgroupMount::parse(line) else {
                continue;
            };
            for group in groups.lines() {
                let mut fields = group.splitn(3, ':');
                let (Some(_), Some(controllers), Some(path)) =
                    (fields.next(), fields.next(), fields.next())
                else {
                    continue;
                };
                let dir = || mount.dir(path);
                if mount.unified && controllers.is_empty() && hierarchies.unified.is_none() {
                    hierarchies.unified = dir();
                } else if !mount.unified && mount.has(controllers) {
                    let known = |hierarchy: &Hierarchy| hierarchy.controllers == split(controllers);
                    if let Some(dir) = dir().filter(|_| !hierarchies.v1.iter().any(known)) {
                        hierarchies.v1.push(Hierarchy {
                            name: mount.name(),
                            controllers: split(controllers),
                            dir,
                        });
                    }
                }
            }
        }
        hierarchies.only_unified = hierarchies.v1.is_empty();
        hierarchies
    }
}

fn split(controllers: &str) -> Vec<String> {
    controllers.split(',').map(str::to_owned).collect()
}

/// A line of mountinfo, of a cgroup file system.
struct CgroupMount<'l> {
    root: &'l str,
    point: String,
    unified: bool,
    options: &'l str,
}

impl<'l> CgroupMount<'l> {
    fn parse(line: &'l str) -> Option<CgroupMount<'l>> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ');
        let root = mount.nth(3)?;
        let point = unescape(mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let unified = match filesystem.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        Some(CgroupMount {
            root,
            point,
            unified,
            options: filesystem.nth(1).unwrap_or_default(),
        })
    }

    fn has(&self, controllers: &str) -> bool {
        !controllers.is_empty()
            && controllers
                .split(',')
                .all(|one| self.options.split(',').any(|option| option == one))
    }

    /// The directory of a group, if the mount shows it.
    fn dir(&self, group: &str) -> Option<PathBuf> {
        let inside = Path::new(group).strip_prefix(self.root).ok()?;
        (!group.contains("..")).then(|| Path::new(&self.point).join(inside))
    }

    fn name(&self) -> String {
        let name = Path::new(&self.point).file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// Spaces and the like are octal in mountinfo.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (code, plain)| {
            text.replace(code, plain)
        })
}

/// Makes the mount for a place that is to show the control groups.
pub(crate) fn prepare(
    place: PathBuf,
    options: &Options,
    hierarchies: &Hierarchies,
    own_namespace: bool,
) -> Step<Prepared> {
    if hierarchies.only_unified {
        return unified(place, options, hierarchies);
    }
    let quiet = Attributes {
        set: options.attributes.set & !libc::MOUNT_ATTR_RDONLY,
        clear: 0,
    };
    let data = ["mode=755".to_owned()];
    let made = new_filesystem("tmpfs", Some(Path::new("tmpfs")), &data, quiet)
        .during(Stage::Mounts, || "mount tmpfs")?;
    let mut prepared = Prepared::new(made, place.clone(), Kind::Other);
    if options.attributes.read_only() {
        prepared.late.set = libc::MOUNT_ATTR_RDONLY;
    }
    for hierarchy in &hierarchies.v1 {
        let bound = bind(&hierarchy.dir, Depth::One, options)?;
        let below = place.join(&hierarchy.name);
        prepared
            .below
            .push(Prepared::new(bound, below, Kind::Other));
        for controller in &hierarchy.controllers {
            if *controller != hierarchy.name && !controller.contains('=') {
                let link = (controller.clone(), hierarchy.name.clone());
                prepared.links.push(link);
            }
        }
    }
    // A hybrid system's.
    if let Some(dir) = hierarchies.unified.as_deref().filter(|_| own_namespace) {
        let bound = bind(dir, Depth::One, options)?;
        let below = place.join("unified");
        prepared
            .below
            .push(Prepared::new(bound, below, Kind::Other));
    }
    Ok(prepared)
}

/// In a cgroup namespace a new mount shows this process's group as its root. Where mounting isn't
/// allowed, the group's own directory shows the same.
fn unified(place: PathBuf, options: &Options, hierarchies: &Hierarchies) -> Step<Prepared> {
    let made = new_filesystem("cgroup2", None, &[], options.attributes);
    let made = match (made, &hierarchies.unified) {
        (Err(Errno::PERM | Errno::BUSY | Errno::ACCESS), Some(dir)) => {
            bind(dir, Depth::One, options)?
        }
        (Err(Errno::NODEV), None) => {
            return Err(Failure::new(
                Stage::Mounts,
                "the host has no control groups mounted",
            ));
        }
        (made, _) => made.during(Stage::Mounts, || "mount cgroup2")?,
    };
    Ok(Prepared::new(made, place, Kind::Other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hosts_are_understood() {
        let mountinfo = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:32 /slice /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:39 / /proc rw - proc proc rw
";
        let groups =
            "5:pids:/elsewhere\n4:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/u\n0::/v2\n";
        let found = Hierarchies::parse(mountinfo, groups);
        let names: Vec<_> = found.v1.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["cpu,cpuacct", "memory", "systemd"]);
        assert_eq!(found.v1[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(found.v1[1].dir, Path::new("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(
            found.unified.as_deref(),
            Some(Path::new("/sys/fs/cgroup/unified/v2"))
        );
        assert!(!found.only_unified);
    }

    #[test]
    fn unified_hosts_are_understood() {
        let mountinfo = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchies::parse(mountinfo, "0::/user.slice/x\n");
        assert!(found.only_unified);
        let dir = found.unified.unwrap();
        assert_eq!(dir, Path::new("/sys/fs/cgroup/user.slice/x"));
    }
}
