//! Network namespaces of one's own, without `ip netns`, which hides the control groups.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace that lives as long as this and the processes in it.
#[derive(Debug)]
pub struct Netns {
    file: File,
}

impl Netns {
    /// Makes one with its loopback up.
    ///
    /// # Panics
    /// If that fails, as it does without privileges.
    #[must_use]
    pub fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-ec", "ip link set lo up; echo up; read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run `unshare --net`");
        let mut up = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut up)
            .expect("read of unshare");
        assert_eq!(up, "up\n", "unshare --net; ip link set lo up");
        let file =
            File::open(format!("/proc/{}/ns/net", child.id())).expect("the namespace's file");
        drop(child.stdin.take());
        let _ = child.wait();
        Self { file }
    }

    /// The one that a process is in.
    ///
    /// # Panics
    /// If there is no such process.
    #[must_use]
    pub fn of(pid: &str) -> Self {
        let file = File::open(format!("/proc/{pid}/ns/net")).expect("the process's namespace");
        Self { file }
    }

    /// Runs `work` on a thread inside; what it spawns and connects to is inside as well.
    ///
    /// # Panics
    /// With what `work` panics with.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("enter the network namespace");
                work()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// The namespace's number, as `/proc/<pid>/ns/net` has it.
    #[must_use]
    pub fn inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().map(|meta| meta.ino()).unwrap_or(0)
    }
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}
