//! The host's side of a connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_seccomp::Machine;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::MAX_EVENTS;
use crate::error::{Error, Failure, Result};
use crate::event::Event;
use crate::frame::{Frame, Kind, Violation};
use crate::hello;
use crate::link::{Control, Link, Message};
use crate::message::{Reply, Request, decode, encode};
use crate::mux::{Channel, Direction, Mux};

/// How many requests may wait to be sent.
const QUEUE: usize = 16;

/// The agent of a machine, as the host sees it. Cheap to clone; when the last clone is dropped the
/// connection ends, and all channels with it.
///
/// Dropping the future of a call stops the call in the guest. The calls end with the kind and the
/// message that the guest's sandbox gave ([`Error::kind`]), and all of them with [`Error::Gone`] when
/// the connection is lost.
#[derive(Clone, Debug)]
pub struct Agent(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    mux: Mux,
    messages: mpsc::Sender<Message>,
    shared: Arc<Mutex<Shared>>,
    events: tokio::sync::Mutex<mpsc::Receiver<Event>>,
    link: AbortHandle,
    /// Whose system calls containers' filters are compiled for: the host's without.
    pub(crate) machine: Option<Machine>,
}

/// A process: container, and exec if it is one.
pub(crate) type Key = (String, Option<String>);

/// What the reader of the connection and the callers share.
#[derive(Debug, Default)]
struct Shared {
    calls: HashMap<u32, oneshot::Sender<Result<Reply>>>,
    exits: HashMap<Key, oneshot::Sender<crate::process::Exited>>,
    /// The last call that was sent, or is about to be.
    last: u32,
    gone: Option<Error>,
}

impl Shared {
    /// A call begins: its id.
    fn begin(&mut self, reply: oneshot::Sender<Result<Reply>>) -> Result<u32> {
        if let Some(gone) = &self.gone {
            return Err(gone.clone());
        }
        let id = self.last.checked_add(1);
        let id = id.ok_or_else(|| Error::protocol("there are no more ids for calls"))?;
        self.last = id;
        self.calls.insert(id, reply);
        Ok(id)
    }
}

impl Agent {
    /// Says hello and waits for the answer, without a limit in time. What the stream holds of
    /// earlier conversations is passed over. Needs a tokio runtime, on which the connection is served.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Version`].
    pub async fn connect(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self> {
        Self::connect_to(stream, None).await
    }

    /// The same with a guest of another architecture than the host.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_to(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        machine: Option<Machine>,
    ) -> Result<Self> {
        let mut stream = stream;
        let received = hello::greet(&mut stream).await?;
        let mux = Mux::new(true);
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (messages, queue) = mpsc::channel(QUEUE);
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let control = HostControl {
            shared: shared.clone(),
            events: sender,
        };
        let mut link = Link::new(stream, received, mux.clone(), queue, control);
        let ended = shared.clone();
        let link = tokio::spawn(async move {
            let why = link.run().await.to_error();
            end(&ended, &why);
        });
        Ok(Self(Arc::new(Inner {
            mux,
            messages,
            shared,
            events: tokio::sync::Mutex::new(events),
            link: link.abort_handle(),
            machine,
        })))
    }

    /// Opens a channel. The guest is told with the next request, or as soon as something is written.
    ///
    /// # Errors
    /// [`Error::TooManyChannels`], [`Error::Gone`].
    pub fn open_channel(&self, direction: Direction) -> Result<Channel> {
        self.0.mux.open(direction)
    }

    /// What happened next, without [`Event::Exited`]. Events that nobody asked for wait, up to
    /// [`MAX_EVENTS`]. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub async fn event(&self) -> Result<Event> {
        let event = self.0.events.lock().await.recv().await;
        event.ok_or_else(|| self.gone())
    }

    /// Resolves when the connection is lost, and says why.
    pub async fn closed(&self) -> Error {
        self.0.messages.closed().await;
        self.gone()
    }

    pub(crate) fn gone(&self) -> Error {
        let gone = lock(&self.0.shared).gone.clone();
        gone.unwrap_or_else(|| Error::Gone("the connection was closed".into()))
    }

    /// Sends a request and waits for its reply.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply> {
        let payload = encode(request)?;
        let (sender, reply) = oneshot::channel();
        let id = lock(&self.0.shared).begin(sender)?;
        let mut pending = PendingCall {
            inner: &self.0,
            id,
            is_sent: false,
        };
        let message = Message {
            kind: Kind::Request,
            id,
            payload,
        };
        if self.0.messages.send(message).await.is_err() {
            return Err(self.gone());
        }
        pending.is_sent = true;
        reply.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// As [`Self::call`], where nothing is answered but that it is done.
    pub(crate) async fn order(&self, request: &Request) -> Result<()> {
        match self.call(request).await? {
            Reply::Done => Ok(()),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Has the end of a process kept, which is started next.
    pub(crate) fn expect_exit(&self, key: Key) -> oneshot::Receiver<crate::process::Exited> {
        let (sender, receiver) = oneshot::channel();
        let mut shared = lock(&self.0.shared);
        // A process that is being waited for is not another's to wait for.
        shared.exits.retain(|_, waiting| !waiting.is_closed());
        if shared.gone.is_none() {
            shared.exits.insert(key, sender);
        }
        receiver
    }
}

/// A call that waits for its reply.
struct PendingCall<'a> {
    inner: &'a Inner,
    id: u32,
    is_sent: bool,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        let unanswered = lock(&self.inner.shared).calls.remove(&self.id).is_some();
        if unanswered && self.is_sent {
            self.inner.mux.lock().cancel(self.id);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.link.abort();
        let why = Error::Gone("the connection was closed".into());
        self.mux.close(&why);
        end(&self.shared, &why);
    }
}

/// All calls end.
fn end(shared: &Mutex<Shared>, why: &Error) {
    let calls = {
        let mut shared = lock(shared);
        shared.gone.get_or_insert_with(|| why.clone());
        shared.exits.clear();
        std::mem::take(&mut shared.calls)
    };
    for call in calls.into_values() {
        let _nobody_waits = call.send(Err(why.clone()));
    }
}

/// A reply that doesn't belong to the request.
pub(crate) fn unexpected(_: &Reply) -> Error {
    Error::protocol("the reply is another request's")
}

/// What the host does with what isn't a channel's.
struct HostControl {
    shared: Arc<Mutex<Shared>>,
    events: mpsc::Sender<Event>,
}

impl Control for HostControl {
    fn control(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame.kind {
            Kind::Reply => {
                let reply: Result<Reply, Failure> = decode(&frame.payload)?;
                let mut shared = lock(&self.shared);
                if frame.id == 0 || frame.id > shared.last {
                    return Err(format!("a reply to call {}, which never was", frame.id));
                }
                if let Some(call) = shared.calls.remove(&frame.id) {
                    let _nobody_waits = call.send(reply.map_err(Error::Refused));
                }
                Ok(())
            }
            Kind::Event => match decode(&frame.payload)? {
                Event::Exited {
                    container,
                    exec,
                    code,
                    signal,
                    oom_killed,
                } => {
                    let waiting = lock(&self.shared).exits.remove(&(container, exec));
                    if let Some(waiting) = waiting {
                        let exited = crate::process::Exited {
                            code,
                            signal,
                            oom_killed,
                        };
                        let _nobody_waits = waiting.send(exited);
                    }
                    Ok(())
                }
                event => self
                    .events
                    .try_send(event)
                    .map_err(|_| "too many events".into()),
            },
            kind => Err(format!("an unexpected frame of kind {kind:?}")),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
