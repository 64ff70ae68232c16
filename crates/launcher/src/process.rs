//! The last steps, which a container's first process and one that joins it share: streams, limits,
//! user, capabilities, system call filter, and the execution of the command.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coracle_seccomp::Program;
use oci_spec::runtime::{LinuxPersonality, Process};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::caps::{self, Sets};
use crate::console::Console;
use crate::error::{Context, Failure, Stage, Step};
use crate::helper::Caller;
use crate::path::Root;
use crate::user::Identity;
use crate::{lookup, rlimits, sys, user};

/// The standard streams as they came from the caller.
pub(crate) struct Streams([Option<OwnedFd>; 3]);

impl Streams {
    pub(crate) fn take(
        wanted: [bool; 3],
        fds: &mut impl Iterator<Item = OwnedFd>,
    ) -> Step<Streams> {
        let mut streams = [None, None, None];
        for (stream, wanted) in streams.iter_mut().zip(wanted) {
            if wanted {
                *stream = Some(
                    fds.next()
                        .ok_or_else(|| Failure::new(Stage::Protocol, "a stream is missing"))?,
                );
            }
        }
        Ok(Streams(streams))
    }
}

/// The process to be, before the last steps.
pub(crate) struct Subject {
    pub(crate) process: Process,
    pub(crate) user: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) default_home: bool,
    pub(crate) personality: Option<LinuxPersonality>,
    pub(crate) die_with_caller: bool,
    pub(crate) streams: Streams,
    /// The host's /proc.
    pub(crate) proc: OwnedFd,
    pub(crate) warnings: Vec<String>,
}

/// The process to be, with nothing left to do but [`Prepared::execute`].
pub(crate) struct Prepared {
    file: PathBuf,
    args: Vec<CString>,
    env: Vec<CString>,
    sets: Sets,
    filter: Option<Program>,
    no_new_privileges: bool,
    die_with_caller: bool,
    label: Option<Label>,
    terminal: Option<Console>,
    streams: [OwnedFd; 3],
}

/// A file in /proc/self/attr, and what to write there before the execution.
struct Label {
    file: OwnedFd,
    text: String,
}

impl Subject {
    pub(crate) fn identity(&self, root: &Root) -> Step<Identity> {
        let env = self.process.env().as_deref().unwrap_or_default();
        user::resolve(
            root,
            self.process.user(),
            self.user.as_deref(),
            &self.groups,
            self.default_home && lookup::variable(env, "HOME").is_none(),
        )
    }

    /// Does everything but the last step, in the container's root. What couldn't be done exactly
    /// as asked is returned beside it.
    pub(crate) fn prepare(
        mut self,
        caller: &Caller,
        root: &Root,
        identity: &Identity,
        console: Option<Console>,
    ) -> Step<(Prepared, Vec<String>)> {
        let label = self.label()?;
        let streams = self.streams(root, identity)?;
        match sys::new_session_keyring() {
            // Not in this kernel, forbidden to us, or no more room for keys of this user. Docker
            // goes on as well.
            Ok(()) => {}
            Err(error) if is_any(&error, &[Errno::NOSYS, Errno::PERM, Errno::ACCESS]) => {}
            Err(error) if is_any(&error, &[Errno::DQUOT, Errno::NOMEM]) => self.warnings.push(
                "no session keyring could be made: the user's quota of keys is used up".into(),
            ),
            Err(error) => return Err(error).during(Stage::Process, || "make a session keyring"),
        }
        rlimits::personality(self.personality.as_ref())?;
        rlimits::io_priority(self.process.io_priority().as_ref())?;
        rlimits::scheduler(self.process.scheduler().as_ref())?;

        let sets = Sets::of(self.process.capabilities().as_ref(), &mut self.warnings)?;
        let limits = self.process.rlimits().as_deref().unwrap_or_default();
        rlimits::set_limits(limits, &mut self.warnings)?;
        let umask = self.process.user().umask().unwrap_or(0o022);
        rustix::process::umask(Mode::from_raw_mode(umask));

        let cwd = self.process.cwd();
        // With the set-up's privileges, and if need be with the user's: on some network file
        // systems root may do less.
        let entered = enter(root, cwd);
        caps::become_user(identity)?;
        if entered.is_err() {
            enter(root, cwd).during(Stage::Process, || {
                format!(
                    "chdir to cwd ({:?}) set in config.json failed",
                    cwd.display()
                )
            })?;
        }
        inside()?;

        let (file, args, env) = self.command(identity)?;
        let no_new_privileges = self.process.no_new_privileges().unwrap_or_default();
        if no_new_privileges {
            rustix::thread::set_no_new_privs(true)
                .during(Stage::Credentials, || "set no_new_privs")?;
        }
        sets.prepare()?;
        bind_to_parent(self.die_with_caller)?;
        let prepared = Prepared {
            file,
            args,
            env,
            sets,
            filter: caller.filter()?,
            no_new_privileges,
            die_with_caller: self.die_with_caller,
            label,
            terminal: console,
            streams,
        };
        Ok((prepared, self.warnings))
    }

