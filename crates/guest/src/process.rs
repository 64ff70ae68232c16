//! Containers and their processes: the verbs of a sandbox, with the container's id.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use coracle_seccomp::Machine;
use coracle_task::{ExecConfig, NetworkStats, Stats, TaskConfig};
use oci_spec::runtime::{LinuxResources, Spec};
use tokio::sync::oneshot;

use crate::agent::{Agent, unexpected};
use crate::error::{Error, Failure, Result};
use crate::message::{Json, Reply, Request, Stdio};
use crate::mux::{ChannelReader, ChannelWriter, Direction};
use crate::types::Filter;

/// Which standard streams a process is to have. Without it, a stream is `/dev/null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// A stdin that can be written to.
    pub stdin: bool,
    /// Output that can be read.
    pub output: bool,
}

/// A container that is made and waits for its start. Dropping it changes nothing in the guest but
/// that its streams end.
#[derive(Debug)]
pub struct Created {
    /// The init process' id in the guest.
    pub pid: i32,
    process: Process,
    ends: Ends,
}

/// A process that was started. Dropping this doesn't end it.
#[derive(Debug)]
pub struct Started {
    /// Its id in the guest.
    pub pid: i32,
    /// The means to influence it.
    pub process: Process,
    /// Its input. Dropping it is the end of the input, except on a terminal.
    pub stdin: Option<ChannelWriter>,
    /// Its output, or a terminal's all.
    pub stdout: Option<ChannelReader>,
    /// Its errors, if not on a terminal.
    pub stderr: Option<ChannelReader>,
    /// How it ends.
    pub exit: Exit,
    /// What could not be done exactly as asked.
    pub warnings: Vec<String>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exited {
    /// Its exit status, or 128 + signal.
    pub code: i32,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// Whether any process of its container was ever killed for want of memory, until then.
    pub oom_killed: bool,
}

/// Resolves when the process has ended and nothing of it is left; of a container's first process,
/// once all others were killed too. [`Error::Gone`] when the connection is lost.
#[derive(Debug)]
pub struct Exit {
    receiver: oneshot::Receiver<Exited>,
    agent: Agent,
}

impl Future for Exit {
    type Output = Result<Exited>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let exited = ready!(Pin::new(&mut self.receiver).poll(cx));
        Poll::Ready(exited.map_err(|_| self.agent.gone()))
    }
}

/// One process of a container in the guest.
#[derive(Clone, Debug)]
pub struct Process {
    agent: Agent,
    container: String,
    exec: Option<String>,
}

impl Process {
    /// Sends a signal (1–64). Of the kind `NotFound` if it has ended.
    pub async fn kill(&self, signal: i32) -> Result<()> {
        let request = Request::Signal {
            id: self.container.clone(),
            exec: self.exec.clone(),
            signal,
        };
        self.agent.order(&request).await
    }

    /// Sets its terminal's size.
    pub async fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        let request = Request::Resize {
            id: self.container.clone(),
            exec: self.exec.clone(),
            rows,
            cols,
        };
        self.agent.order(&request).await
    }
}

/// The host's ends of a process' streams.
#[derive(Debug, Default)]
struct Ends {
    stdin: Option<ChannelWriter>,
    stdout: Option<ChannelReader>,
    stderr: Option<ChannelReader>,
}

impl Created {
    /// Executes the command. Returns once it is being executed.
    pub async fn start(self) -> Result<Started> {
        let agent = self.process.agent.clone();
        let id = self.process.container.clone();
        agent
            .launch(Request::Start { id }, self.process, self.ends)
            .await
    }
}

/// A configuration in parts.
struct Parts {
    config: Json<TaskConfig>,
    spec: Json<Spec>,
    filter: Option<Filter>,
}

impl Parts {
    /// The specification on its own, as the guest passes it on as it is; the filter compiled.
    fn of(config: &TaskConfig, machine: Option<Machine>) -> Result<Self> {
        let none = serde_json::from_str(r#"{"ociVersion":""}"#);
        let none = none.map_err(|error| Error::Encode(error.to_string()))?;
        let mut config = config.clone();
        let mut spec = std::mem::replace(&mut config.spec, none);
        // As the guest's sandbox will have it.
        if let Some(process) = spec.process_mut() {
            process.set_terminal(Some(config.terminal));
        }
        let mut filter = None;
        if let Some(linux) = spec.linux_mut()
            && let Some(profile) = linux.seccomp()
        {
            let compiled = match machine {
                Some(machine) => coracle_seccomp::compile_for(profile, machine),
                None => coracle_seccomp::compile(profile),
            };
            let program =
                compiled.map_err(|error| Error::Encode(format!("linux.seccomp: {error}")))?;
            filter = Some(Filter {
                flags: program.flags,
                words: program.words(),
            });
            linux.set_seccomp(None);
        }
        Ok(Self {
            config: Json::new(&config)?,
            spec: Json::new(&spec)?,
            filter,
        })
    }
}

impl Agent {
    /// Makes a container, up to the execution of its command. `config.rootfs` and all other paths of
    /// `config` are the guest's.
    ///
    /// # Errors
    /// As the guest's sandbox has them; [`Self::delete`] removes what is left.
    pub async fn create(&self, id: &str, config: &TaskConfig, streams: Streams) -> Result<Created> {
        let (stdio, ends) = self.streams(streams, config.terminal)?;
        let parts = Parts::of(config, self.0.machine)?;
        let request = Request::Create {
            id: id.into(),
            config: parts.config,
            spec: parts.spec,
            filter: parts.filter,
            stdio,
        };
        match self.call(&request).await? {
            Reply::Pid(pid) => Ok(Created {
                pid,
                process: self.process(id, None),
                ends,
            }),
            reply => Err(unexpected(&reply)),
        }
    }

