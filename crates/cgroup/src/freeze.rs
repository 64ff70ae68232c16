//! Freezing and thawing, and waiting for the states of a v2 cgroup.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;

use crate::Cgroup;
use crate::Error;
use crate::files;
use crate::parse;

/// How long processes may take. A process in an uninterruptible sleep doesn't freeze.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that a change may go unnoticed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Cgroup {
    /// Stops every process here and below, and waits until they stand still.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and the processes run on; [`Error::Unavailable`] without a freezer.
    pub fn freeze(&self) -> Result<(), Error> {
        match self.freezer()? {
            Freezer::V2(dir) => {
                let frozen = set_v2(dir, true);
                if frozen.is_err() {
                    let _the_first_error_counts = files::write(dir, "cgroup.freeze", "0");
                }
                frozen
            }
            Freezer::V1(dir) => {
                let frozen = freeze_v1(dir);
                if frozen.is_err() {
                    let _the_first_error_counts = files::write(dir, "freezer.state", "THAWED");
                }
                frozen
            }
        }
    }

    /// Lets the processes run again.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if a cgroup above is frozen too; [`Error::Unavailable`].
    pub fn thaw(&self) -> Result<(), Error> {
        match self.freezer()? {
            Freezer::V2(dir) => set_v2(dir, false),
            Freezer::V1(dir) => write(dir, "freezer.state", "THAWED"),
        }
    }

    /// Whether the processes stand still.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unavailable`] without a freezer.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        match self.freezer()? {
            Freezer::V2(dir) => {
                let text = files::read_optional(dir, "cgroup.events")?;
                Ok(text.and_then(|text| parse::value_of(&text, "frozen")) == Some(1))
            }
            Freezer::V1(dir) => {
                let text = files::read_optional(dir, "freezer.state")?;
                Ok(text.is_some_and(|text| text.trim() == "FROZEN"))
            }
        }
    }

    fn freezer(&self) -> Result<Freezer<'_>, Error> {
        if let Some(dir) = self.v2.as_deref()
            && dir.join("cgroup.freeze").exists()
        {
            return Ok(Freezer::V2(dir));
        }
        match self.v1("freezer") {
            Some(dir) => Ok(Freezer::V1(dir)),
            None => Err(Error::unavailable("freezing", "freezer")),
        }
    }
}

enum Freezer<'a> {
    V1(&'a Path),
    V2(&'a Path),
}

fn write(dir: &Path, file: &str, value: &str) -> Result<(), Error> {
    files::write(dir, file, value).map_err(|error| Error::io("writing", dir.join(file), error))
}

fn set_v2(dir: &Path, frozen: bool) -> Result<(), Error> {
    let (value, state) = match frozen {
        true => ("1", "frozen"),
        false => ("0", "thawed"),
    };
    write(dir, "cgroup.freeze", value)?;
    wait_v2(dir, "frozen", u64::from(frozen), state, PATIENCE)
}

/// v1 has no event for its freezer, and may stay `FREEZING` while a process is in the middle of
/// vfork or ptrace: it is told again and again, with a thaw now and then.
fn freeze_v1(dir: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    for attempt in 1_u32.. {
        write(dir, "freezer.state", "FROZEN")?;
        let state = files::read(dir, "freezer.state")
            .map_err(|error| Error::io("reading", dir.join("freezer.state"), error))?;
        match state.trim() {
            "FROZEN" => return Ok(()),
            _ if Instant::now() > deadline => break,
            _ if attempt.is_multiple_of(50) => {
                write(dir, "freezer.state", "THAWED")?;
                thread::sleep(Duration::from_millis(10));
            }
            _ => thread::sleep(Duration::from_micros(100)),
        }
    }
    Err(Error::TimedOut {
        path: dir.to_path_buf(),
        state: "frozen",
        limit: PATIENCE,
    })
}

/// Waits until a key of `cgroup.events` has a value; a cgroup without processes, or one that is gone,
/// has them all.
pub(crate) fn wait_v2(
    dir: &Path,
    key: &str,
    value: u64,
    state: &'static str,
    limit: Duration,
) -> Result<(), Error> {
    let path = dir.join("cgroup.events");
    let failed = |error: io::Error| Error::io("reading", &path, error);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(failed)?,
    };
    let deadline = Instant::now() + limit;
    let mut bytes = [0; 4096];
    loop {
        let len = match file.read_at(&mut bytes, 0) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            result => result.map_err(failed)?,
        };
        let text = String::from_utf8_lossy(bytes.get(..len).unwrap_or_default());
        // Where the last process ended on its way into the freezer, `frozen` stays as it was.
        let empty = parse::value_of(&text, "populated") == Some(0);
        if empty || parse::value_of(&text, key) == Some(value) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::TimedOut {
                path: dir.to_path_buf(),
                state,
                limit,
            });
        }
        // The kernel wakes pollers of this file by POLLPRI when it changes, but not when the cgroup
        // goes within moments of another change: so it is looked at now and then.
        let timeout = Timespec::try_from(left.min(LOOK_AGAIN)).ok();
        let mut fds = [PollFd::new(&file, PollFlags::PRI)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
}
