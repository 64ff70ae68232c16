//! How a process joins a cgroup by itself, cheaply.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::path::Path;

use crate::Cgroup;
use crate::Error;

/// Open files by which a single-threaded process moves itself into a cgroup.
///
/// Moving a process by its id ([`Cgroup::add`]) makes the kernel stop all forks on the host, which
/// takes 5 to 30 ms. A thread that moves itself with `tasks` in v1 doesn't need that, and
/// `clone3(CLONE_INTO_CGROUP)` doesn't in v2. So: open this, make the child with
/// [`Cgroup::unified_path`], and let the child call [`Joiner::join_v1`]; or let it call
/// [`Joiner::join`] and wait.
///
/// The files are opened ahead, so it works after mounts have changed; the descriptors close on
/// exec.
#[derive(Debug)]
pub struct Joiner {
    v1: Vec<File>,
    v2: Option<File>,
}

impl Cgroup {
    /// Opens what a process needs to join.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn joiner(&self) -> Result<Joiner, Error> {
        let open = |dir: &Path, file: &str| {
            let path = dir.join(file);
            let file = OpenOptions::new().write(true).open(&path);
            file.map_err(|error| Error::io("opening", path, error))
        };
        let v1 = self.v1.iter().map(|dir| open(&dir.path, "tasks"));
        let v2 = self.v2.as_deref().map(|dir| open(dir, "cgroup.procs"));
        Ok(Joiner {
            v1: v1.collect::<Result<_, _>>()?,
            v2: v2.transpose()?,
        })
    }
}

impl Joiner {
    /// Moves the calling thread into the v1 cgroups only. The process must have no other thread.
    /// It allocates nothing, so it may be called between fork and exec.
    ///
    /// # Errors
    /// What the kernel answers; the thread is in some of the cgroups then.
    pub fn join_v1(&self) -> io::Result<()> {
        self.v1.iter().try_for_each(|mut file| file.write_all(b"0"))
    }

    /// Moves the calling process, which must have no other thread, into all of them.
    ///
    /// # Errors
    /// As [`Joiner::join_v1`].
    pub fn join(&self) -> io::Result<()> {
        self.join_v1()?;
        self.v2.iter().try_for_each(|mut file| file.write_all(b"0"))
    }
}
