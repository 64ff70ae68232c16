//! The process between the caller and the VMM: it confines itself, then becomes the VMM.
//!
//! The caller runs itself again, so that nothing is done after a fork of a process with threads. A
//! first stage joins control groups, makes a user namespace if it isn't privileged, clones the
//! second as a child of the caller, in new namespaces, and ends. The second changes to a root that
//! holds only what the VMM needs, drops privileges, installs the filter of [`filter`], and executes.

mod confine;
pub(crate) mod filter;
mod root;
pub(crate) mod wire;

use std::ffi::CString;
use std::fmt::Display;
use std::fs;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::sys;

/// By this name as its `argv[0]` a program knows that it is to be a helper.
pub(crate) const HELPER: &str = "coracle-vmm-start";

/// Where the VMM finds its first inherited descriptor.
pub(crate) const FIRST_FD: RawFd = 3;

/// What the helper is to become. The descriptors on its frame are the VMM's standard error, then
/// those that it finds from [`FIRST_FD`] up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) program: PathBuf,
    /// With `argv[0]`.
    pub(crate) args: Vec<String>,
    /// Files and directories that it may read, at their own paths.
    pub(crate) binds: Vec<PathBuf>,
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) cgroups: Vec<PathBuf>,
    /// Whether it needs /dev/kvm.
    pub(crate) kvm: bool,
    pub(crate) ram: filter::Ram,
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The VMM's process exists, and is the caller's child.
    Child(i32),
    /// All is done but the execution, which closes the socket. The filter's listener is on the
    /// frame, if there is one.
    Ready { warnings: Vec<String> },
    /// It failed, and ends.
    Failed(String),
}

/// A step's result: the error says what was being done.
pub(crate) type Step<T> = Result<T, String>;

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Display) -> Step<T>;
}

impl<T, E: Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Step<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// Must be among the first statements of `main` of every program that starts machines: before it
/// has threads. Returns only if this process is not a helper.
pub fn run_if_helper() {
    if std::env::args_os()
        .next()
        .is_some_and(|name| name == HELPER)
    {
        sys::exit(catch_unwind(AssertUnwindSafe(run)).unwrap_or(125));
    }
}

fn run() -> i32 {
    // What the caller, or whoever started it, has left open.
    if sys::close_all_from(3).is_err() {
        return 125;
    }
    sys::reset_signals();
    let Ok(socket) = take_socket() else {
        return 125;
    };
    match stages(&socket) {
        Ok(()) => 0,
        Err(why) => {
            // If the caller is gone there is nobody to tell.
            let _ = wire::send(socket.as_fd(), &Report::Failed(why), &[]);
            125
        }
    }
}

/// Takes the socket to the caller from standard input, which is given up.
fn take_socket() -> Step<OwnedFd> {
    // Above every number that the VMM's descriptors are placed at.
    let socket =
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 100).doing("take the socket")?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .doing("open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).doing("give standard input up")?;
    Ok(socket)
}

fn stages(socket: &OwnedFd) -> Step<()> {
    let (job, fds) = wire::receive::<Job>(socket.as_fd()).doing("receive the job")?;
    let mut warnings = Vec::new();
    for file in &job.cgroups {
        fs::write(file, "0").doing(format_args!("join the control group of {}", file.display()))?;
    }
    confine::own_user_namespace(&mut warnings)?;
    let mut fresh = confine::NAMESPACES;
    let cloned = match sys::clone_sibling(fresh, None) {
        Err(error) if confine::is_refusal(&error) => {
            warnings.push(format!("no namespaces of its own: {error}"));
            fresh = 0;
            sys::clone_sibling(0, None)
        }
        cloned => cloned,
    };
    if let Some(pid) = cloned.doing("make the process")? {
        return wire::send(socket.as_fd(), &Report::Child(pid), &[]).doing("tell the pid");
    }
    // Never returns into the first stage's caller: two processes must not go on from there.
    let code = match become_vmm(socket, job, fds, fresh != 0, warnings) {
        Ok(never) => match never {},
        Err(why) => {
            let _ = wire::send(socket.as_fd(), &Report::Failed(why), &[]);
            125
        }
    };
    sys::exit(code)
}

enum Never {}

fn become_vmm(
    socket: &OwnedFd,
    job: Job,
    fds: Vec<OwnedFd>,
    namespaces: bool,
    mut warnings: Vec<String>,
) -> Step<Never> {
    let user = confine::user(&job, &mut warnings);
    if namespaces {
        root::enter(&job, &mut warnings)?;
        rustix::system::sethostname(b"localhost").doing("set the host name")?;
    }
    confine::drop_privileges(user, &mut warnings)?;
    confine::die_with_parent(socket)?;
    let placed = place(fds)?;
    let listener = filter::install(job.ram)?;
    let text = |text: &[u8]| CString::new(text).doing("make the command line");
    let program = text(job.program.as_os_str().as_bytes())?;
    let args = (job.args.iter().map(|arg| text(arg.as_bytes()))).collect::<Step<Vec<_>>>()?;
    // Nothing of the caller's. QEMU's own directory for temporary files must not be a surprise.
    let env = [c"PATH=/usr/bin:/bin".to_owned(), c"LC_ALL=C".to_owned()];
    let shown: Vec<_> = listener.iter().map(AsFd::as_fd).collect();
    wire::send(socket.as_fd(), &Report::Ready { warnings }, &shown).doing("tell of readiness")?;
    drop(listener);
    drop(placed);
    let error = sys::execve(&program, &args, &env);
    Err(format!("execute {}: {error}", job.program.display()))
}

/// Puts the descriptors where the VMM expects them; all others close when it is executed.
fn place(fds: Vec<OwnedFd>) -> Step<Vec<OwnedFd>> {
    // First out of the way of each other.
    let high = fds
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 100).doing("move a descriptor"))
        .collect::<Step<Vec<_>>>()?;
    drop(fds);
    let mut high = high.into_iter();
    let stderr = high.next().ok_or("no standard error came")?;
    rustix::stdio::dup2_stdout(&stderr).doing("place standard output")?;
    rustix::stdio::dup2_stderr(&stderr).doing("place standard error")?;
    let rest: Vec<_> = high.collect();
    for (number, fd) in (FIRST_FD..).zip(&rest) {
        sys::place(fd.as_fd(), number).doing("place a descriptor")?;
    }
    Ok(rest)
}

/// The signal that everything here dies of when its caller does.
pub(crate) const DEATH: Signal = Signal::KILL;
