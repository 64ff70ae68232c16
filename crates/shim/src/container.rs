//! The container: its init process from start to exit record. Execs are in `execs`.
//!
//! The init's [`Phase`] is the container's; `paused` is a mark on `Running`. It becomes
//! `Stopped` only when the output is in the log, the exit record is written and the sandbox is
//! deleted, so whoever waited for that finds everything done.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use coracle_log::LogWriter;
use coracle_sandbox::Files;
use coracle_sandbox::Sandbox;
use coracle_sandbox::SandboxError;
use coracle_sandbox::Streams;
use coracle_task::ErrorKind;
use coracle_task::Event;
use coracle_task::Exit;
use coracle_task::Started;
use coracle_task::State;
use coracle_task::Status;
use coracle_task::TaskConfig;
use coracle_task::TaskError;
use tokio::sync::mpsc;

use crate::events::Subscribers;
use crate::execs::Execs;
use crate::output::Log;
use crate::ports;
use crate::proc::Ending;
use crate::proc::Phase;
use crate::proc::Proc;
use crate::record;
use crate::sockets;

/// A container and all that belongs to it.
pub(crate) struct Container {
    pub(crate) config: TaskConfig,
    pub(crate) sandbox: Arc<dyn Sandbox>,
    /// The init process.
    pub(crate) init: Arc<Proc>,
    pub(crate) execs: Execs,
    pub(crate) subscribers: Subscribers,
    marks: Mutex<Marks>,
    /// Whether the sandbox was opened for its files.
    open: tokio::sync::Mutex<bool>,
    /// Held while the container is frozen or thawed.
    freezing: tokio::sync::Mutex<()>,
    /// The sockets of published ports, until it runs.
    listeners: Mutex<Vec<OwnedFd>>,
}

#[derive(Default)]
struct Marks {
    started: Option<Started>,
    paused: bool,
    oom_killed: bool,
    /// Its first process has ended, though nobody was told yet: what it ran in is being removed.
    ended: bool,
    recorded: bool,
}

impl Container {
    pub(crate) fn new(
        config: TaskConfig,
        sandbox: Arc<dyn Sandbox>,
        listeners: Vec<OwnedFd>,
    ) -> Self {
        Self {
            init: Arc::new(Proc::new(config.terminal, config.stdin_once)),
            execs: Execs::default(),
            subscribers: Subscribers::default(),
            marks: Mutex::default(),
            open: tokio::sync::Mutex::default(),
            freezing: tokio::sync::Mutex::default(),
            listeners: Mutex::new(listeners),
            config,
            sandbox,
        }
    }