    /// [`Self::create`] and [`Created::start`] at once.
    pub async fn run(&self, id: &str, config: &TaskConfig, streams: Streams) -> Result<Started> {
        let (stdio, ends) = self.streams(streams, config.terminal)?;
        let parts = Parts::of(config, self.0.machine)?;
        let request = Request::Run {
            id: id.into(),
            config: parts.config,
            spec: parts.spec,
            filter: parts.filter,
            stdio,
        };
        self.launch(request, self.process(id, None), ends).await
    }

    /// Starts a further process in the running container.
    pub async fn exec(&self, id: &str, config: &ExecConfig, streams: Streams) -> Result<Started> {
        let (stdio, ends) = self.streams(streams, config.terminal)?;
        let request = Request::Exec {
            id: id.into(),
            config: Json::new(config)?,
            stdio,
        };
        let process = self.process(id, Some(config.exec_id.clone()));
        self.launch(request, process, ends).await
    }

    /// Sends `signal` to every process of the container.
    pub async fn kill_all(&self, id: &str, signal: i32) -> Result<()> {
        let id = id.into();
        self.order(&Request::KillAll { id, signal }).await
    }

    /// Freezes every process; returns when all are.
    pub async fn pause(&self, id: &str) -> Result<()> {
        self.order(&Request::Pause { id: id.into() }).await
    }

    /// Thaws them.
    pub async fn resume(&self, id: &str) -> Result<()> {
        self.order(&Request::Resume { id: id.into() }).await
    }

    /// Changes the limits that are set in `resources`.
    pub async fn update(&self, id: &str, resources: &LinuxResources) -> Result<()> {
        let (id, resources) = (id.into(), Json::new(resources)?);
        self.order(&Request::Update { id, resources }).await
    }

    /// What the container's processes use, and the machine's interfaces.
    pub async fn stats(&self, id: &str) -> Result<(Stats, Vec<NetworkStats>)> {
        match self.call(&Request::Stats { id: id.into() }).await? {
            Reply::Stats { stats, interfaces } => {
                let stats = stats.read().map_err(Error::Refused)?;
                Ok((stats, interfaces))
            }
            reply => Err(unexpected(&reply)),
        }
    }

    /// The guest's ids of all of the container's processes, ordered.
    pub async fn pids(&self, id: &str) -> Result<Vec<i32>> {
        match self.call(&Request::Pids { id: id.into() }).await? {
            Reply::Pids(pids) => Ok(pids),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Whether any process of the container was ever killed for want of memory.
    pub async fn oom_killed(&self, id: &str) -> Result<bool> {
        match self.call(&Request::OomKilled { id: id.into() }).await? {
            Reply::Flag(killed) => Ok(killed),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Ends what still runs of the container, and removes all that [`Self::create`] made. Can be
    /// repeated.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.order(&Request::Delete { id: id.into() }).await
    }

    /// A process that was started before.
    #[must_use]
    pub fn process(&self, container: &str, exec: Option<String>) -> Process {
        Process {
            agent: self.clone(),
            container: container.into(),
            exec,
        }
    }

    async fn launch(&self, request: Request, process: Process, ends: Ends) -> Result<Started> {
        let receiver = self.expect_exit((process.container.clone(), process.exec.clone()));
        let exit = Exit {
            receiver,
            agent: self.clone(),
        };
        match self.call(&request).await? {
            Reply::Started { pid, warnings } => Ok(Started {
                pid,
                process,
                stdin: ends.stdin,
                stdout: ends.stdout,
                stderr: ends.stderr,
                exit,
                warnings,
            }),
            reply => Err(unexpected(&reply)),
        }
    }

    fn streams(&self, streams: Streams, terminal: bool) -> Result<(Stdio, Ends)> {
        let (mut stdio, mut ends) = <(Stdio, Ends)>::default();
        if streams.stdin || terminal {
            let channel = self.open_channel(Direction::ToGuest)?;
            stdio.stdin = Some(channel.id());
            ends.stdin = Some(channel.into_split().1);
        }
        let output = || -> Result<_> {
            let channel = self.open_channel(Direction::ToHost)?;
            Ok((Some(channel.id()), Some(channel.into_split().0)))
        };
        if streams.output || terminal {
            (stdio.stdout, ends.stdout) = output()?;
        }
        if streams.output && !terminal {
            (stdio.stderr, ends.stderr) = output()?;
        }
        Ok((stdio, ends))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}
