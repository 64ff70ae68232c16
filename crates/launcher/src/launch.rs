//! The caller's side: runs the helper, answers it, and owns what comes of it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio as ChildStdio};

use coracle_seccomp::Program;
use oci_spec::runtime::{LinuxIdMapping, LinuxSeccomp};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::error::Error;
use crate::executable::executable;
use crate::job::{Document, InitJob, Job, Order, Report, What};
use crate::namespaces::{self, Plan};
use crate::request::{ExecRequest, InitRequest, Stdio};
use crate::wire::{self, WireError};
use crate::{check, idmap, sys};

/// By this name as its `argv[0]` a program knows that it is to be a launch helper.
pub(crate) const HELPER: &str = "coracle-launch";

/// A process of this program that waits to be told what to launch.
///
/// The thread that starts it is for the kernel the parent of what is launched: what is half made,
/// and what has `die_with_caller` set, dies with that thread. A program's first thread lives as long
/// as the program.
///
/// Dropping it ends the process.
#[derive(Debug)]
pub struct Helper(Launch);

/// A container that is complete but for the execution of its command.
///
/// Dropping it kills the process and takes its exit status.
#[derive(Debug)]
pub struct Created(Launch);

/// A process that was started. It is a child of the caller, who must wait for it.
///
/// Dropping this neither kills nor waits.
#[derive(Debug)]
pub struct Process {
    /// Its id in the caller's pid namespace.
    pub pid: i32,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// The master side of its terminal, if it has one and nobody took it before.
    pub console: Option<OwnedFd>,
    /// What could not be done exactly as asked: limits that can't be raised, for example.
    pub warnings: Vec<String>,
}

/// Makes a container: everything that is needed up to, and not including, the execution of its
/// command.
///
/// Blocks for some milliseconds, and never in an async runtime's sense: call it on a thread that
/// may. A half-made container dies with this thread: to have it die with another one, let that
/// start a [`Helper`].
///
/// # Errors
/// Anything that can't be honoured is refused by name; what fails tells at which [`crate::Stage`].
/// Nothing is left behind.
pub fn create(request: &InitRequest) -> Result<Created, Error> {
    check::init(request)?;
    Helper::start(&request.id)?.create(request)
}

/// Starts a process in a running container. Returns when its command is being executed.
///
/// # Errors
/// As [`create`] and [`Created::start`].
pub fn exec(request: &ExecRequest) -> Result<Process, Error> {
    check::exec(request)?;
    Helper::start("exec")?.exec(request)
}

fn create_by(helper: Helper, request: &InitRequest) -> Result<Created, Error> {
    check::init(request)?;
    let spec = &request.spec;
    let process = match &request.text {
        Some(_) if !request.process_differs => None,
        _ => Some(spec.process().clone().ok_or_else(check::no_process)?),
    };
    let (mut seccomp, mut personality) = (None, None);
    let new_user = Plan::of(spec).makes(sys::NEWUSER);
    let mut maps = Maps::default();
    if let Some(linux) = spec.linux() {
        seccomp = linux.seccomp().as_ref();
        personality = linux.personality().clone();
        maps.uids = linux.uid_mappings().clone().unwrap_or_default();
        maps.gids = linux.gid_mappings().clone().unwrap_or_default();
    }
    let job = Job {
        what: What::Init(Box::new(InitJob {
            spec: document(request),
            rootfs: request.rootfs.clone(),
            init: request.init,
            handed: request.handed.is_some(),
        })),
        process,
        user: request.user.clone(),
        groups: request.groups.clone(),
        default_home: request.default_home,
        personality,
        cgroup: request.cgroup.clone().unwrap_or_default(),
        die_with_caller: request.die_with_caller,
        stdio: streams(&request.stdio),
    };
    let mut launch = Launch::begin(
        helper,
        job,
        &request.stdio,
        request.handed.as_ref().map(AsFd::as_fd),
    )?;
    let filter = Filtering::of(request.filter.as_ref(), seccomp);
    launch.until_ready(new_user.then_some(&maps), filter)?;
    Ok(Created(launch))
}

/// The specification for the helper, without what travels on its own.
fn document(request: &InitRequest) -> Document {
    if let Some(text) = &request.text {
        return Document::Text(text.clone());
    }
    let mut spec = request.spec.clone();
    spec.set_process(None);
    if let Some(linux) = spec.linux_mut() {
        linux.set_seccomp(None);
    }
    Document::Spec(Box::new(spec))
}

