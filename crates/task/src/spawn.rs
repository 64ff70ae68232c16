//! Starting a shim: what the engine does between writing `task.json` and connecting.

#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use rustix::fd::AsFd;
use rustix::fd::BorrowedFd;
use rustix::fd::FromRawFd;
use rustix::fd::OwnedFd;
use rustix::fd::RawFd;

/// The name of the file in the bundle that a shim's own complaints go to.
pub const LOG_FILE: &str = "shim.log";

/// The shim's descriptor for its listening socket; those of the published ports follow.
pub const LISTEN_FD: RawFd = 3;

/// Starts `binary` to make the template of virtual machines that `file` describes (a
/// [`MachineConfig`](crate::MachineConfig) as JSON). It gives up when its standard input ends, which
/// the caller holds. Its complaints go to `log`. As with [`spawn_shim`], the caller reaps it some time.
pub fn spawn_template(binary: &Path, file: &Path, log: &Path) -> io::Result<Child> {
    let log = OpenOptions::new().append(true).create(true).open(log)?;
    Command::new(binary)
        .arg("--template")
        .arg(file)
        .env_clear()
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
}

/// Starts `binary` as a spare shim ([`spare`](crate::spare)), at the other end of `link`. Its complaints
/// go to `log` until it has a container. As with [`spawn_shim`], the caller reaps it some time.
pub fn spawn_spare(binary: &Path, link: impl AsFd, log: &Path) -> io::Result<Child> {
    let source = rustix::io::fcntl_dupfd_cloexec(link, LISTEN_FD + 1)?;
    let log = OpenOptions::new().append(true).create(true).open(log)?;
    let mut command = Command::new(binary);
    command
        .arg("--spare")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    place(&mut command, vec![source]);
    command.spawn()
}

/// Starts `binary` as the shim of `bundle`, in a session of its own and with an empty
/// environment. `listener` is the socket it serves (see [`listen`](crate::listen)), `more` are
/// the sockets that [`TaskConfig::ports`](crate::TaskConfig::ports) counts, and then the file
/// system of the container's secrets if it [has some](crate::TaskConfig::has_handed).
///
/// It is a child of the caller, who must reap it some time: it outlives the caller's
/// interest in it. Connections are accepted from now on, as the socket listens already.
pub fn spawn_shim(
    binary: &Path,
    bundle: &Path,
    listener: impl AsFd,
    more: &[BorrowedFd<'_>],
) -> io::Result<Child> {
    let count = RawFd::try_from(more.len()).map_err(|_| io::ErrorKind::InvalidInput)? + 1;
    let above = LISTEN_FD + count;
    // Copies above all targets, so that no target overwrites a source.
    let sources = std::iter::once(listener.as_fd())
        .chain(more.iter().copied())
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, above))
        .collect::<Result<Vec<_>, _>>()?;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(bundle.join(LOG_FILE))?;

    let mut command = Command::new(binary);
    command
        .arg("--bundle")
        .arg(bundle)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    place(&mut command, sources);
    command.spawn()
}

/// Has a program find the descriptors from [`LISTEN_FD`] on, in a session of its own. All of them are
/// above those.
fn place(command: &mut Command, sources: Vec<OwnedFd>) {
    let prepare = move || -> io::Result<()> {
        // Fails only for the leader of a process group, which a new child isn't.
        let _ = rustix::process::setsid();
        for (target, source) in (LISTEN_FD..).zip(&sources) {
            // SAFETY: the descriptor is only named, as the target of dup2, and never closed:
            // `forget` below. This runs in the child before exec, where nothing else owns it.
            let mut to = unsafe { OwnedFd::from_raw_fd(target) };
            let result = rustix::io::dup2(source, &mut to);
            std::mem::forget(to);
            result?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec this makes only the system calls setsid and dup2, and
    // neither allocates nor takes locks.
    unsafe { command.pre_exec(prepare) };
}
