//! Ending every process of a cgroup.

use std::io;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;

use crate::Cgroup;
use crate::Error;
use crate::files;
use crate::freeze::wait_v2;
use crate::walk;

impl Cgroup {
    /// Sends SIGKILL to every process here and below, also to those that are being made meanwhile,
    /// and waits until none is left, at most for `patience`. Frozen processes end too. The calling
    /// process, should it be in there, is not spared.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if processes are left, [`Error::Io`].
    pub fn kill(&self, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        if self.kill_v2()? {
            if let Some(dir) = &self.v2 {
                wait_v2(dir, "populated", 0, "empty", patience)?;
            }
            // Anyone left didn't join the v2 tree.
            if self.v1.is_empty() {
                return Ok(());
            }
        }
        let mut pause = Duration::from_micros(200);
        for round in 0.. {
            let mut pids = self.members()?;
            if pids.is_empty() {
                return Ok(());
            }
            // Forking faster than this loop reads works only until all stand still.
            let frozen = round > 2 && self.freeze().is_ok();
            if frozen {
                pids = self.members()?;
            }
            for pid in pids {
                if let Some(pid) = Pid::from_raw(pid) {
                    let _gone_already = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            // Also what was paused before: in v1 a frozen process doesn't end.
            match self.thaw() {
                Ok(()) | Err(Error::Unavailable { .. }) => {}
                Err(error) if self.dirs().any(|dir| dir.exists()) => return Err(error),
                Err(_) => return Ok(()),
            }
            if Instant::now() >= deadline {
                break;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        match self.members()?.is_empty() {
            true => Ok(()),
            false => Err(self.not_empty(patience)),
        }
    }

    /// Waits until no process is left here and below, at most for `patience`. A zombie doesn't
    /// count.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Io`].
    pub fn wait_empty(&self, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        if let Some(dir) = &self.v2 {
            wait_v2(dir, "populated", 0, "empty", patience)?;
        }
        // v1 has no event for this.
        let mut pause = Duration::from_micros(200);
        while !self.members()?.is_empty() {
            if Instant::now() >= deadline {
                return Err(self.not_empty(patience));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Tells the v2 tree to kill (Linux 5.14); whether it could.
    fn kill_v2(&self) -> Result<bool, Error> {
        let Some(dir) = &self.v2 else {
            return Ok(false);
        };
        match files::write(dir, "cgroup.kill", "1") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("writing", dir.join("cgroup.kill"), error)),
        }
    }

    /// The processes of the first v1 hierarchy, or of the v2 tree where there is no other: a
    /// process that joined only some of them is found too.
    fn members(&self) -> Result<Vec<i32>, Error> {
        let mut pids = self.pids()?;
        if let (Some(dir), true) = (self.v1.first(), self.v2.is_some()) {
            pids.extend(walk::pids(&dir.path)?);
        }
        Ok(pids)
    }

    fn not_empty(&self, limit: Duration) -> Error {
        Error::TimedOut {
            path: self.dirs().next().unwrap_or("".as_ref()).to_path_buf(),
            state: "empty",
            limit,
        }
    }
}
