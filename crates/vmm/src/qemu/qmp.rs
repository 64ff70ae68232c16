//! QMP, QEMU's control protocol: lines of JSON in both directions
//! (docs/interop/qmp-spec.txt of QEMU).
//!
//! What QEMU says is bounded: a line in length, an answer in time, and answers must come to
//! commands that were given. Anything else ends the conversation.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{broadcast, oneshot};

use crate::error::{Error, Result};

/// The longest line that is taken. The longest that is known, of `query-qmp-schema`, has 200 KB.
const MAX_LINE: usize = 1 << 20;

/// How long QEMU may take to answer a command. Under load its main loop has been seen to take two
/// seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Events that wait for a slow reader.
const MAX_EVENTS: usize = 64;

/// Something that happened without having been asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A line of QEMU's.
#[derive(Debug, PartialEq)]
enum Line {
    Greeting,
    Event(Event),
    Answer(Result<Value, String>),
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "QMP")]
    greeting: Option<serde::de::IgnoredAny>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
    #[serde(rename = "return")]
    answer: Option<Value>,
    error: Option<RawError>,
}

#[derive(Deserialize)]
struct RawError {
    #[serde(default)]
    desc: String,
}

fn parse(line: &[u8]) -> Result<Line> {
    let strange = |why: String| Error::Protocol(why);
    let raw: Raw = serde_json::from_slice(line)
        .map_err(|error| strange(format!("not what QEMU says: {error}")))?;
    match raw {
        Raw {
            greeting: Some(_), ..
        } => Ok(Line::Greeting),
        Raw {
            event: Some(name),
            data,
            ..
        } => Ok(Line::Event(Event { name, data })),
        Raw {
            answer: Some(value),
            ..
        } => Ok(Line::Answer(Ok(value))),
        Raw {
            error: Some(error), ..
        } => Ok(Line::Answer(Err(error.desc.chars().take(1000).collect()))),
        _ => Err(strange("a line that is neither answer nor event".into())),
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    /// How much of it has no end of line.
    searched: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Result<Option<Line>> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.searched > MAX_LINE {
                    return Err(Error::Protocol("a line that doesn't end".into()));
                }
                return Ok(None);
            };
            let rest = self.buffer.split_off(self.searched + end + 1);
            let line = std::mem::replace(&mut self.buffer, rest);
            self.searched = 0;
            let line = line.trim_ascii();
            if line.len() > MAX_LINE {
                return Err(Error::Protocol("a line that is too long".into()));
            }
            if !line.is_empty() {
                return parse(line).map(Some);
            }
        }
    }
}

type Reply = oneshot::Sender<Result<Value, String>>;

#[derive(Default)]
struct Pending {
    /// Commands in the order in which they were given, and in which QEMU answers.
    replies: VecDeque<Reply>,
    /// Why there is nothing more to come.
    over: Option<String>,
}

/// The conversation with one QEMU. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Qmp(Arc<Inner>);

struct Inner {
    stream: UnixStream,
    pending: Mutex<Pending>,
    events: broadcast::Sender<Event>,
}

impl Qmp {
    /// Begins on a stream. [`Qmp::listen`] must be polled from then on.
    pub(crate) fn new(stream: UnixStream) -> Qmp {
        Qmp(Arc::new(Inner {
            stream,
            pending: Mutex::default(),
            events: broadcast::channel(MAX_EVENTS).0,
        }))
    }

    /// Events from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Takes what QEMU says until it ends or can't be understood any more, and tells why.
    pub(crate) async fn listen(&self) -> String {
        let why = match self.hear().await {
            Ok(()) => "QEMU has hung up".to_owned(),
            Err(error) => error.to_string(),
        };
        let mut pending = self.pending();
        pending.over = Some(why.clone());
        // Who waits learns of it by the dropped senders.
        pending.replies.clear();
        why
    }

