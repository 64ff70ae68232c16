//! Standard output, and standard error for what is no data.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;

use crate::error::{Error, Result};

/// A write of so many bytes to a pipe that is ready does not block (pipe(7), `PIPE_BUF`).
const READY_CHUNK: usize = 4096;

/// Writes data to standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Error::output)
}

/// Somebody else's words, without what a terminal would take for orders.
pub(crate) fn harmless(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "")
}

/// Tells the user something that is no data.
pub(crate) fn warn(text: impl std::fmt::Display) {
    // Nobody can be told that standard error is gone.
    let _ = writeln!(io::stderr(), "{text}");
}

/// One of the two, for streams of bytes: waiting for a slow reader does not hold up anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

impl Output {
    /// Whether somebody looks at it.
    pub(crate) fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        }
    }

    /// Writes all of it.
    pub(crate) async fn write(self, bytes: &Bytes) -> Result<()> {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let ready = self.is_ready();
            let chunk = match ready {
                Ready::Always => rest.split_to(rest.len()),
                Ready::Now => rest.split_to(rest.len().min(READY_CHUNK)),
                Ready::NotNow => {
                    let chunk = rest.split_to(rest.len());
                    let written = tokio::task::spawn_blocking(move || self.write_now(&chunk));
                    match written.await {
                        Ok(result) => result.map_err(Error::output)?,
                        Err(error) => return Err(Error::usage(error.to_string())),
                    }
                    continue;
                }
            };
            self.write_now(&chunk).map_err(Error::output)?;
        }
        Ok(())
    }

    fn write_now(self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.with_fd(|fd| rustix::io::write(fd, bytes)) {
                Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                // Somebody else made it non-blocking.
                Err(rustix::io::Errno::AGAIN) => self.with_fd(|fd| wait(fd, None)).map(drop)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn is_ready(self) -> Ready {
        self.with_fd(|fd| {
            let kind = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
            if matches!(kind, Ok(FileType::RegularFile)) {
                return Ready::Always;
            }
            match wait(fd, Some(Timespec::default())) {
                Ok(0) => Ready::NotNow,
                _ => Ready::Now,
            }
        })
    }

    fn with_fd<T>(self, use_it: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        match self {
            Self::Stdout => use_it(io::stdout().as_fd()),
            Self::Stderr => use_it(io::stderr().as_fd()),
        }
    }
}

enum Ready {
    Always,
    Now,
    NotNow,
}

fn wait(fd: BorrowedFd<'_>, limit: Option<Timespec>) -> io::Result<usize> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    Ok(poll(&mut fds, limit.as_ref())?)
}
