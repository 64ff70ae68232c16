//! Joining control groups.
//!
//! Moving a process by its `cgroup.procs` makes the kernel wait for a grace period (10–30 ms). Two
//! ways around that: the process is born in its version 2 group (`CLONE_INTO_CGROUP`), and in
//! version 1 groups a single thread moves itself by way of `tasks`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Failure, Stage, Step};
use crate::sys;

const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
const CGROUP_SUPER_MAGIC: u64 = 0x0027_e0eb;

/// Control groups to join, opened with the privileges that the helper began with: what counts for
/// the kernel is who opened the files.
pub(crate) struct Cgroups {
    /// The version 2 group, and its `cgroup.procs`.
    unified: Option<(OwnedFd, Entrance)>,
    /// What must be written to by the process itself.
    tasks: Vec<Entrance>,
    /// Whether the process was born in the version 2 group.
    born_in: bool,
}

/// A file by which a process enters a group.
struct Entrance {
    file: OwnedFd,
    group: PathBuf,
}

impl Cgroups {
    pub(crate) fn open(paths: &[PathBuf]) -> Step<Cgroups> {
        let mut cgroups = Cgroups {
            unified: None,
            tasks: Vec::new(),
            born_in: true,
        };
        for path in paths {
            let what = || format!("open control group {}", path.display());
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir =
                rustix::fs::openat(CWD, path, flags, Mode::empty()).during(Stage::Cgroup, what)?;
            let kind = rustix::fs::fstatfs(&dir)
                .during(Stage::Cgroup, what)?
                .f_type as u64;
            let file = |name| -> Step<Entrance> {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&dir, name, flags, Mode::empty())
                    .during(Stage::Cgroup, || format!("open {}/{name}", path.display()))?;
                let group = path.clone();
                Ok(Entrance { file, group })
            };
            match kind {
                CGROUP2_SUPER_MAGIC if cgroups.unified.is_none() => {
                    let procs = file("cgroup.procs")?;
                    cgroups.unified = Some((dir, procs));
                }
                CGROUP_SUPER_MAGIC => cgroups.tasks.push(file("tasks")?),
                _ => {
                    let problem = "is no control group, or a second one of version 2";
                    return Err(Failure::new(
                        Stage::Cgroup,
                        format!("{} {problem}", path.display()),
                    ));
                }
            }
        }
        Ok(cgroups)
    }

    /// Makes the container's process: returns its pid, and `None` in the process itself, which
    /// must call [`Cgroups::join`] next.
    pub(crate) fn clone_into(&mut self, namespaces: u32) -> Step<Option<i32>> {
        let group = self.unified.as_ref().map(|(dir, _)| dir.as_fd());
        let made = match sys::clone_sibling(namespaces, group) {
            // Not allowed to enter it this way, or not in a state for it: the write to its
            // cgroup.procs decides.
            Err(_) if group.is_some() => {
                self.born_in = false;
                sys::clone_sibling(namespaces, None)
            }
            made => made,
        };
        made.during(Stage::Namespaces, || "make the container's process")
    }

    /// Moves this process into those groups that it wasn't born in.
    pub(crate) fn join(self) -> Step<()> {
        if let Some((_, procs)) = self.unified.as_ref().filter(|_| !self.born_in) {
            procs.pass()?;
        }
        self.tasks.iter().try_for_each(Entrance::pass)
    }
}

impl Entrance {
    fn pass(&self) -> Step<()> {
        loop {
            // Zero stands for the process that writes it.
            match rustix::io::write(&self.file, b"0") {
                Err(Errno::INTR) => {}
                written => {
                    return written
                        .map(drop)
                        .during(Stage::Cgroup, || format!("join {}", self.group.display()));
                }
            }
        }
    }
}