    fn command(&self, identity: &Identity) -> Step<(PathBuf, Vec<CString>, Vec<CString>)> {
        let mut env = self.process.env().clone().unwrap_or_default();
        if self.default_home && lookup::variable(&env, "HOME").is_none() {
            let home = identity.home.as_deref().filter(|home| !home.is_empty());
            env.push(format!("HOME={}", home.unwrap_or("/")));
        }
        let args = self.process.args().as_deref().unwrap_or_default();
        let command = args
            .first()
            .ok_or_else(|| Failure::new(Stage::Command, "no command specified"))?;
        let file = lookup::find(command, lookup::variable(&env, "PATH"))?;
        Ok((file, strings(args)?, strings(&env)?))
    }

    /// Opens the three streams, and gives pipes to the user, who could otherwise not open
    /// /dev/stdout.
    fn streams(&mut self, root: &Root, identity: &Identity) -> Step<[OwnedFd; 3]> {
        let mut null = None;
        let mut open = |stream: Option<OwnedFd>| -> Step<OwnedFd> {
            if let Some(stream) = stream {
                let stat = rustix::fs::fstat(&stream)
                    .during(Stage::Process, || "look at a standard stream")?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo {
                    let uid = rustix::fs::Uid::from_raw(identity.uid);
                    // Not possible for an id that isn't mapped, and nothing depends on it.
                    let _ = rustix::fs::fchown(&stream, Some(uid), None);
                }
                return Ok(stream);
            }
            let null = match &null {
                Some(null) => null,
                None => null.insert(open_null(root)?),
            };
            rustix::io::fcntl_dupfd_cloexec(null, 3)
                .during(Stage::Process, || "duplicate /dev/null")
        };
        let [stdin, stdout, stderr] = std::mem::take(&mut self.streams.0);
        Ok([open(stdin)?, open(stdout)?, open(stderr)?])
    }

    /// Opens the file for the label that AppArmor or SELinux is to give to the command.
    fn label(&self) -> Step<Option<Label>> {
        let not_empty = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
        let (files, text) = if let Some(profile) = not_empty(self.process.apparmor_profile()) {
            let files = ["self/attr/apparmor/exec", "self/attr/exec"];
            (files, format!("exec {profile}"))
        } else if let Some(label) = not_empty(self.process.selinux_label()) {
            (["self/attr/exec"; 2], label)
        } else {
            return Ok(None);
        };
        let open = |file| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&self.proc, file, flags, Mode::empty())
        };
        let file = open(files[0])
            .or_else(|_| open(files[1]))
            .during(Stage::Process, || "open the process's security attributes")?;
        Ok(Some(Label { file, text }))
    }
}

