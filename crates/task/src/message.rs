//! Requests and replies, one per frame, as JSON.

use oci_spec::runtime::LinuxResources;
use serde::Deserialize;
use serde::Serialize;

use crate::ErrorKind;
use crate::Event;
use crate::ExecConfig;
use crate::Exit;
use crate::MachineInterface;
use crate::ProcessInfo;
use crate::Started;
use crate::State;
use crate::Stats;
use crate::files::Change;
use crate::files::ExtractOptions;
use crate::files::PathStat;

/// The version of the protocol. A shim answers no other.
pub const VERSION: u32 = 1;

/// The first frame in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's [`VERSION`].
    pub version: u32,
}

/// Which streams of a process a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachOptions {
    /// Whether the client sends input.
    pub stdin: bool,
    /// Whether it is sent stdout.
    pub stdout: bool,
    /// Whether it is sent stderr.
    pub stderr: bool,
}

/// What a client asks for. A `target` is an exec's id, or `None` for the init process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Creates the sandbox and starts the init process. Answer: [`Reply::Started`].
    Start,
    /// Makes an exec known, without starting it. Answer: [`Reply::Done`].
    Exec(Box<ExecConfig>),
    /// Starts a known exec. Answer: [`Reply::Started`].
    StartExec {
        /// Its id.
        exec_id: String,
    },
    /// Forgets an exec that was never started or has ended. Answer: [`Reply::Done`].
    DeleteExec {
        /// Its id.
        exec_id: String,
    },
    /// Sends a signal. Answer: [`Reply::Done`].
    Kill {
        /// To which process.
        target: Option<String>,
        /// Which signal, 1–64.
        signal: i32,
        /// To all processes of the container instead of the target only.
        all: bool,
    },
    /// Waits for the end of a process. Answer, then: [`Reply::Exit`].
    Wait {
        /// Of which process.
        target: Option<String>,
    },
    /// Asks for the state. Answer: [`Reply::State`], once a start that is under way has succeeded or
    /// failed.
    State,
    /// Freezes the container. Answer: [`Reply::Done`].
    Pause,
    /// Thaws it. Answer: [`Reply::Done`].
    Resume,
    /// Sets a terminal's size. Answer: [`Reply::Done`].
    Resize {
        /// Of which process.
        target: Option<String>,
        /// Lines.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// Closes stdin. Answer: [`Reply::Done`].
    CloseStdin {
        /// Of which process.
        target: Option<String>,
    },
    /// Changes limits of the running container. Answer: [`Reply::Done`].
    Update(Box<LinuxResources>),
    /// Reads the resource use. Answer: [`Reply::Stats`].
    Stats,
    /// Lists the container's processes. Answer: [`Reply::Pids`].
    Pids,
    /// Makes the interfaces of a machine that runs these, and has the guest's copies of files be as
    /// the files are now. Answer: [`Reply::Done`].
    SetInterfaces(Vec<MachineInterface>),
    /// Describes the container's processes, where they are not this host's. Answer:
    /// [`Reply::Processes`].
    Processes,
    /// Turns the connection into the process' streams. Answer: [`Reply::Done`], then
    /// [data frames](crate::frame::Data) in both directions until the process ended and its
    /// output is drained.
    Attach {
        /// Of which process.
        target: Option<String>,
        /// Which streams.
        options: AttachOptions,
    },
    /// Makes what is needed to reach the container's files, without a process; without effect once it
    /// is made. It can't be started then. Answer: [`Reply::Done`].
    Open,
    /// Asks what a path in the container is. Answer: [`Reply::PathStat`].
    StatPath {
        /// Which, absolute.
        path: String,
    },
    /// Reads a path as a tar. Answer: [`Reply::PathStat`], then [data frames](crate::frame::Data):
    /// stdout is the tar, stderr what went wrong midway.
    ReadPath {
        /// Which, absolute.
        path: String,
    },
    /// Extracts a tar. Answer: [`Reply::Done`] when it can begin; the client sends the tar as stdin
    /// and closes that; then [`Reply::Done`] when it is extracted.
    WritePath {
        /// Into which directory, absolute.
        path: String,
        /// How.
        options: ExtractOptions,
    },
    /// Reads the whole root file system as a tar. Answer: [`Reply::Done`], then as
    /// [`Self::ReadPath`].
    Export,
    /// Lists what differs from the image. Answer: [`Reply::Changes`].
    Changes,
    /// Reads what differs from the image as a layer's tar. Answer: [`Reply::Done`], then as
    /// [`Self::ReadPath`].
    Diff,
    /// Turns the connection into a stream of events. Answer: [`Reply::State`] as of now (once a start
    /// that is under way has succeeded or failed), then [`Reply::Event`] for everything after that.
    Events,
    /// Ends the shim; refused while the container runs. Answer: [`Reply::Done`].
    Shutdown,
}

/// What a shim answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// A process was started.
    Started(Started),
    /// A process ended.
    Exit(Exit),
    /// The state.
    State(State),
    /// The resource use.
    Stats(Box<Stats>),
    /// Process ids on the host.
    Pids(Vec<i32>),
    /// Processes that are not this host's.
    Processes(Vec<ProcessInfo>),
    /// What a path is.
    PathStat(PathStat),
    /// What differs from the image.
    Changes(Vec<Change>),
    /// Something happened.
    Event(Event),
    /// It can't be done.
    Error {
        /// What kind of failure.
        kind: ErrorKind,
        /// What happened.
        message: String,
    },
}
