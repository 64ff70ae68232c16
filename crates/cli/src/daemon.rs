//! Starting the daemon of this host, and stopping it.
//!
//! It is started by this program run once more (`coracle system launch`, hidden), which makes itself
//! a session leader and becomes the daemon. Whether it serves is learnt from its socket's directory
//! (inotify) and from its end (pidfd), without looking again and again.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coracle_client::Client;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Error, Result};
use crate::host::Place;
use crate::output::warn;

/// How long the daemon may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a daemon that took its socket and fails may take to end.
const END_LIMIT: Duration = Duration::from_secs(3);
/// Most bytes of its log that are shown when it fails.
const TAIL: u64 = 8 * 1024;

/// Starts the daemon and waits until it answers.
pub(crate) async fn start(place: &Place, arguments: &[String], client: &Client) -> Result<()> {
    let mut started = launch(place, arguments)?;
    started.wait_for_socket(place)?;
    let answered = async {
        client.open().await?;
        client.ping().await
    };
    match tokio::time::timeout(START_LIMIT, answered).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => match started.wait_for_end(END_LIMIT) {
            Some(_) => Err(started.failure(place)),
            None => Err(error.into()),
        },
        Err(_) => Err(late(place)),
    }
}

fn late(place: &Place) -> Error {
    Error::advice(
        format!(
            "the daemon does not answer after {} s",
            START_LIMIT.as_secs()
        ),
        format!("its log is {}", place.log.display()),
    )
}

/// The daemon's program: beside this one, or in PATH.
fn program() -> Result<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .map(|own| own.with_file_name("coracled"));
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let found = beside
        .into_iter()
        .chain(std::env::split_paths(&in_path).map(|dir| dir.join("coracled")))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::advice(
            "the daemon is not running, and there is no coracled beside this program or in PATH",
            "install coracled, or name a daemon with --host",
        )
    })
}

/// A daemon that was just started.
struct Started {
    child: Child,
    pidfd: OwnedFd,
    changes: OwnedFd,
    /// Where its own lines begin in the log.
    log_start: u64,
}

fn launch(place: &Place, arguments: &[String]) -> Result<Started> {
    let program = program()?;
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| Error::io(path, error)
    };
    if let Some(parent) = place.log.parent() {
        fs::create_dir_all(parent).map_err(failed(parent))?;
    }
    fs::create_dir_all(&place.exec_root).map_err(|error| {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            return Error::advice(
                format!("{}: {error}", place.exec_root.display()),
                "use sudo, or set XDG_RUNTIME_DIR for a daemon of your own",
            );
        }
        Error::io(place.exec_root.display(), error)
    })?;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&place.log)
        .map_err(failed(&place.log))?;
    let log_start = log.metadata().map_or(0, |meta| meta.len());
    // Before the start, so that nothing is missed.
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC)
        .and_then(|fd| {
            let flags = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
            inotify::add_watch(&fd, &place.exec_root, flags)?;
            Ok(fd)
        })
        .map_err(|error| Error::io(place.exec_root.display(), error.into()))?;
    let own = std::env::current_exe().map_err(|error| Error::io("this program", error))?;
    let errors = log.try_clone().map_err(failed(&place.log))?;
    let child = Command::new(own)
        .args(["system", "launch"])
        .arg(program)
        .args(own_roots(place))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .current_dir("/")
        .spawn()
        .map_err(|error| Error::io("starting the daemon", error))?;
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|error| Error::io("watching the daemon", error.into()))?;
    Ok(Started {
        child,
        pidfd,
        changes,
        log_start,
    })
}

/// A user's daemon has its things in the user's directories.
fn own_roots(place: &Place) -> Vec<std::ffi::OsString> {
    if place.exec_root == Path::new("/run/coracle") {
        return Vec::new();
    }
    let data = crate::host::variable("XDG_DATA_HOME").map_or_else(
        || Path::new(&crate::host::variable("HOME").unwrap_or_default()).join(".local/share"),
        PathBuf::from,
    );
    vec![
        "--exec-root".into(),
        place.exec_root.clone().into(),
        "--data-root".into(),
        data.join("coracle").into(),
    ]
}

