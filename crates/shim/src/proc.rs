//! One process of the container: its init, or an exec.
//!
//! ```text
//! Created ──▶ Starting ──▶ Running ──▶ Stopped
//!                  └──── failed ─────────▲
//! ```

use std::sync::Arc;

use coracle_sandbox::Launched;
use coracle_sandbox::Process;
use coracle_sandbox::SandboxError;
use coracle_task::ErrorKind;
use coracle_task::Exit;
use coracle_task::Started;
use coracle_task::Status;
use coracle_task::Stream;
use coracle_task::TaskError;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fanout::Fanout;
use crate::output::Log;
use crate::output::pump;
use crate::stdin::Stdin;

/// A process, from before its start to after its end.
pub(crate) struct Proc {
    /// Those attached.
    pub(crate) fanout: Fanout,
    /// Its input.
    pub(crate) stdin: Stdin,
    /// Whether the end of a client's input is the end of its own.
    pub(crate) close_with_client: bool,
    terminal: bool,
    phase: watch::Sender<Phase>,
}

/// Where a process is in its life.
#[derive(Clone)]
pub(crate) enum Phase {
    Created,
    Starting,
    Running(Started, Arc<dyn Process>),
    Stopped(Exit),
}

impl Phase {
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Created | Self::Starting => Status::Created,
            Self::Running(..) => Status::Running,
            Self::Stopped(_) => Status::Stopped,
        }
    }

    pub(crate) fn started(&self) -> Option<Started> {
        match self {
            Self::Running(started, _) => Some(*started),
            _ => None,
        }
    }

    pub(crate) fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Stopped(exit) => Some(exit),
            _ => None,
        }
    }
}

/// What is still to be awaited of a process that was started.
pub(crate) struct Ending {
    exit: coracle_sandbox::ExitFuture,
    exited: watch::Sender<bool>,
    pumps: Vec<JoinHandle<()>>,
    started_at: Timestamp,
}

impl Proc {
    pub(crate) fn new(terminal: bool, stdin_once: bool) -> Self {
        Self {
            terminal,
            close_with_client: stdin_once && !terminal,
            fanout: Fanout::default(),
            stdin: Stdin::new(),
            phase: watch::Sender::new(Phase::Created),
        }
    }

    /// Where it is now.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Whether it is being started.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Starting)
    }

    /// Waits, while it is being started, until it runs or has failed to. Who comes meanwhile (an engine
    /// that was killed after it asked for the start, and is back) could make nothing of that state: it
    /// is about to end either way.
    pub(crate) async fn decided(&self) {
        // The sender is ours, so the wait can't fail.
        let _ = self
            .watch()
            .wait_for(|phase| !matches!(phase, Phase::Starting))
            .await;
    }

    /// Closes its input, as the end of a client's input would not on a terminal: there it has no
    /// effect.
    pub(crate) async fn close_stdin(&self) {
        if !self.terminal {
            self.stdin.close().await;
        }
    }

    /// To be told when that changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self) -> Exit {
        let mut phase = self.watch();
        // The sender is ours, so the wait can't fail.
        match phase.wait_for(|phase| phase.exit().is_some()).await {
            Ok(phase) => phase.exit().cloned(),
            Err(_) => None,
        }
        .unwrap_or_else(|| never_ran(&SandboxError::internal("the process is gone")))
    }

    /// The process, if it runs.
    pub(crate) fn running(&self) -> Result<Arc<dyn Process>, TaskError> {
        match self.phase() {
            Phase::Running(_, process) => Ok(process),
            Phase::Created | Phase::Starting => Err(TaskError::shim(
                ErrorKind::InvalidState,
                "the process is not started yet",
            )),
            Phase::Stopped(_) => Err(TaskError::shim(
                ErrorKind::NotFound,
                "the process has ended",
            )),
        }
    }

    /// Claims the right to start it, which there is once.
    pub(crate) fn claim_start(&self) -> Result<(), TaskError> {
        let claimed = self.phase.send_if_modified(|phase| {
            let created = matches!(phase, Phase::Created);
            if created {
                *phase = Phase::Starting;
            }
            created
        });
        match claimed {
            true => Ok(()),
            false => Err(TaskError::shim(
                ErrorKind::InvalidState,
                "it was started already",
            )),
        }
    }

    /// It runs: its output is carried from here on.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        launched: Launched,
        log: Option<&Arc<Log>>,
    ) -> (Started, Ending) {
        for warning in &launched.warnings {
            crate::complain(&warning);
        }
        let started = Started {
            pid: launched.process.pid(),
            started_at: Timestamp::now(),
        };
        let exited = watch::Sender::new(false);
        let outputs = [
            (Stream::Stdout, launched.stdout),
            (Stream::Stderr, launched.stderr),
        ];
        let pumps = outputs
            .into_iter()
            .filter_map(|(stream, output)| {
                let (proc, log) = (self.clone(), log.cloned());
                Some(tokio::spawn(pump(
                    stream,
                    output?,
                    proc,
                    log,
                    exited.subscribe(),
                )))
            })
            .collect();
        self.stdin.begin(launched.stdin).await;
        self.phase
            .send_replace(Phase::Running(started, launched.process));
        let ending = Ending {
            exit: launched.exit,
            exited,
            pumps,
            started_at: started.started_at,
        };
        (started, ending)
    }

    /// It is over, and all about it is settled.
    pub(crate) fn settle(&self, exit: Exit) {
        self.phase.send_replace(Phase::Stopped(exit));
    }

    /// It could not be started.
    pub(crate) fn fail(&self, error: &SandboxError) -> Exit {
        self.stdin.end();
        self.fanout.end();
        never_ran(error)
    }
}

impl Ending {
    /// Waits until the process ended and its output is carried.
    pub(crate) async fn wait(self) -> Exit {
        let status = self.exit.await;
        let finished_at = Timestamp::now();
        self.exited.send_replace(true);
        for pump in self.pumps {
            if let Err(error) = pump.await {
                crate::complain(&error);
            }
        }
        Exit {
            code: status.code,
            signal: status.signal,
            oom_killed: false,
            started_at: Some(self.started_at),
            finished_at,
            error: None,
            error_kind: None,
        }
    }
}

fn never_ran(error: &SandboxError) -> Exit {
    Exit {
        code: error.kind.exit_code(),
        signal: None,
        oom_killed: false,
        started_at: None,
        finished_at: Timestamp::now(),
        error: Some(error.message.clone()),
        error_kind: Some(error.kind),
    }
}
