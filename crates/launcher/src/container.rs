//! The second stage of a new container: runs in its new namespaces, as its first process.
//!
//! The order matters:
//!
//! 1. what is named by the host's paths is opened: mounts are made but not attached yet (some file
//!    systems can be mounted in a user namespace only while the host's are in sight);
//! 2. the root is changed, and the host's is gone;
//! 3. the mounts are attached, in the specification's order, to places resolved inside the root;
//! 4. devices, terminal, kernel parameters; then the paths are masked;
//! 5. the process's own properties, and the command is executed when the caller says so.

use std::os::fd::OwnedFd;

use oci_spec::runtime::Spec;

use crate::console::Console;
use crate::error::{Context, Failure, Stage, Step};
use crate::helper::Caller;
use crate::job::{InitJob, Report};
use crate::mounts::{self, masks};
use crate::namespaces::{self, Plan};
use crate::process::Subject;
use crate::request::Rootfs;
use crate::{devices, reaper, rootfs, sys, sysctl};

/// The container to make, as its job was read.
pub(crate) struct Container {
    pub(crate) spec: Spec,
    rootfs: Rootfs,
    init: bool,
}

impl Container {
    pub(crate) fn of(job: InitJob) -> Step<Container> {
        Ok(Container {
            spec: job.spec.read()?,
            rootfs: job.rootfs,
            init: job.init,
        })
    }
}

/// Executes the command. Returns only what went wrong.
pub(crate) fn second_stage(
    caller: &Caller,
    container: Container,
    foreign: Vec<Option<OwnedFd>>,
    mut subject: Subject,
) -> Step<()> {
    let Container { spec, rootfs, init } = container;
    let linux = spec
        .linux()
        .as_ref()
        .ok_or_else(|| Failure::new(Stage::Protocol, "the specification has no linux part"))?;
    let plan = Plan::of(&spec);
    if plan.makes(sys::NEWNET) {
        sys::loopback_up().during(Stage::Namespaces, || "bring the loopback interface up")?;
    }
    names(spec.hostname().as_deref(), spec.domainname().as_deref())?;
    let no_mounts = Vec::new();
    let listed = spec.mounts().as_ref().unwrap_or(&no_mounts);

    // Modes are exactly as asked for.
    rustix::process::umask(rustix::fs::Mode::empty());
    let mapped = namespaces::is_mapped()?;
    let sight = mounts::Sight::new(&plan, listed, mapped)?;
    if plan.makes(sys::NEWCGROUP) {
        sys::unshare(sys::NEWCGROUP).during(Stage::Namespaces, || "make a cgroup namespace")?;
    }
    let mounts = mounts::prepare(listed, foreign, &sight, &mut subject.warnings)?;
    let masked = linux.masked_paths().as_deref().unwrap_or_default();
    let masks = masks::Masks::prepare(masked)?;
    let devices = linux.devices().as_deref().unwrap_or_default();
    let devices = devices::Devices::prepare(devices, mapped)?;
    let root = rootfs::enter(&rootfs, mapped)?;
    let mounts = mounts::attach_all(mounts, &root)?;
    if !mounts.dev_is_bound() {
        devices.make(&root)?;
    }

    let identity = subject.identity(&root)?;
    let process = &subject.process;
    let console = if process.terminal().unwrap_or_default() {
        let devpts = mounts.devpts().ok_or_else(|| {
            Failure::new(
                Stage::Console,
                "process.terminal needs a mount of devpts at /dev/pts",
            )
        })?;
        let console = Console::open(devpts, caller, process.console_size(), identity.uid)?;
        console.bind(&root)?;
        Some(console)
    } else {
        None
    };
    root.ensure_dir(process.cwd()).during(Stage::Process, || {
        format!("mkdir {}", process.cwd().display())
    })?;
    sysctl::set(linux.sysctl().as_ref(), &subject.proc)?;
    let readonly = linux.readonly_paths().as_deref().unwrap_or_default();
    masks.apply(masked, readonly, &root)?;
    mounts.freeze()?;
    let readonly = spec
        .root()
        .as_ref()
        .and_then(|root| root.readonly())
        .unwrap_or_default();
    rootfs::finish(linux.rootfs_propagation().as_deref(), readonly)?;

    let (prepared, warnings) = subject.prepare(caller, &root, &identity, console)?;
    // Both of these fail without a caller: so there was one when the death signal was set.
    caller.tell(&Report::Ready { warnings })?;
    caller.wait_for_start()?;
    if init {
        reaper::serve(caller, prepared)
    } else {
        Err(prepared.execute())
    }
}

fn names(hostname: Option<&str>, domainname: Option<&str>) -> Step<()> {
    if let Some(name) = hostname.filter(|name| !name.is_empty()) {
        rustix::system::sethostname(name.as_bytes())
            .during(Stage::Hostname, || format!("set the host name to {name:?}"))?;
    }
    if let Some(name) = domainname.filter(|name| !name.is_empty()) {
        rustix::system::setdomainname(name.as_bytes()).during(Stage::Hostname, || {
            format!("set the domain name to {name:?}")
        })?;
    }
    Ok(())
}
