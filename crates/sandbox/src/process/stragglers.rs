//! What a container's first process leaves behind where neither a process namespace of its own nor
//! a cgroup ends it: an ordinary user's container in another one's process namespace.
//!
//! Its processes are known by their mount namespace, which is the container's alone. One that has
//! made itself another mount namespace, as only a privileged one can, gets away.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;

/// A container's mount namespace, which stays as long as this.
#[derive(Debug)]
pub(crate) struct Stragglers {
    namespace: OwnedFd,
}

impl Stragglers {
    /// Those of the container that this process, which hasn't ended, is in.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open(format!("/proc/{pid}/ns/mnt"), flags, Mode::empty())?;
        Ok(Self { namespace })
    }

    /// Sends SIGKILL to all, also to those that are being made meanwhile, until none is left; whether
    /// that came about within `patience`.
    pub(crate) fn kill(&self, patience: Duration) -> bool {
        let Ok(own) = rustix::fs::fstat(&self.namespace) else {
            return false;
        };
        let is_inside = |pid: i32| {
            // Of one that has ended this fails.
            rustix::fs::stat(format!("/proc/{pid}/ns/mnt"))
                .is_ok_and(|its| (its.st_dev, its.st_ino) == (own.st_dev, own.st_ino))
        };
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(200);
        loop {
            let mut found = false;
            for pid in processes().filter(|pid| is_inside(*pid)) {
                found = true;
                let process = Pid::from_raw(pid)
                    .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
                // Once more: the id could have become another process's before.
                if let Some(process) = process.filter(|_| is_inside(pid)) {
                    let _gone_already = rustix::process::pidfd_send_signal(process, Signal::KILL);
                }
            }
            if !found {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::io::BufReader;
    use std::process::Command;
    use std::process::Stdio;

    #[test]
    fn all_in_the_namespace_end_and_no_others() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
        let script = "sleep 1000 & setsid sleep 1000 & \
                      while :; do sleep 0.01; done & setsid sh -c 'sh -c \"sleep 1000 & sleep 1000\"' & \
                      echo ready; read x";
        let mut first = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(first.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let stragglers = Stragglers::of(first.id() as i32).unwrap();
        drop(first.stdin.take());
        first.wait().unwrap();
        assert!(stragglers.kill(Duration::from_secs(10)));
        // They had it open.
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
