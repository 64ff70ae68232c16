//! The helper's first stage: everything that must be done before the container's process exists.
//!
//! It joins and makes namespaces, makes the container's process as a sibling of itself, so that it
//! is a child of the caller, tells the caller its pid, and ends.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use coracle_seccomp::Program;
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::{Gid, Uid};

use crate::cgroup;
use crate::container::Container;
use crate::error::{Context, Failure, Kind, Stage, Step};
use crate::job::{Job, Order, Report, What};
use crate::launch::HELPER;
use crate::namespaces::{self, Joins, Plan};
use crate::process::Streams;
use crate::{container, join, mounts, rlimits, sys, wire};

/// Must be the first statement of `main` of every program that launches containers. Returns only
/// if this process is not a launch helper.
pub fn run_if_helper() {
    if std::env::args_os()
        .next()
        .is_some_and(|name| name == HELPER)
    {
        let code = catch_unwind(AssertUnwindSafe(run)).unwrap_or(125);
        sys::exit(code);
    }
}

/// The helper's end of the socket to the caller.
pub(crate) struct Caller(OwnedFd);

impl Caller {
    /// Takes it from where the caller put it: standard input, which is given up.
    fn from_stdin() -> Step<Caller> {
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
            .during(Stage::Protocol, || "take the socket")?;
        rustix::net::sockopt::socket_type(&socket)
            .during(Stage::Protocol, || "standard input is no socket")?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .during(Stage::Protocol, || "open /dev/null")?;
        rustix::stdio::dup2_stdin(&null).during(Stage::Protocol, || "give standard input up")?;
        Ok(Caller(socket))
    }

    pub(crate) fn tell(&self, report: &Report) -> Step<()> {
        self.tell_with(report, &[])
    }

    pub(crate) fn tell_with(
        &self,
        report: &Report,
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> Step<()> {
        wire::send(self.0.as_fd(), report, fds)
            .map_err(|error| Failure::new(Stage::Protocol, error.to_string()))
    }

    /// Receives the compiled filter, or that there is none.
    pub(crate) fn filter(&self) -> Step<Option<Program>> {
        match self.listen()? {
            (Order::Filter(filter), _) => Ok(filter.map(Into::into)),
            _ => Err(Failure::new(Stage::Protocol, "no filter came")),
        }
    }

    /// Waits for the order to execute the command.
    pub(crate) fn wait_for_start(&self) -> Step<()> {
        match self.listen()? {
            (Order::Start, _) => Ok(()),
            _ => Err(Failure::new(Stage::Protocol, "no start came")),
        }
    }

    fn listen(&self) -> Step<(Order, Vec<OwnedFd>)> {
        wire::receive(self.0.as_fd())
            .map_err(|error| Failure::new(Stage::Protocol, error.to_string()))
    }

    /// Tells of the failure; the exit code to end with.
    pub(crate) fn fail(&self, failure: Failure) -> i32 {
        let code = failure.kind.exit_code();
        // If the caller is gone there is nobody to tell.
        let _ = self.tell(&Report::Failed(failure));
        code
    }
}

fn run() -> i32 {
    // What the caller, or whoever started it, has left open.
    if sys::close_all_from(3).is_err() {
        return Kind::Setup.exit_code();
    }
    sys::reset_signals();
    let caller = match Caller::from_stdin() {
        Ok(caller) => caller,
        Err(_) => return Kind::Setup.exit_code(),
    };
    match first_stage(&caller) {
        Ok(()) => 0,
        Err(failure) => caller.fail(failure),
    }
}

fn first_stage(caller: &Caller) -> Step<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .during(Stage::Process, || "set the parent death signal")?;
    let (Order::Job(job), fds) = caller.listen()? else {
        return Err(Failure::new(Stage::Protocol, "no job came"));
    };
    let Job {
        what,
        process,
        user,
        groups,
        default_home,
        personality,
        cgroup,
        die_with_caller,
        stdio,
    } = *job;
    let mut fds = fds.into_iter();
    let streams = Streams::take(stdio, &mut fds)?;
    let (mut container, handed, joined) = match what {
        What::Init(job) => {
            let handed = job.handed;
            (Some(Container::of(*job)?), handed, 0)
        }
        What::Exec { namespaces } => (None, false, namespaces),
    };
    let its_own = || container.as_mut()?.spec.process_mut().take();
    let process = process
        .or_else(its_own)
        .ok_or_else(|| Failure::new(Stage::Protocol, "no process came"))?;
    // The host's own, which no container can have tampered with; used throughout.
    let proc = rustix::fs::open(
        "/proc",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .during(Stage::Protocol, || "open /proc")?;
    // While the old privileges are still there.
    let mut warnings = rlimits::oom_score(process.oom_score_adj())?;
    rlimits::raise_hard_limits(process.rlimits().as_deref().unwrap_or_default());
    let mut cgroups = cgroup::Cgroups::open(&cgroup)?;
    let mut foreign = Vec::new();
    let made = match &container {
        Some(container) => {
            let handed = match handed {
                true => Some(
                    fds.next()
                        .ok_or_else(|| Failure::new(Stage::Protocol, "no file system came"))?,
                ),
                false => None,
            };
            let listed = container.spec.mounts().as_deref().unwrap_or_default();
            foreign = mounts::foreign::clone_all(listed, handed.as_ref())?;
            enter_for_init(caller, container)?
        }
        None => {
            let pidfd = fds
                .next()
                .ok_or_else(|| Failure::new(Stage::Protocol, "no pidfd came"))?;
            // From here on processes of the container may see this one.
            hide()?;
            namespaces::join_process(&pidfd, joined)?;
            if joined & sys::NEWUSER != 0 {
                become_root();
            }
            0
        }
    };
    hide()?;
    if let Some(pid) = cgroups.clone_into(made)? {
        return caller.tell(&Report::Child(pid));
    }

    let run = || -> Step<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .during(Stage::Process, || "set the parent death signal")?;
        cgroups.join()?;
        let subject = crate::process::Subject {
            process,
            user,
            groups,
            default_home,
            personality,
            die_with_caller,
            streams,
            proc,
            warnings: std::mem::take(&mut warnings),
        };
        match container {
            Some(container) => {
                let foreign = std::mem::take(&mut foreign);
                container::second_stage(caller, container, foreign, subject)
            }
            None => join::second_stage(caller, subject),
        }
    };
    // Only failures come back: success is another program.
    let mut code = Kind::Setup.exit_code();
    if let Err(failure) = run() {
        code = caller.fail(failure);
    }
    sys::exit(code)
}