    async fn hear(&self) -> Result<()> {
        let mut lines = Lines::default();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let broken = |error| Error::Protocol(format!("{error}"));
            self.0.stream.readable().await.map_err(broken)?;
            let count = match self.0.stream.try_read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(broken(error)),
            };
            lines.push(buffer.get(..count).unwrap_or_default());
            while let Some(line) = lines.next()? {
                match line {
                    Line::Greeting => {}
                    // An error means that nobody listens.
                    Line::Event(event) => drop(self.0.events.send(event)),
                    Line::Answer(answer) => {
                        let reply = self.pending().replies.pop_front();
                        let reply = reply.ok_or_else(|| {
                            Error::Protocol("an answer that nobody asked for".into())
                        })?;
                        // An error means that who asked has gone.
                        let _ = reply.send(answer);
                    }
                }
            }
        }
    }

    /// Gives a command and waits for its answer.
    pub(crate) async fn run(&self, command: &str, arguments: Value) -> Result<Value> {
        self.run_with(command, arguments, None).await
    }

    /// As [`Qmp::run`], with a descriptor on it.
    pub(crate) async fn run_with(
        &self,
        command: &str,
        arguments: Value,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<Value> {
        let answer = self.give(command, arguments, fd).await?;
        answer.wait().await
    }

    /// Gives a command; its answer can be waited for later.
    pub(crate) async fn give(
        &self,
        command: &str,
        arguments: Value,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<Answer> {
        let mut line = serde_json::to_vec(&json!({"execute": command, "arguments": arguments}))
            .map_err(|error| Error::Protocol(error.to_string()))?;
        line.push(b'\n');
        let (reply, answer) = oneshot::channel();
        tokio::time::timeout(PATIENCE, self.write(&line, fd, reply))
            .await
            .map_err(|_| Error::Timeout(format!("giving QEMU the command {command}")))??;
        Ok(Answer {
            command: command.into(),
            answer,
        })
    }

    /// Writes a line at once or not at all, so that nothing half-written is left by a caller that
    /// loses interest, and lines can't mix.
    async fn write(&self, line: &[u8], fd: Option<BorrowedFd<'_>>, reply: Reply) -> Result<()> {
        let stream = &self.0.stream;
        let deaf = |error| Error::Ended(format!("QEMU takes no commands: {error}"));
        let send = || -> io::Result<usize> {
            let fds: Vec<_> = fd.into_iter().collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
                return Err(io::Error::other("no space for a descriptor"));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let line = [IoSlice::new(line)];
            Ok(rustix::net::sendmsg(
                stream.as_fd(),
                &line,
                &mut control,
                flags,
            )?)
        };
        loop {
            stream.writable().await.map_err(deaf)?;
            let mut pending = self.pending();
            if let Some(why) = &pending.over {
                return Err(Error::Ended(why.clone()));
            }
            match stream.try_io(Interest::WRITABLE, send) {
                Ok(sent) if sent == line.len() => {
                    pending.replies.push_back(reply);
                    return Ok(());
                }
                Ok(_) => {
                    let why = "QEMU doesn't listen".to_owned();
                    pending.over = Some(why.clone());
                    return Err(Error::Protocol(why));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(deaf(error)),
            }
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.0
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is to come.
pub(crate) struct Answer {
    command: String,
    answer: oneshot::Receiver<Result<Value, String>>,
}

impl Answer {
    pub(crate) async fn wait(self) -> Result<Value> {
        let Answer { command, answer } = self;
        match tokio::time::timeout(PATIENCE, answer).await {
            Err(_) => Err(Error::Timeout(format!("QEMU's answer to {command}"))),
            Ok(Err(_)) => Err(Error::Ended(format!(
                "QEMU hung up before it answered {command}"
            ))),
            Ok(Ok(Err(message))) => Err(Error::Refused { command, message }),
            Ok(Ok(Ok(value))) => Ok(value),
        }
    }
}
