//! What a caller asks for.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use coracle_seccomp::Program;
use oci_spec::runtime::{LinuxPersonality, LinuxSeccomp, Process, Spec};
use serde::{Deserialize, Serialize};

/// Where a container's root file system comes from.
///
/// It is mounted inside the container's own mount namespace; nothing is left on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// An overlay. No path may hold a backslash.
    Overlay {
        /// The read-only directories, topmost first.
        lower: Vec<PathBuf>,
        /// Where changes go. Without it the root is read-only.
        upper: Option<PathBuf>,
        /// An empty directory on the same file system as `upper`; both or none are given.
        work: Option<PathBuf>,
        /// Never sync the changes to disk, neither at `fsync` nor when the root is unmounted. For
        /// containers that are removed when they end: after a crash of the host `upper` is lost,
        /// and the kernel refuses to mount it again while `work/incompat/volatile` is there.
        volatile: bool,
    },
    /// A directory as it is, with everything that is mounted below it.
    Bind(PathBuf),
}

/// The standard streams of a process: `/dev/null` where there is none.
///
/// Not used for a process with `terminal` set, whose streams are the terminal.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
}

/// A container to be made, and its first process.
#[derive(Debug)]
pub struct InitRequest {
    /// The container's name. The helper, and with `init` the container's first process, shows it
    /// among its arguments.
    pub id: String,
    /// The container. `root.path`, `linux.resources` and `linux.cgroupsPath` are not looked at:
    /// `rootfs` and `cgroup` stand for them, and limits are the control group's owner's affair.
    pub spec: Spec,
    /// The same specification as the text (JSON) that it was read from, if that is at hand: saves
    /// writing it for the helper, who works by it. Only `linux.seccomp` may differ, and what
    /// [`Self::process_differs`] tells of.
    pub text: Option<String>,
    /// Whether `spec.process` is another one than the text's.
    pub process_differs: bool,
    /// The system call filter, if it is compiled already: stands in for `linux.seccomp`.
    pub filter: Option<Program>,
    /// The root file system.
    pub rootfs: Rootfs,
    /// Directories of control groups (of every version 1 controller, or one of version 2, or
    /// both) which the process joins before anything of the container runs.
    pub cgroup: Option<Vec<PathBuf>>,
    /// Docker's `--user`: `name|uid[:group|gid]`, looked up in the container's own files. Stands
    /// in for `process.user`'s ids.
    pub user: Option<String>,
    /// Docker's `--group-add`: more groups, by name or id.
    pub groups: Vec<String>,
    /// Set `HOME` from the container's passwd file if the environment lacks it.
    pub default_home: bool,
    /// Docker's `--init`: the first process is a reaper of the launcher's own, which forwards
    /// signals to the command, its child.
    pub init: bool,
    /// The first process is killed when the caller ends, however that ends. The kernel takes the
    /// thread that started the [`Helper`](crate::Helper) for the caller.
    ///
    /// A process that changes its user or is given privileges by the file that it executes gets
    /// away (`PR_SET_PDEATHSIG` in prctl(2)): with `init` only the command can, not the first
    /// process.
    pub die_with_caller: bool,
    /// The standard streams.
    pub stdio: Stdio,
    /// A file system that is mounted nowhere (`fsmount(2)`), of which binds with the option
    /// `X-coracle.handed=NAME` mount a file: content that must be in no file of the host's.
    pub handed: Option<OwnedFd>,
}

/// A process to be started in a running container.
#[derive(Debug)]
pub struct ExecRequest {
    /// The process.
    pub process: Process,
    /// The container's first process, in the caller's pid namespace. All of its namespaces and its
    /// root are joined.
    pub init_pid: i32,
    /// As in [`InitRequest`].
    pub cgroup: Option<Vec<PathBuf>>,
    /// As in [`InitRequest`].
    pub user: Option<String>,
    /// As in [`InitRequest`].
    pub groups: Vec<String>,
    /// As in [`InitRequest`].
    pub default_home: bool,
    /// The system call filter, which is the container's (`linux.seccomp`) unless it's privileged.
    pub seccomp: Option<LinuxSeccomp>,
    /// As in [`InitRequest`].
    pub filter: Option<Program>,
    /// The execution domain, which is the container's (`linux.personality`).
    pub personality: Option<LinuxPersonality>,
    /// As in [`InitRequest`]. In a pid namespace of the container's own it ends with its first
    /// process anyway.
    pub die_with_caller: bool,
    /// The standard streams.
    pub stdio: Stdio,
}