/// Makes this process unreadable for others: no ptrace, no /proc/PID/exe or fd.
fn hide() -> Step<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .during(Stage::Process, || "make the process undumpable")
}

/// Joins what is to be joined, makes the user and time namespaces; the bits of the rest to make.
fn enter_for_init(caller: &Caller, init: &Container) -> Step<u32> {
    let plan = Plan::of(&init.spec);
    let mut joins = Joins::open(&plan.join)?;
    joins.join_possible();
    if plan.makes(sys::NEWUSER) {
        sys::unshare(sys::NEWUSER).during(Stage::Namespaces, || "make a user namespace")?;
        // So that an ordinary user's caller may write the maps.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
            .during(Stage::Process, || "make the process dumpable")?;
        caller.tell(&Report::NeedsMaps)?;
        match caller.listen()? {
            (Order::Mapped, _) => {}
            _ => return Err(Failure::new(Stage::Protocol, "no id maps came")),
        }
        become_root();
    } else if joins.join_user()? {
        become_root();
    }
    joins.join_rest()?;
    if plan.makes(sys::NEWTIME) {
        make_time_namespace(init)?;
    }
    Ok(plan.new & !(sys::NEWUSER | sys::NEWTIME | sys::NEWCGROUP))
}

/// Becomes the user namespace's root, where there is one: files that the set-up makes belong to it.
/// Without one the capabilities suffice, and the overflow id stays.
fn become_root() {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    let _ = rustix::thread::set_thread_groups(&[]);
    let _ = rustix::thread::set_thread_res_gid(gid, gid, gid);
    let _ = rustix::thread::set_thread_res_uid(uid, uid, uid);
}

fn make_time_namespace(init: &Container) -> Step<()> {
    sys::unshare(sys::NEWTIME).during(Stage::Namespaces, || "make a time namespace")?;
    let offsets = init
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.time_offsets().as_ref());
    let mut text = String::new();
    for (clock, offset) in offsets.into_iter().flatten() {
        let (secs, nanosecs) = (
            offset.secs().unwrap_or_default(),
            offset.nanosecs().unwrap_or_default(),
        );
        text.push_str(&format!("{clock} {secs} {nanosecs}\n"));
    }
    if text.is_empty() {
        return Ok(());
    }
    std::fs::write("/proc/self/timens_offsets", text)
        .during(Stage::Namespaces, || "set linux.timeOffsets")
}