fn exec_by(helper: Helper, request: &ExecRequest) -> Result<Process, Error> {
    check::exec(request)?;
    let (pidfd, namespaces) = namespaces::of_process(request.init_pid)?;
    let job = Job {
        what: What::Exec { namespaces },
        process: Some(request.process.clone()),
        user: request.user.clone(),
        groups: request.groups.clone(),
        default_home: request.default_home,
        personality: request.personality.clone(),
        cgroup: request.cgroup.clone().unwrap_or_default(),
        die_with_caller: request.die_with_caller,
        stdio: streams(&request.stdio),
    };
    let mut launch = Launch::begin(helper, job, &request.stdio, Some(pidfd.as_fd()))?;
    let filter = Filtering::of(request.filter.as_ref(), request.seccomp.as_ref());
    launch.until_ready(None, filter)?;
    launch.until_executed()?;
    launch.into_process()
}

impl Helper {
    /// Starts one; `name` shows among its arguments, for people who look at processes.
    ///
    /// Takes less than a millisecond, but for a first call that has to copy the program.
    ///
    /// # Errors
    /// If the program can't be executed again.
    pub fn start(name: &str) -> Result<Helper, Error> {
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| Error::Launcher(format!("socketpair: {errno}")))?;
        let program = executable()
            .map_err(|error| Error::Launcher(format!("preparing the program: {error}")))?;
        // No pre_exec and no changed ids: so this is posix_spawn, which copies no page tables.
        let process = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg0(HELPER)
            .arg(name)
            .env_clear()
            .stdin(ChildStdio::from(theirs))
            .stdout(ChildStdio::null())
            .stderr(ChildStdio::null())
            .spawn()
            .map_err(|error| Error::Launcher(format!("running the helper: {error}")))?;
        Ok(Helper(Launch {
            socket,
            process,
            pid: None,
            pidfd: None,
            console: None,
            warnings: Vec::new(),
        }))
    }

    /// As [`create`], on any thread.
    ///
    /// # Errors
    /// As [`create`].
    pub fn create(self, request: &InitRequest) -> Result<Created, Error> {
        create_by(self, request)
    }

    /// As [`exec`], on any thread.
    ///
    /// # Errors
    /// As [`exec`].
    pub fn exec(self, request: &ExecRequest) -> Result<Process, Error> {
        exec_by(self, request)
    }
}

impl Created {
    /// The process's id in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.0.pid.map_or(0, Pid::as_raw_pid)
    }

    /// A descriptor of the process.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.0.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Takes the master side of the terminal, if the process has one.
    pub fn console(&mut self) -> Option<OwnedFd> {
        self.0.console.take()
    }

    /// What could not be done exactly as asked.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// Executes the command.
    ///
    /// # Errors
    /// What `execve(2)` answers, as [`Error::Failed`] with the kind that it stands for. The
    /// process is gone then.
    pub fn start(mut self) -> Result<Process, Error> {
        self.0.order(&Order::Start, &[])?;
        self.0.until_executed()?;
        self.0.into_process()
    }
}

#[derive(Default)]
struct Maps {
    uids: Vec<LinuxIdMapping>,
    gids: Vec<LinuxIdMapping>,
}

/// Which system calls are refused.
#[derive(Clone, Copy)]
enum Filtering<'r> {
    Nothing,
    By(&'r Program),
    /// As a profile says that isn't compiled yet.
    As(&'r LinuxSeccomp),
}

impl<'r> Filtering<'r> {
    fn of(filter: Option<&'r Program>, seccomp: Option<&'r LinuxSeccomp>) -> Filtering<'r> {
        let profile = seccomp.map_or(Filtering::Nothing, Filtering::As);
        filter.map_or(profile, Filtering::By)
    }
}

/// A launch under way. Whatever it started dies with it.
#[derive(Debug)]
struct Launch {
    socket: OwnedFd,
    process: Child,
    pid: Option<Pid>,
    pidfd: Option<OwnedFd>,
    console: Option<OwnedFd>,
    warnings: Vec<String>,
}

impl Launch {
    fn begin(
        helper: Helper,
        job: Job,
        stdio: &Stdio,
        more: Option<BorrowedFd<'_>>,
    ) -> Result<Launch, Error> {
        let Helper(launch) = helper;
        let fds: Vec<_> = [&stdio.stdin, &stdio.stdout, &stdio.stderr]
            .into_iter()
            .flatten()
            .map(AsFd::as_fd)
            .chain(more)
            .collect();
        launch.order(&Order::Job(Box::new(job)), &fds)?;
        Ok(launch)
    }

    fn order(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        match wire::send(self.socket.as_fd(), order, fds) {
            // Why it hung up is in what it said last, or in how it died: receiving tells.
            Ok(()) | Err(WireError::Closed) => Ok(()),
            Err(error) => Err(Error::Launcher(format!("talking to the helper: {error}"))),
        }
    }