impl Prepared {
    /// Executes the command; returns only the reason why not.
    ///
    /// As little as possible happens once the filter is in force, because it may forbid it. A
    /// filter without no_new_privs needs CAP_SYS_ADMIN, and so comes before the capabilities are
    /// given up.
    pub(crate) fn execute(self) -> Failure {
        match self.try_execute() {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    fn try_execute(mut self) -> Step<std::convert::Infallible> {
        self.take_session()?;
        if let Some(Label { file, text }) = self.label.take() {
            File::from(file)
                .write_all(text.as_bytes())
                .during(Stage::Process, || {
                    format!("set the security label {text:?}")
                })?;
        }
        let path = strings(&[self.file.as_os_str()])?;
        let [path] = path.as_slice() else {
            return Err(Failure::new(Stage::Command, "no command specified"));
        };
        sys::close_on_exec_from(3).during(Stage::Process, || "mark descriptors close-on-exec")?;
        self.confine()?;
        let error = sys::execve(path, &self.args, &self.env);
        Err(lookup::not_executed(&self.file, &error))
    }

    /// Puts the filter in force and gives up all capabilities that the process isn't to have.
    pub(crate) fn confine(&self) -> Step<()> {
        if self.no_new_privileges {
            self.sets.finish()?;
        }
        if let Some(filter) = &self.filter {
            filter
                .load()
                .during(Stage::Seccomp, || "load the seccomp filter")?;
        }
        if !self.no_new_privileges {
            self.sets.finish()?;
        }
        Ok(())
    }

    /// Binds this process, which `parent` has just forked, to it as that is bound to the caller.
    pub(crate) fn follow(&self, parent: Option<Pid>) -> Step<()> {
        bind_to_parent(self.die_with_caller)?;
        // It could have ended before.
        if self.die_with_caller && rustix::process::getppid() != parent {
            return Err(Failure::new(Stage::Process, "the reaper has ended"));
        }
        Ok(())
    }

    pub(crate) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Starts a session, with the terminal as its own, and puts the streams in their places.
    fn take_session(&mut self) -> Step<()> {
        // Fails only for a process that leads a group already, as no helper does.
        rustix::process::setsid().during(Stage::Process, || "start a session")?;
        match self.terminal.take() {
            Some(console) => console.take()?,
            None => {
                let [stdin, stdout, stderr] = &self.streams;
                dup_streams(stdin.as_fd(), stdout.as_fd(), stderr.as_fd())?;
            }
        }
        Ok(())
    }
}

/// Lets the kernel kill this process when its parent ends, or no longer.
///
/// Changing to another user takes that back, so it comes after; giving up capabilities doesn't.
/// Whoever calls this must then find the caller alive, which could have ended before.
fn bind_to_parent(bound: bool) -> Step<()> {
    rustix::process::set_parent_process_death_signal(bound.then_some(Signal::KILL))
        .during(Stage::Process, || "set the parent death signal")
}

pub(crate) fn dup_streams(
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
) -> Step<()> {
    let what = || "put the standard streams in place";
    rustix::stdio::dup2_stdin(stdin).during(Stage::Process, what)?;
    rustix::stdio::dup2_stdout(stdout).during(Stage::Process, what)?;
    rustix::stdio::dup2_stderr(stderr).during(Stage::Process, what)
}

/// The container's /dev/null if it is the real one, else the helper's own standard input, which is
/// the host's.
fn open_null(root: &Root) -> Step<OwnedFd> {
    let null = Path::new("/dev/null");
    if let Ok(fd) = root.open_unlinked(null, OFlags::RDWR | OFlags::NONBLOCK) {
        let stat = rustix::fs::fstat(&fd).during(Stage::Process, || "look at /dev/null")?;
        let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == rustix::fs::makedev(1, 3);
        if is_null && rustix::fs::fcntl_setfl(&fd, OFlags::empty()).is_ok() {
            return Ok(fd);
        }
    }
    rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .during(Stage::Process, || "duplicate /dev/null")
}

/// Changes to a directory, not following links of the kernel's to open descriptors
/// (CVE-2024-21626).
fn enter(root: &Root, cwd: &Path) -> Result<(), Errno> {
    rustix::process::fchdir(root.open(cwd, OFlags::PATH | OFlags::DIRECTORY)?)
}

/// Makes sure, once more, that the current directory is in the root.
fn inside() -> Step<()> {
    let outside = || {
        Failure::new(
            Stage::Process,
            "current working directory is outside of container mount namespace root -- possible \
             container breakout detected",
        )
    };
    match rustix::process::getcwd(Vec::new()) {
        Ok(cwd) if lookup::is_inside(cwd.as_bytes()) => Ok(()),
        // It was removed meanwhile, or may not be looked at: no way out either.
        Err(Errno::ACCESS) => Ok(()),
        _ => Err(outside()),
    }
}

fn strings<S: AsRef<std::ffi::OsStr>>(strings: &[S]) -> Step<Vec<CString>> {
    strings
        .iter()
        .map(|string| {
            CString::new(string.as_ref().as_bytes())
                .map_err(|_| Failure::new(Stage::Command, "a string holds a zero byte"))
        })
        .collect()
}

fn is_any(error: &std::io::Error, errnos: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| errnos.contains(&errno))
}
