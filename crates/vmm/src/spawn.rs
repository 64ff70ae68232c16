//! Starting the VMM's process, and giving it its memory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::helper::filter::{OPENAT_PATH, RAM_FD, RAM_PATH};
use crate::helper::{HELPER, Job, Report, wire};
use crate::sys;

/// A child that nobody has waited for. Dropping it kills it and takes its status.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(i32),
    Signal(i32),
}

impl Process {
    fn adopt(pid: i32) -> Result<Process> {
        let gone = || Error::Start("the helper's child has no pid here".into());
        let pid = Pid::from_raw(pid).ok_or_else(gone)?;
        // A child of this process that nobody has waited for yet: the pid can't be another's.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)
            .map_err(Error::os("pidfd_open"))?;
        Ok(Process {
            pid,
            pidfd,
            reaped: false,
        })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// A second descriptor of it, to kill it by.
    pub(crate) fn pidfd(&self) -> Result<OwnedFd> {
        self.pidfd.try_clone().map_err(Error::io("dup"))
    }

    /// Waits for its end and takes its status.
    pub(crate) async fn wait(mut self) -> io::Result<Status> {
        let watched = coracle_descriptor::watch(self.pidfd.try_clone()?, Interest::READABLE)?;
        loop {
            let mut guard = watched.readable().await?;
            if let Some(status) = self.take_status(WaitIdOptions::NOHANG)? {
                return Ok(status);
            }
            guard.clear_ready();
        }
    }

    fn take_status(&mut self, options: WaitIdOptions) -> io::Result<Option<Status>> {
        let id = WaitId::PidFd(self.pidfd.as_fd());
        match rustix::process::waitid(id, WaitIdOptions::EXITED | options) {
            Ok(Some(status)) => {
                self.reaped = true;
                Ok(Some(match status.terminating_signal() {
                    Some(signal) => Status::Signal(signal),
                    None => Status::Exited(status.exit_status().unwrap_or(-1)),
                }))
            }
            Ok(None) | Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(None),
            Err(errno) => {
                self.reaped = true;
                Err(errno.into())
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            // An error means that it has ended.
            let _ = kill(&self.pidfd);
            let _ = rustix::process::waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
        }
    }
}

/// Kills the process behind the descriptor.
pub(crate) fn kill(pidfd: &OwnedFd) -> rustix::io::Result<()> {
    rustix::process::pidfd_send_signal(pidfd, Signal::KILL)
}

/// What came of a job.
pub(crate) struct Spawned {
    pub(crate) process: Process,
    pub(crate) warnings: Vec<String>,
    /// Where the VMM asks for its memory.
    pub(crate) listener: Option<OwnedFd>,
}

struct Order {
    job: Job,
    fds: Vec<OwnedFd>,
    answer: oneshot::Sender<Result<Spawned>>,
}

/// Starts a VMM; returns when it is being executed.
///
/// All are started by one thread that ends with this process: for the kernel it is their parent, at
/// whose end they die.
pub(crate) async fn spawn(job: Job, fds: Vec<OwnedFd>) -> Result<Spawned> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let lost = || Error::Start("the thread that starts machines is gone".into());
    let orders = match SPAWNER.get() {
        Some(orders) => orders,
        None => {
            let (sender, receiver) = mpsc::channel::<Order>();
            std::thread::Builder::new()
                .name("vmm-start".into())
                .stack_size(128 << 10)
                .spawn(move || {
                    for Order { job, fds, answer } in receiver {
                        // If nobody waits any more the process is killed by being dropped.
                        let _ = answer.send(run(&job, fds));
                    }
                })
                .map_err(Error::io("starting a thread"))?;
            // A second thread that came of a race ends with its dropped sender.
            SPAWNER.get_or_init(|| sender)
        }
    };
    let (answer, answered) = oneshot::channel();
    let order = Order { job, fds, answer };
    orders.send(order).map_err(|_| lost())?;
    answered.await.map_err(|_| lost())?
}

fn run(job: &Job, fds: Vec<OwnedFd>) -> Result<Spawned> {
    let flags = SocketFlags::CLOEXEC;
    let (socket, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(Error::os("socketpair"))?;
    // No pre_exec and no changed ids: so this is posix_spawn, which copies no page tables.
    let mut helper = Command::new("/proc/self/exe")
        .arg0(HELPER)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::io("running the helper"))?;
    let outcome = converse(job, fds, &socket, &mut helper);
    // By now it has ended, or the socket's end is what it waits for.
    drop(socket);
    helper.wait().map_err(Error::io("waiting for the helper"))?;
    outcome
}

fn converse(job: &Job, fds: Vec<OwnedFd>, socket: &OwnedFd, helper: &mut Child) -> Result<Spawned> {
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    wire::send(socket.as_fd(), job, &borrowed).map_err(|error| {
        Error::Start(format!(
            "talking to the helper: {error} (does the program call run_if_helper?)"
        ))
    })?;
    drop(fds);
    let (mut process, mut ready, mut failed) = (None, None, None);
    // Until the VMM is executed, which closes the last end of the socket.
    loop {
        match wire::receive::<Report>(socket.as_fd()) {
            Ok((Report::Child(pid), _)) => process = Some(Process::adopt(pid)?),
            Ok((Report::Ready { warnings }, mut fds)) => ready = Some((warnings, fds.pop())),
            Ok((Report::Failed(why), _)) => failed = Some(why),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(Error::Start(format!("listening to the helper: {error}"))),
        }
    }
    match (failed, process, ready) {
        (Some(why), ..) => Err(Error::Start(why)),
        (None, Some(process), Some((warnings, listener))) => Ok(Spawned {
            process,
            warnings,
            listener,
        }),
        _ => {
            let status = helper.wait().map_err(Error::io("waiting for the helper"))?;
            Err(Error::Start(format!(
                "the helper ended without a word ({status})"
            )))
        }
    }
}

/// Answers the VMM's question for its memory, for as long as it is polled.
pub(crate) async fn give_memory(listener: OwnedFd, ram: OwnedFd) -> io::Result<()> {
    let listener = coracle_descriptor::watch(listener, Interest::READABLE)?;
    loop {
        let mut guard = listener.readable().await?;
        // All that wait: what is there already is not announced again. Taking one where there is
        // none would block.
        loop {
            let now = rustix::event::Timespec::default();
            let mut polled = [PollFd::new(listener.get_ref(), PollFlags::IN)];
            rustix::event::poll(&mut polled, Some(&now))?;
            let found = polled.iter().map(PollFd::revents).collect::<PollFlags>();
            if !found.contains(PollFlags::IN) {
                if found.intersects(PollFlags::HUP | PollFlags::ERR) {
                    return Ok(());
                }
                break;
            }
            match sys::next_question(listener.get_ref().as_fd()) {
                Ok(question) => answer(&listener, &question, &ram)?,
                // Who asked has died.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        guard.clear_ready();
    }
}

fn answer(listener: &AsyncFd<OwnedFd>, question: &sys::Question, ram: &OwnedFd) -> io::Result<()> {
    let listener = listener.get_ref().as_fd();
    let answered = if asks_for_memory(question) {
        sys::answer_with(listener, question, ram.as_fd(), RAM_FD)
    } else {
        sys::answer_continue(listener, question)
    };
    match answered {
        // Who asked has died.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answered => answered,
    }
}

/// Whether the call opens the memory's path. No decision on safety hangs on it: the VMM may open
/// whatever its root has.
fn asks_for_memory(question: &sys::Question) -> bool {
    if i64::from(question.number) != libc::SYS_openat {
        return false;
    }
    let Some(address) = question.args.get(OPENAT_PATH) else {
        return false;
    };
    let mut path = [0; RAM_PATH.len() + 1];
    let read = File::open(format!("/proc/{}/mem", question.pid))
        .and_then(|memory| memory.read_exact_at(&mut path, *address));
    read.is_ok() && path.strip_suffix(&[0]) == Some(RAM_PATH.as_bytes())
}
