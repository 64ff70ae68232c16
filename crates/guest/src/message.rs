//! Requests and replies.

use std::marker::PhantomData;

use coracle_task::{ErrorKind, ExecConfig, NetworkStats, Stats, TaskConfig};
use oci_spec::runtime::{LinuxResources, Spec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Failure, Result};
use crate::types::*;

/// A document that travels as JSON within a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Json<T> {
    text: String,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Json<T> {
    /// Writes it.
    ///
    /// # Errors
    /// If it has no JSON form.
    pub fn new(document: &T) -> Result<Self> {
        let text =
            serde_json::to_string(document).map_err(|error| Error::Encode(error.to_string()))?;
        Ok(Self {
            text,
            kind: PhantomData,
        })
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it isn't one.
    pub fn read(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text).map_err(|error| {
            Failure::new(
                ErrorKind::InvalidArgument,
                format!("malformed document: {error}"),
            )
        })
    }
}

/// The channels that are a process' standard streams; `/dev/null` where there is none. A terminal's
/// output is `stdout`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// From the host.
    pub stdin: Option<u32>,
    /// To the host.
    pub stdout: Option<u32>,
    /// To the host.
    pub stderr: Option<u32>,
}

/// What the host asks for. The methods of [`Agent`](crate::Agent) say what each does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Request {
    /// Answer: done.
    Setup {
        setup: Box<Setup>,
        /// One for each share.
        channels: Vec<u32>,
    },
    /// Answer: done.
    Prepare,
    /// Answer: pid.
    Create {
        id: String,
        /// Without the specification.
        config: Json<TaskConfig>,
        /// Without the filter.
        spec: Json<Spec>,
        filter: Option<Filter>,
        stdio: Stdio,
    },
    /// Answer: started.
    Start { id: String },
    /// Create and start. Answer: started.
    Run {
        id: String,
        /// Without the specification.
        config: Json<TaskConfig>,
        /// Without the filter.
        spec: Json<Spec>,
        filter: Option<Filter>,
        stdio: Stdio,
    },
    /// Answer: started.
    Exec {
        id: String,
        config: Json<ExecConfig>,
        stdio: Stdio,
    },
    /// Answer: done.
    Signal {
        id: String,
        exec: Option<String>,
        signal: i32,
    },
    /// Answer: done.
    KillAll { id: String, signal: i32 },
    /// Answer: done.
    Resize {
        id: String,
        exec: Option<String>,
        rows: u16,
        cols: u16,
    },
    /// Answer: done.
    Pause { id: String },
    /// Answer: done.
    Resume { id: String },
    /// Answer: done.
    Update {
        id: String,
        resources: Json<LinuxResources>,
    },
    /// Answer: stats.
    Stats { id: String },
    /// Answer: pids.
    Pids { id: String },
    /// Answer: flag.
    OomKilled { id: String },
    /// Answer: done.
    Delete { id: String },

    /// Answer: stat.
    StatPath { id: String, path: String },
    /// Answer: stat; the tar comes over the channel.
    ReadPath {
        id: String,
        path: String,
        channel: u32,
    },
    /// Answer, once all of the channel's tar is unpacked: done.
    WritePath {
        id: String,
        path: String,
        options: WriteOptions,
        channel: u32,
    },
    /// Answer: done; the changes come over the channel, each postcard with its length (4 bytes)
    /// before it.
    Changes { id: String, channel: u32 },
    /// Answer: done; a layer's tar comes over the channel.
    Diff { id: String, channel: u32 },
    /// Answer: done; the whole root's tar comes over the channel.
    Export { id: String, channel: u32 },

    /// Answer: done.
    AddRoot(Root),
    /// Answer: done.
    RemoveRoot { id: String },
    /// Answer: done.
    Mount(Mount),
    /// Answer: done.
    Unmount { target: String },
    /// Answer: done.
    SettleDisk { serial: String },
    /// Answer: done.
    Share { share: Share, channel: u32 },
    /// Answer: done.
    MakeDir {
        path: String,
        mode: u32,
        parents: bool,
    },
    /// Answer: done.
    WriteFile(File),
    /// Answer: bytes.
    ReadFile { path: String },
    /// Answer: text, the value afterwards.
    Sysctl { name: String, value: Option<String> },
    /// Answer: done.
    SetEnv { name: String, value: Option<String> },
    /// Answer: value.
    GetEnv { name: String },
    /// Answer: done.
    SetTime(Time),
    /// Answer: done.
    SetHostname(String),
    /// Answer: done.
    Binfmt(Binfmt),
    /// Answer: done.
    SetInterface(Interface),
    /// Answer: done.
    UnsetInterface(Interface),
    /// Answer: bytes trimmed.
    FileSystem {
        path: String,
        operation: FsOperation,
    },
    /// Answer: machine.
    MachineStats,
    /// Answer: done; connections are told as events.
    Listen(Listen),
    /// Answer: done.
    Unlisten { relay: u32 },
    /// Answer: done, and the channel is the connection.
    Accept {
        relay: u32,
        connection: u32,
        channel: u32,
    },
    /// Answer: done, and the channel is the connection.
    Dial { target: Target, channel: u32 },
    /// Answer, once all that was said on connections is on its way: done.
    Settle,
    /// Answer: done, when the session on this channel is over and all that it owned is gone.
    Session { channel: u32 },
    /// Answer: done.
    Release { sync: bool, keep: Vec<String> },
    /// Answer: pid.
    Leader { id: String },
    /// Answer: done, and the machine ends.
    Shutdown,
    /// Answer: done.
    SetProcessors { count: u32 },
}

/// What the guest answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Reply {
    Done,
    Pid(i32),
    Started {
        pid: i32,
        warnings: Vec<String>,
    },
    Stats {
        stats: Json<Stats>,
        interfaces: Vec<NetworkStats>,
    },
    Pids(Vec<i32>),
    Flag(bool),
    Stat(PathStat),
    Text(String),
    Value(Option<String>),
    Bytes(Vec<u8>),
    Count(u64),
    Machine(Box<MachineStats>),
}

pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>> {
    let bytes = postcard::to_stdvec(message).map_err(|error| Error::Encode(error.to_string()))?;
    match bytes.len() > crate::MAX_FRAME {
        true => Err(Error::TooLong(bytes.len())),
        false => Ok(bytes),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err("more than a message".into()),
        Err(error) => Err(error.to_string()),
    }
}