    fn send_filter(&self, filter: Filtering<'_>) -> Result<(), Error> {
        let filter = match filter {
            Filtering::Nothing => None,
            Filtering::By(program) => Some(program.into()),
            Filtering::As(seccomp) => {
                let compiled = coracle_seccomp::compile(seccomp);
                let invalid = |error| Error::Invalid(format!("linux.seccomp: {error}"));
                Some((&compiled.map_err(invalid)?).into())
            }
        };
        self.order(&Order::Filter(filter), &[])
    }

    /// Answers the helper until all is done but the last step. The filter is compiled while the
    /// helper works.
    fn until_ready(&mut self, maps: Option<&Maps>, filter: Filtering<'_>) -> Result<(), Error> {
        if maps.is_none() {
            self.send_filter(filter)?;
        }
        loop {
            let (report, mut fds) = match wire::receive(self.socket.as_fd()) {
                Ok(received) => received,
                Err(WireError::Closed) => return Err(self.died()),
                Err(error) => {
                    return Err(Error::Launcher(format!("listening to the helper: {error}")));
                }
            };
            match report {
                Report::NeedsMaps => {
                    if let Some(maps) = maps {
                        idmap::write(self.process.id(), &maps.uids, &maps.gids)?;
                    }
                    self.order(&Order::Mapped, &[])?;
                    self.send_filter(filter)?;
                }
                Report::Child(pid) => self.adopt(pid)?,
                Report::Console => self.console = fds.pop(),
                Report::Ready { warnings } => {
                    self.warnings = warnings;
                    break;
                }
                Report::Failed(failure) => return Err(Error::Failed(failure)),
            }
        }
        // The helper's first stage reports the child before it ends, but the child's own report
        // may overtake that one.
        while self.pid.is_none() {
            match wire::receive(self.socket.as_fd()) {
                Ok((Report::Child(pid), _)) => self.adopt(pid)?,
                Ok((Report::Failed(failure), _)) => return Err(Error::Failed(failure)),
                Ok(_) => {}
                Err(_) => return Err(self.died()),
            }
        }
        self.process
            .wait()
            .map_err(|error| Error::Launcher(format!("waiting for the helper: {error}")))?;
        Ok(())
    }

    /// Waits for `execve`, which closes the socket.
    fn until_executed(&mut self) -> Result<(), Error> {
        match wire::receive(self.socket.as_fd()) {
            Err(WireError::Closed) => Ok(()),
            Ok((Report::Failed(failure), _)) => Err(Error::Failed(failure)),
            Ok(_) => Err(Error::Launcher("the helper said too much".into())),
            Err(error) => Err(Error::Launcher(format!("listening to the helper: {error}"))),
        }
    }

    fn adopt(&mut self, pid: i32) -> Result<(), Error> {
        let pid = Pid::from_raw(pid)
            .ok_or_else(|| Error::Launcher("the helper's child has no pid here".into()))?;
        // A child of this process that nobody has waited for yet: the pid can't be another's.
        self.pid = Some(pid);
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .map_err(|errno| Error::Launcher(format!("pidfd_open: {errno}")))?;
        self.pidfd = Some(pidfd);
        Ok(())
    }

    /// The helper hung up without a word.
    fn died(&mut self) -> Error {
        let stage = self.process.wait().ok().filter(|status| !status.success());
        let why = match (stage, self.pid) {
            (Some(status), _) => status.to_string(),
            (None, Some(pid)) => {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                match rustix::process::waitid(WaitId::Pid(pid), options) {
                    Ok(Some(status)) => match status.terminating_signal() {
                        Some(signal) => format!("signal {signal}"),
                        None => format!("exit status {}", status.exit_status().unwrap_or(-1)),
                    },
                    _ => "gone".into(),
                }
            }
            (None, None) => "gone".into(),
        };
        Error::Launcher(format!(
            "the helper ended while it set the process up ({why})"
        ))
    }

    fn into_process(mut self) -> Result<Process, Error> {
        let (Some(pid), Some(pidfd)) = (self.pid.take(), self.pidfd.take()) else {
            return Err(Error::Launcher("the helper started nothing".into()));
        };
        Ok(Process {
            pid: pid.as_raw_pid(),
            pidfd,
            console: self.console.take(),
            warnings: std::mem::take(&mut self.warnings),
        })
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        // The helper takes the end of its orders for the end of its work. It isn't killed: it could
        // have made its child just before, and not told of it yet.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        while self.pid.is_none() {
            match wire::receive(self.socket.as_fd()) {
                Ok((Report::Child(pid), _)) => self.pid = Pid::from_raw(pid),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        if let Some(pid) = self.pid.take() {
            // Our own child, not waited for yet: the pid is its. Errors mean that it is gone.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        }
        let _ = self.process.wait();
    }
}

fn streams(stdio: &Stdio) -> [bool; 3] {
    [
        stdio.stdin.is_some(),
        stdio.stdout.is_some(),
        stdio.stderr.is_some(),
    ]
}
