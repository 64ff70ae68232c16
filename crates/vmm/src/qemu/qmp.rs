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
    /// What QEMU said last of why the machine stops: a `ShutdownCause`.
    shutdown: Option<String>,
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

    /// What QEMU said of why the machine stops, if it said anything.
    pub(crate) fn shutdown(&self) -> Option<String> {
        self.pending().shutdown.clone()
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
                    Line::Event(event) => {
                        if event.name == "SHUTDOWN" {
                            let reason = event.data.get("reason").and_then(Value::as_str);
                            self.pending().shutdown = reason.map(str::to_owned);
                        }
                        // An error means that nobody listens.
                        let _ = self.0.events.send(event);
                    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn lines(input: &[u8]) -> Result<Vec<Line>> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        // In small pieces, as a socket may give it.
        for piece in input.chunks(7) {
            lines.push(piece);
            while let Some(line) = lines.next()? {
                found.push(line);
            }
        }
        Ok(found)
    }

    #[test]
    fn what_qemu_says_is_understood() {
        let said = concat!(
            r#"{"QMP": {"version": {"qemu": {"micro": 22}}, "capabilities": ["oob"]}}"#,
            "\r\n\r\n",
            r#"{"return": {}}"#,
            "\r\n",
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#,
            "\n",
            r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#,
            "\n{\"return\"",
        );
        let found = lines(said.as_bytes()).unwrap();
        let stop = Event {
            name: "STOP".into(),
            data: Value::Null,
        };
        assert_eq!(found.len(), 4);
        assert!(matches!(found[0], Line::Greeting));
        assert!(matches!(&found[1], Line::Answer(Ok(value)) if *value == json!({})));
        assert!(matches!(&found[2], Line::Event(event) if *event == stop));
        assert!(matches!(&found[3], Line::Answer(Err(why)) if why == "no such thing"));
    }

    #[test]
    fn what_it_must_not_say_is_refused() {
        for bad in [
            "hello\n",
            "[]\n",
            "{}\n",
            "{\"event\": 1}\n",
            "{\"return\": {}\n",
            "\u{0}\n",
        ] {
            assert!(
                matches!(lines(bad.as_bytes()), Err(Error::Protocol(_))),
                "{bad}"
            );
        }
        let deep = format!("{{\"return\": {}\n", "[".repeat(100_000));
        assert!(lines(deep.as_bytes()).is_err());
        let endless = vec![b'x'; MAX_LINE + 100];
        assert!(lines(&endless).is_err());
        let long = format!("{{\"error\": {{\"desc\": \"{}\"}}}}\n", "x".repeat(9000));
        let found = lines(long.as_bytes()).unwrap();
        assert!(matches!(&found[..], [Line::Answer(Err(why))] if why.len() == 1000));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = lines(&input);
        }

        #[test]
        fn no_json_makes_it_panic(
            key in "(QMP|event|return|error|data)",
            value in r#"(1|null|"x"|\[\]|\{"desc": (1|"y")\})"#,
        ) {
            let _ = lines(format!("{{\"{key}\": {value}}}\n").as_bytes());
        }
    }

    fn pair() -> (Qmp, UnixStream, tokio::task::JoinHandle<String>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let qmp = Qmp::new(ours);
        let listening = tokio::spawn({
            let qmp = qmp.clone();
            async move { qmp.listen().await }
        });
        (qmp, theirs, listening)
    }

    #[tokio::test]
    async fn answers_come_in_the_order_of_commands() {
        let (qmp, mut theirs, _listening) = pair();
        let one = qmp.give("one", json!({}), None).await.unwrap();
        let two = qmp.give("two", json!({"a": 1}), None).await.unwrap();
        // Whoever loses interest doesn't take another's answer.
        drop(one);
        theirs
            .write_all(b"{\"return\": 1}\n{\"return\": 2}\n")
            .await
            .unwrap();
        assert_eq!(two.wait().await.unwrap(), json!(2));
        let mut said = vec![0; 200];
        let count = theirs.read(&mut said).await.unwrap();
        let said = String::from_utf8_lossy(&said[..count]).into_owned();
        assert_eq!(said.lines().count(), 2, "{said}");
        let refused = qmp.give("three", json!({}), None).await.unwrap();
        theirs
            .write_all(b"{\"error\": {\"desc\": \"no\"}}\n")
            .await
            .unwrap();
        let error = refused.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "three: no");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_asked_for_ends_it() {
        let (qmp, mut theirs, listening) = pair();
        theirs.write_all(b"{\"return\": {}}\n").await.unwrap();
        assert!(listening.await.unwrap().contains("nobody asked"));
        assert!(qmp.run("stop", json!({})).await.is_err());
    }

    #[tokio::test]
    async fn who_waits_learns_of_the_end() {
        let (qmp, theirs, listening) = pair();
        let answer = qmp.give("stop", json!({}), None).await.unwrap();
        drop(theirs);
        assert!(matches!(answer.wait().await, Err(Error::Ended(_))));
        listening.await.unwrap();
    }

    #[tokio::test]
    async fn a_descriptor_goes_with_its_command() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let qmp = Qmp::new(UnixStream::from_std(ours).unwrap());
        let file = tempfile::tempfile().unwrap();
        qmp.give("add-fd", json!({}), Some(file.as_fd()))
            .await
            .unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; 100];
        rustix::net::recvmsg(
            &theirs,
            &mut [io::IoSliceMut::new(&mut buffer)],
            &mut control,
            rustix::net::RecvFlags::CMSG_CLOEXEC,
        )
        .unwrap();
        let fds = control.drain().filter_map(|message| match message {
            rustix::net::RecvAncillaryMessage::ScmRights(fds) => Some(fds.count()),
            _ => None,
        });
        assert_eq!(fds.sum::<usize>(), 1);
        assert!(buffer.starts_with(b"{"));
    }
}
