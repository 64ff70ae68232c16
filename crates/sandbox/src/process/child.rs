//! A child process: signals, its terminal's size, its exit.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use async_trait::async_trait;
use coracle_task::ErrorKind;
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::streams::Terminal;
use crate::ExitStatus;
use crate::Process;
use crate::Result;
use crate::SandboxError;

/// A child that nobody else waits for.
pub(crate) struct Child {
    pid: i32,
    pidfd: Arc<AsyncFd<OwnedFd>>,
    terminal: Option<Terminal>,
}

impl Child {
    pub(crate) fn new(pid: i32, pidfd: OwnedFd, terminal: Option<Terminal>) -> io::Result<Self> {
        let pidfd = coracle_descriptor::watch(pidfd, Interest::READABLE)?;
        Ok(Self {
            pid,
            pidfd: Arc::new(pidfd),
            terminal,
        })
    }

    /// Whether it has not been waited for.
    pub(super) fn is_there(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), look).is_ok()
    }

    /// Whether it has ended, waited for or not.
    pub(super) fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), look),
            Ok(None)
        )
    }

    /// Resolves when it has ended, and after `before_reaping`. The process id can't be another
    /// process' before that.
    pub(crate) fn exit(
        &self,
        before_reaping: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ExitStatus> + Send + 'static {
        let pidfd = self.pidfd.clone();
        async move {
            // Readable once and for ever. It fails only with the event loop.
            let _ = pidfd.readable().await;
            before_reaping.await;
            loop {
                let waited =
                    rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
                match waited {
                    Err(Errno::INTR) => {}
                    Ok(Some(status)) => {
                        let signal = status.terminating_signal();
                        let code = match (status.exit_status(), signal) {
                            (Some(code), _) => code,
                            (None, Some(signal)) => 128 + signal,
                            (None, None) => 255,
                        };
                        return ExitStatus { code, signal };
                    }
                    // Somebody else took it, which nobody should.
                    Ok(None) | Err(_) => {
                        return ExitStatus {
                            code: 255,
                            signal: None,
                        };
                    }
                }
            }
        }
    }
}

#[async_trait]
impl Process for Child {
    fn pid(&self) -> i32 {
        self.pid
    }

    async fn kill(&self, signal: i32) -> Result<()> {
        let signal = parse_signal(signal)?;
        match rustix::process::pidfd_send_signal(self.pidfd.get_ref(), signal) {
            Ok(()) => Ok(()),
            Err(Errno::SRCH) => Err(SandboxError::new(
                ErrorKind::NotFound,
                "the process has ended",
            )),
            Err(error) => Err(SandboxError::internal(format!(
                "cannot send the signal: {error}"
            ))),
        }
    }

    async fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        let terminal = self
            .terminal
            .as_ref()
            .ok_or_else(|| SandboxError::state("it has no terminal"))?;
        terminal
            .resize(rows, cols)
            .map_err(|error| SandboxError::internal(format!("cannot resize: {error}")))
    }
}

/// The signal of that number.
pub(crate) fn parse_signal(signal: i32) -> Result<Signal> {
    match Signal::from_named_raw(signal) {
        Some(signal) => Ok(signal),
        // SAFETY: what libraries reserve real-time signals for is within their own process, and
        // this one is only sent to others.
        None if (32..=64).contains(&signal) => Ok(unsafe { Signal::from_raw_unchecked(signal) }),
        None => {
            let message = format!("there is no signal {signal}");
            Err(SandboxError::new(ErrorKind::InvalidArgument, message))
        }
    }
}