    /// Creates the sandbox and starts the init process.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<Started, TaskError> {
        if *self.open.lock().await {
            let message = format!("container {} is open for its files only", self.config.id);
            return Err(TaskError::shim(ErrorKind::InvalidState, message));
        }
        self.init.claim_start()?;
        match self.launch().await {
            Ok((started, log, ending)) => {
                self.marks().started = Some(started);
                self.subscribers.publish(&Event::Started(started));
                tokio::spawn(self.clone().supervise(log, ending));
                Ok(started)
            }
            Err(error) => {
                sockets::remove(&self.config.published);
                let exit = self.init.fail(&error);
                self.settle(exit).await;
                Err(TaskError::shim(error.kind, error.message))
            }
        }
    }

    /// Makes what its files need; without effect once that is done.
    pub(crate) async fn open(&self) -> Result<(), TaskError> {
        let mut open = self.open.lock().await;
        if *open {
            return Ok(());
        }
        if !matches!(self.init.phase(), Phase::Created) {
            let message = format!("container {} was started already", self.config.id);
            return Err(TaskError::shim(ErrorKind::InvalidState, message));
        }
        if let Err(error) = self.sandbox.open().await {
            if let Err(error) = self.sandbox.delete().await {
                crate::complain(&error);
            }
            return Err(refused(error));
        }
        *open = true;
        Ok(())
    }

    /// The container's files, where the sandbox has to be asked for them.
    pub(crate) fn files(&self) -> Result<&dyn Files, TaskError> {
        self.sandbox.files().ok_or_else(|| {
            let message = "the files of this container are reached by the host";
            TaskError::shim(ErrorKind::Unsupported, message)
        })
    }

    /// Unmakes what [`Self::open`] made.
    pub(crate) async fn close(&self) {
        let mut open = self.open.lock().await;
        if std::mem::take(&mut *open)
            && let Err(error) = self.sandbox.delete().await
        {
            crate::complain(&error);
        }
    }

    async fn launch(&self) -> Result<(Started, Arc<Log>, Ending), SandboxError> {
        let log = LogWriter::open(&self.config.log)
            .map_err(|error| SandboxError::internal(error.to_string()))?;
        let log = Arc::new(Log::new(log));
        let streams = Streams {
            stdin: self.config.open_stdin,
            output: true,
        };
        self.sandbox.create(streams).await?;
        let launched = self.sandbox.start().await?;
        let (started, ending) = self.init.begin(launched, Some(&log)).await;
        Ok((started, log, ending))
    }

    /// Sees the running container through to its end.
    async fn supervise(self: Arc<Self>, log: Arc<Log>, ending: Ending) {
        let listeners = std::mem::take(&mut *lock(&self.listeners));
        let mut listeners: Vec<_> = listeners.into_iter().map(Some).collect();
        let sockets = sockets::serve(&self.config.published, &mut listeners, &self.sandbox);
        let proxies = ports::serve(&self.config.ports, listeners);
        let mut exit = {
            let ended = ending.wait();
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    exit = &mut ended => break exit,
                    () = self.sandbox.oom() => self.note_oom(),
                }
            }
        };
        drop(proxies);
        sockets.end().await;
        log.finish();
        self.init.stdin.end();
        self.init.fanout.end();
        if self.sandbox.oom_killed().await && !self.marks().oom_killed {
            self.note_oom();
        }
        exit.oom_killed = self.marks().oom_killed;
        self.settle(exit).await;
    }

    fn note_oom(&self) {
        self.marks().oom_killed = true;
        self.subscribers.publish(&Event::Oom);
    }

    /// Writes the exit record, removes the sandbox, and answers those who wait.
    async fn settle(&self, exit: Exit) {
        self.marks().ended = true;
        lock(&self.listeners).clear();
        let (path, durable) = (self.config.exit_file.clone(), self.config.durable);
        let written = {
            let exit = exit.clone();
            tokio::task::spawn_blocking(move || record::write(&path, &exit, durable))
        };
        let (written, deleted) = tokio::join!(written, self.sandbox.delete());
        match written {
            Ok(Ok(())) => self.marks().recorded = true,
            Ok(Err(error)) => crate::complain(&error),
            Err(error) => crate::complain(&error),
        }
        if let Err(error) = deleted {
            crate::complain(&error);
        }
        self.marks().paused = false;
        self.execs.abandon();
        self.init.settle(exit.clone());
        self.subscribers.publish(&Event::Exited(exit));
    }

    /// Whether the exit record is on disk.
    pub(crate) fn is_recorded(&self) -> bool {
        self.marks().recorded
    }

    pub(crate) fn state(&self) -> State {
        let phase = self.init.phase();
        let marks = self.marks();
        State {
            status: match phase.status() {
                Status::Running if marks.paused => Status::Paused,
                status => status,
            },
            pid: phase.started().map_or(0, |started| started.pid),
            started_at: marks.started.map(|started| started.started_at),
            exit: phase.exit().cloned(),
            oom_killed: marks.oom_killed,
            execs: self.execs.states(),
        }
    }

    /// The state, and all that happens from now on.
    pub(crate) fn subscribe(&self) -> (State, mpsc::Receiver<Event>) {
        (self.state(), self.subscribers.subscribe())
    }

    /// Refuses what needs a running container.
    pub(crate) fn check_running(&self) -> Result<(), TaskError> {
        let what = match self.init.phase() {
            Phase::Running(..) if !self.marks().ended => return Ok(()),
            Phase::Created | Phase::Starting => "not started yet",
            Phase::Running(..) | Phase::Stopped(_) => "not running",
        };
        let message = format!("container {} is {what}", self.config.id);
        Err(TaskError::shim(ErrorKind::InvalidState, message))
    }

    /// Why something that needs a running container failed: because it ended meanwhile, if it did.
    pub(crate) fn refused(&self, error: SandboxError) -> TaskError {
        self.check_running().err().unwrap_or_else(|| refused(error))
    }

    /// Refuses what needs a container that isn't frozen.
    pub(crate) fn check_thawed(&self) -> Result<(), TaskError> {
        self.check_running()?;
        match self.marks().paused {
            false => Ok(()),
            true => {
                let message = format!(
                    "container {} is paused, unpause the container before exec",
                    self.config.id
                );
                Err(TaskError::shim(ErrorKind::InvalidState, message))
            }
        }
    }

    pub(crate) async fn pause(&self) -> Result<(), TaskError> {
        let _freezing = self.freezing.lock().await;
        self.check_running()?;
        if self.marks().paused {
            let message = format!("container {} is already paused", self.config.id);
            return Err(TaskError::shim(ErrorKind::InvalidState, message));
        }
        let done = self.sandbox.pause().await;
        done.map_err(|error| self.refused(error))?;
        self.marks().paused = true;
        self.subscribers.publish(&Event::Paused);
        Ok(())
    }

    pub(crate) async fn resume(&self) -> Result<(), TaskError> {
        let _freezing = self.freezing.lock().await;
        self.check_running()?;
        if !self.marks().paused {
            let message = format!("container {} is not paused", self.config.id);
            return Err(TaskError::shim(ErrorKind::InvalidState, message));
        }
        let done = self.sandbox.resume().await;
        done.map_err(|error| self.refused(error))?;
        self.marks().paused = false;
        self.subscribers.publish(&Event::Resumed);
        Ok(())
    }

    /// The process that a target names.
    pub(crate) fn target(&self, target: Option<&str>) -> Result<Arc<Proc>, TaskError> {
        match target {
            None => Ok(self.init.clone()),
            Some(exec_id) => self.execs.get(exec_id),
        }
    }

    pub(crate) async fn kill(
        &self,
        target: Option<&str>,
        signal: i32,
        all: bool,
    ) -> Result<(), TaskError> {
        if !(1..=64).contains(&signal) {
            let message = format!("there is no signal {signal}");
            return Err(TaskError::shim(ErrorKind::InvalidArgument, message));
        }
        let process = self.target(target)?.running()?;
        if all {
            self.sandbox.kill_all(signal).await
        } else {
            process.kill(signal).await
        }
        .map_err(refused)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        lock(&self.marks)
    }
}

/// What the sandbox refuses, as an answer.
pub(crate) fn refused(error: SandboxError) -> TaskError {
    TaskError::shim(error.kind, error.message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
