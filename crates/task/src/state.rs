//! What a shim says of its container.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::ErrorKind;

/// The container was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The init process' id on the host; 0 if the sandbox has no such process (a VM).
    pub pid: i32,
    /// When it was started.
    pub started_at: Timestamp,
}

/// How a process ended. Of the init process this is also the content of
/// [`TaskConfig::exit_file`](crate::TaskConfig::exit_file).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, 0–255: the process' own, or 128 + signal. If it never ran: 127, 126
    /// or 128, see [`ErrorKind::exit_code`].
    pub code: i32,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// Whether a process of the container was killed for want of memory, ever.
    pub oom_killed: bool,
    /// When it was started; `None` if it never ran.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it couldn't be started, or why the shim had to give up on it.
    pub error: Option<String>,
    /// What kind of error, if `error` is set.
    pub error_kind: Option<ErrorKind>,
}

/// Where a container or an exec is in its life.
///
/// ```text
/// Created ── start ──▶ Running ◀── pause, resume ──▶ Paused
///    │                    └──────────── exit ──────────┘
///    └─ failed start ──▶ Stopped ◀───────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Known to the shim, not started.
    Created,
    /// Started and not ended.
    Running,
    /// Frozen.
    Paused,
    /// Ended, output drained, exit record written; or it could not be started.
    Stopped,
}

/// A container, as its shim knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where it is in its life.
    pub status: Status,
    /// The init process' id on the host, 0 if there is none (not started, ended, or in a VM).
    pub pid: i32,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// How it ended, if it did.
    pub exit: Option<Exit>,
    /// Whether a process was killed for want of memory, so far.
    pub oom_killed: bool,
    /// Its execs that weren't deleted, by id.
    pub execs: Vec<ExecState>,
}

/// An exec, as the shim knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecState {
    /// Its id.
    pub exec_id: String,
    /// Where it is in its life. Never paused: that is the container's.
    pub status: Status,
    /// Its process id on the host, 0 if there is none.
    pub pid: i32,
    /// How it ended, if it did.
    pub exit: Option<Exit>,
}

/// Something that happened to the container after a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The init process runs.
    Started(Started),
    /// The init process ended (or couldn't be started); the exit record is written.
    Exited(Exit),
    /// An exec was started.
    ExecStarted {
        /// Which.
        exec_id: String,
        /// Its process id on the host.
        pid: i32,
    },
    /// An exec ended and its output is drained.
    ExecExited {
        /// Which.
        exec_id: String,
        /// How.
        exit: Exit,
    },
    /// A process of the container was killed for want of memory.
    Oom,
    /// The container was frozen.
    Paused,
    /// The container was thawed.
    Resumed,
}