impl Started {
    /// Waits until somebody answers on the socket.
    fn wait_for_socket(&mut self, place: &Place) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if UnixStream::connect(&place.socket).is_ok() {
                return Ok(());
            }
            if self.wait_for_end(Duration::ZERO).is_some() {
                // Another one may have been quicker.
                return match UnixStream::connect(&place.socket) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(self.failure(place)),
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(late(place));
            }
            wait(&[self.changes.as_fd(), self.pidfd.as_fd()], left);
            self.forget_changes();
        }
    }

    /// Waits for its end; gives its exit code, if that comes in time.
    fn wait_for_end(&mut self, limit: Duration) -> Option<i32> {
        wait(&[self.pidfd.as_fd()], limit);
        let status = self.child.try_wait().ok()??;
        Some(status.code().unwrap_or(-1))
    }

    /// Reads away what inotify said: only that it said something matters.
    fn forget_changes(&self) {
        let fd = self.changes.as_fd();
        if wait(&[fd], Duration::ZERO) {
            let _ = rustix::io::read(fd, &mut [0; 4096]);
        }
    }

    /// What the daemon said.
    fn failure(&self, place: &Place) -> Error {
        let said = tail(&place.log, self.log_start).unwrap_or_default();
        let said = match said.trim() {
            "" => "it said nothing",
            said => said,
        };
        Error::advice(
            format!("the daemon does not start:\n{said}"),
            format!("all of its log is in {}", place.log.display()),
        )
    }
}

/// Waits until one is ready to be read; says whether one is.
fn wait(fds: &[std::os::fd::BorrowedFd<'_>], limit: Duration) -> bool {
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let limit = Timespec::try_from(limit).unwrap_or_default();
    matches!(poll(&mut fds, Some(&limit)), Ok(ready) if ready > 0)
}

fn tail(path: &Path, start: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL))))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A daemon that runs, by its pid file.
pub(crate) struct Running {
    pub(crate) pid: i32,
    pidfd: OwnedFd,
}

/// The daemon that runs at a place. A process that isn't coracled is none.
pub(crate) fn running(place: &Place) -> Result<Option<Running>> {
    let path = place.pid_file();
    let text = match crate::config::read_bounded(&path, 64) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path.display(), error)),
    };
    let text = String::from_utf8_lossy(&text);
    let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else {
        return Err(Error::usage(format!(
            "{} holds no process id",
            path.display()
        )));
    };
    // Opened first and looked at then: what is looked at is what will be sent the signal.
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(None);
    };
    let pid = pid.as_raw_nonzero().get();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Ok((name.trim() == "coracled").then_some(Running { pid, pidfd }))
}

impl Running {
    /// Asks it to end, and waits for that.
    pub(crate) fn stop(&self, limit: Duration) -> Result<()> {
        pidfd_send_signal(&self.pidfd, Signal::TERM).map_err(|error| {
            Error::io(format_args!("stopping process {}", self.pid), error.into())
        })?;
        if wait(&[self.pidfd.as_fd()], limit) {
            return Ok(());
        }
        Err(Error::advice(
            format!(
                "the daemon (process {}) did not end in {} s",
                self.pid,
                limit.as_secs()
            ),
            "it waits for requests in hand; `coracle system logs` shows which, --timeout gives it longer",
        ))
    }
}

/// Becomes the daemon, in a session of its own.
pub(crate) fn become_daemon(program: &Path, arguments: &[String]) -> Error {
    use std::os::unix::process::CommandExt;
    if let Err(error) = rustix::process::setsid() {
        warn(format_args!("coracle: no session of its own: {error}"));
    }
    let error = Command::new(program).args(arguments).exec();
    Error::io(program.display(), error)
}
