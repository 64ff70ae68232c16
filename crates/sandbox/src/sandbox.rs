//! The seam between a shim and a way of isolating a container.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use coracle_task::ExecConfig;
use coracle_task::MachineInterface;
use coracle_task::ProcessInfo;
use coracle_task::Stats;
use coracle_task::files::Change;
use coracle_task::files::ExtractOptions;
use coracle_task::files::PathStat;
use oci_spec::runtime::LinuxResources;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use crate::Result;
use crate::SandboxError;

/// One container's isolation: namespaces and cgroups of this host, or a virtual machine.
///
/// A sandbox is made from a [`TaskConfig`](coracle_task::TaskConfig) by its own constructor,
/// which touches nothing; [`Self::create`], then [`Self::start`] are called once each, and
/// [`Self::delete`] at the end, whatever happened. In between the calls come in any order, also
/// while others are under way; each states when it is refused.
///
/// Dropping the future of a call stops the call, and may leave it half done; calling
/// [`Self::delete`] cleans up after that too.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Makes everything that is needed up to the execution of the container's command: limits,
    /// root file system, namespaces or the machine. After a failure there is nothing left but
    /// what `delete` removes.
    ///
    /// Returns the init process' id on this host, or 0 if it has none.
    async fn create(&self, streams: Streams) -> Result<i32>;

    /// Executes the command. Returns once it is being executed.
    ///
    /// The kind of an error tells whether the command was not found or not executable.
    async fn start(&self) -> Result<Launched>;

    /// Starts a further process in the running container, with the container's limits, its
    /// namespaces and its system call filter, as `config` says otherwise.
    /// Refused ([`ErrorKind::InvalidState`](coracle_task::ErrorKind::InvalidState)) unless the
    /// container runs, and while it is frozen.
    async fn exec(&self, config: &ExecConfig, streams: Streams) -> Result<Launched>;

    /// Sends `signal` (1–64) to every process of the container.
    async fn kill_all(&self, signal: i32) -> Result<()>;

    /// Freezes every process; returns when all are. Nothing is sent to them.
    async fn pause(&self) -> Result<()>;

    /// Thaws them. No error if they aren't frozen.
    async fn resume(&self) -> Result<()>;

    /// Changes the limits that are set in `resources`; others stay. All or, with an error,
    /// perhaps some are changed.
    async fn update(&self, resources: &LinuxResources) -> Result<()>;

    /// Reads the resource use of all processes together.
    async fn stats(&self) -> Result<Stats>;

    /// This host's ids of all of the container's processes, ordered;
    /// [`ErrorKind::Unsupported`](coracle_task::ErrorKind::Unsupported) if they have none.
    async fn pids(&self) -> Result<Vec<i32>>;

    /// Makes the interfaces of a running machine these, and renews what was copied into it.
    /// [`ErrorKind::Unsupported`](coracle_task::ErrorKind::Unsupported) without a machine.
    async fn set_interfaces(&self, interfaces: &[MachineInterface]) -> Result<()> {
        let _ = interfaces;
        Err(SandboxError::new(
            coracle_task::ErrorKind::Unsupported,
            "the interfaces of this container are the host's to change",
        ))
    }

    /// The container's processes, where they are not this host's;
    /// [`ErrorKind::Unsupported`](coracle_task::ErrorKind::Unsupported) where they are.
    async fn processes(&self) -> Result<Vec<ProcessInfo>> {
        Err(SandboxError::new(
            coracle_task::ErrorKind::Unsupported,
            "the processes of this container are the host's",
        ))
    }

    /// Waits until a process is killed for want of memory since the last call returned (or since
    /// the creation). Never returns if that can't be known.
    async fn oom(&self);

    /// Whether any process was ever killed for want of memory. Exact once the init process
    /// ended; to be asked before `delete`.
    async fn oom_killed(&self) -> bool;

    /// Makes what [`Self::files`] needs, instead of [`Self::create`] and without a process.
    /// [`ErrorKind::Unsupported`](coracle_task::ErrorKind::Unsupported) where this host reaches the
    /// files by itself.
    async fn open(&self) -> Result<()> {
        Err(SandboxError::new(
            coracle_task::ErrorKind::Unsupported,
            "the files of this container are reached by the host",
        ))
    }

    /// The container's files, where this host can't reach them by itself.
    fn files(&self) -> Option<&dyn Files> {
        None
    }

    /// Connects to a unix stream socket that the running container serves. Both ends of the connection
    /// can be closed by themselves: the container's is closed with its last process.
    ///
    /// [`ErrorKind::NotFound`](coracle_task::ErrorKind::NotFound) if there is no such file.
    async fn dial(&self, path: &str) -> Result<(Output, Input)>;

    /// Ends what still runs, and removes all that `create` made. Can be repeated.
    async fn delete(&self) -> Result<()>;

    /// After [`Self::delete`]: waits until nobody needs what is shared with other containers, and ends
    /// that. To be called before the process ends.
    async fn released(&self) -> Result<()> {
        Ok(())
    }
}

