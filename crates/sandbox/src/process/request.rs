//! What the launcher is asked for.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use coracle_cgroup::OomWatcher;
use coracle_launcher::ExecRequest;
use coracle_launcher::InitRequest;
use coracle_launcher::Stdio;
use coracle_seccomp::Program;
use coracle_task::ExecConfig;
use coracle_task::Rootfs;
use coracle_task::TaskConfig;
use oci_spec::runtime::BoxBuilder;
use oci_spec::runtime::LinuxNamespaceType;
use oci_spec::runtime::Process;
use oci_spec::runtime::Spec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The container's first process.
pub(crate) fn init(
    config: &TaskConfig,
    (text, mut process_differs, filter): (Option<String>, bool, Option<Program>),
    cgroup: Vec<PathBuf>,
    stdio: Stdio,
    handed: Option<OwnedFd>,
) -> InitRequest {
    let mut spec = config.spec.clone();
    if let Some(process) = spec.process_mut() {
        process_differs |=
            process.terminal() != Some(config.terminal) || config.console_size.is_some();
        set_terminal(process, config.terminal, config.console_size);
    }
    InitRequest {
        id: config.id.clone(),
        spec,
        text,
        process_differs,
        filter,
        rootfs: rootfs(config),
        cgroup: Some(cgroup),
        user: config.user.clone(),
        groups: config.groups.clone(),
        default_home: true,
        init: config.init,
        die_with_caller: true,
        stdio,
        handed,
    }
}

/// A further process.
pub(crate) fn exec(
    config: &TaskConfig,
    exec: &ExecConfig,
    filter: Option<Program>,
    init_pid: i32,
    cgroup: Vec<PathBuf>,
    stdio: Stdio,
) -> ExecRequest {
    let mut process = exec.process.clone();
    set_terminal(&mut process, exec.terminal, exec.console_size);
    if process.oom_score_adj().is_none() {
        // Not the shim's own.
        let of_init = config
            .spec
            .process()
            .as_ref()
            .and_then(|init| init.oom_score_adj());
        process.set_oom_score_adj(of_init);
    }
    let linux = config.spec.linux().as_ref();
    ExecRequest {
        process,
        init_pid,
        cgroup: Some(cgroup),
        user: exec.user.clone(),
        groups: exec.groups.clone(),
        default_home: true,
        seccomp: linux.and_then(|linux| linux.seccomp().clone()),
        filter,
        personality: linux.and_then(|linux| linux.personality().clone()),
        die_with_caller: true,
        stdio,
    }
}

fn set_terminal(process: &mut Process, terminal: bool, size: Option<(u16, u16)>) {
    process.set_terminal(Some(terminal));
    if let Some((rows, cols)) = size {
        let console = BoxBuilder::default().height(rows).width(cols).build();
        // Both of its fields are set.
        process.set_console_size(console.ok());
    }
}

fn rootfs(config: &TaskConfig) -> coracle_launcher::Rootfs {
    match &config.rootfs {
        Rootfs::Bind(path) => coracle_launcher::Rootfs::Bind(path.clone()),
        Rootfs::Overlay { lower, upper, work } => coracle_launcher::Rootfs::Overlay {
            lower: lower.clone(),
            upper: Some(upper.clone()),
            work: Some(work.clone()),
            // What is removed when it ends need not be on disk before.
            volatile: !config.durable,
        },
        // Refused by the sandbox.
        Rootfs::Disks => coracle_launcher::Rootfs::Bind(PathBuf::new()),
    }
}

/// Removes the mark of a volatile overlay mount, with which it can't be mounted again. It is there
/// for the case that the host crashed meanwhile, and then such a container is lost anyway (Linux:
/// Documentation/filesystems/overlayfs.rst, "Volatile mount").
pub(crate) fn unmark_volatile(config: &TaskConfig) -> io::Result<()> {
    match &config.rootfs {
        Rootfs::Overlay { work, .. } if !config.durable => {
            match std::fs::remove_dir_all(work.join("work/incompat")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            }
        }
        _ => Ok(()),
    }
}

/// Whether the container makes a process namespace.
pub(crate) fn has_own_pids(spec: &Spec) -> bool {
    let namespaces = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref());
    namespaces
        .into_iter()
        .flatten()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::Pid && namespace.path().is_none())
}

/// Puts a watcher into the event loop.
pub(crate) fn watch(watcher: OomWatcher) -> io::Result<AsyncFd<OomWatcher>> {
    // SAFETY: an `OomWatcher` owns its descriptor and keeps it until it is dropped, which is with
    // the `AsyncFd`.
    let watcher = unsafe { AsyncFd::register_with_interest(watcher, Interest::READABLE)? };
    Ok(watcher)
}