/// The files of a container that runs, as its processes see them, or that is open. Paths are
/// absolute, and are resolved in the container's root.
#[async_trait]
pub trait Files: Send + Sync {
    /// What a path is. [`ErrorKind::NotFound`](coracle_task::ErrorKind::NotFound) if nothing is
    /// there.
    async fn stat(&self, path: &str) -> Result<PathStat>;

    /// A path as a tar. What goes wrong midway is an error of the output.
    async fn read(&self, path: &str) -> Result<(PathStat, Output)>;

    /// Extracts a tar into a directory; returns when it is extracted. An error of `tar` ends it.
    async fn write(&self, path: &str, options: ExtractOptions, tar: Output) -> Result<()>;

    /// The whole root file system as a tar, without what is mounted in it.
    async fn export(&self) -> Result<Output>;

    /// What differs from the image.
    async fn changes(&self) -> Result<Vec<Change>>;

    /// What differs from the image, as a layer's tar.
    async fn diff(&self) -> Result<Output>;
}

/// Which standard streams a process is to have. Without it, a stream is `/dev/null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// A stdin that can be written to. A terminal always has one.
    pub stdin: bool,
    /// Output that can be read.
    pub output: bool,
}

/// A process that was started. Dropping this doesn't end it.
pub struct Launched {
    /// The means to influence it.
    pub process: Arc<dyn Process>,
    /// Its input, if asked for. Closing it (dropping) is what the process sees as the end of
    /// input, except on a terminal.
    pub stdin: Option<Input>,
    /// Its output, or a terminal's all, if asked for. It ends when no process has it open.
    pub stdout: Option<Output>,
    /// Its errors, if asked for and not on a terminal.
    pub stderr: Option<Output>,
    /// Resolves when the process has ended and nothing of it is left; of the init process, once
    /// all other processes of the container were killed too. Must be polled to its end.
    pub exit: ExitFuture,
    /// What could not be done exactly as asked, for the shim's log.
    pub warnings: Vec<String>,
}

/// What a process reads.
pub type Input = Box<dyn AsyncWrite + Send + Sync + Unpin>;

/// What a process writes.
pub type Output = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// Resolves to how a process ended.
pub type ExitFuture = Pin<Box<dyn Future<Output = ExitStatus> + Send>>;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// Its exit status, or 128 + signal.
    pub code: i32,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
}

/// One process in a sandbox.
#[async_trait]
pub trait Process: Send + Sync {
    /// Its id on this host, or 0 if it has none.
    fn pid(&self) -> i32;

    /// Sends a signal (1–64). [`ErrorKind::NotFound`](coracle_task::ErrorKind::NotFound) if it
    /// has ended; never hits another process.
    async fn kill(&self, signal: i32) -> Result<()>;

    /// Sets its terminal's size. Refused
    /// ([`ErrorKind::InvalidState`](coracle_task::ErrorKind::InvalidState)) without a terminal.
    async fn resize(&self, rows: u16, cols: u16) -> Result<()>;
}
