//! The guest's side of a connection.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::BytesMut;
use coracle_task::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::error::{Failure, Result};
use crate::event::Event;
use crate::frame::{Frame, Kind, Violation};
use crate::hello::{self, Hello};
use crate::link::{Control, End, Link, Message};
use crate::message::{Reply, Request, decode, encode};
use crate::mux::{Channel, Mux};

/// How many calls are served at a time; more are refused.
const MAX_CALLS: usize = 512;

/// How many replies and events may wait to be sent.
const QUEUE: usize = 64;

/// Does what the host asks for.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers a request. The future is dropped when the host gives the call up, or connects anew.
    async fn call(&self, request: Request, call: &Call) -> Result<Reply, Failure>;
}

/// What a request comes with.
#[derive(Clone, Debug)]
pub struct Call {
    mux: Mux,
}

impl Call {
    /// Takes a channel that the request names; each once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if there is none.
    pub fn channel(&self, id: u32) -> Result<Channel, Failure> {
        self.mux.take(id).ok_or_else(|| {
            let message = format!("there is no channel {id} to be taken");
            Failure::new(ErrorKind::InvalidArgument, message)
        })
    }
}

/// Tells the host of events. What happens while no host is connected is not told.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<Option<mpsc::Sender<Message>>>>);

impl Events {
    /// Tells it, as soon as there is room.
    pub async fn send(&self, event: &Event) {
        let sender = lock(&self.0).clone();
        if let (Some(sender), Ok(payload)) = (sender, encode(event)) {
            let message = Message {
                kind: Kind::Event,
                id: 0,
                payload,
            };
            let _nobody_listens = sender.send(message).await;
        }
    }

    fn connect(&self, sender: Option<mpsc::Sender<Message>>) {
        *lock(&self.0) = sender;
    }
}

/// Serves the host until the stream ends, which is `Ok`, or fails. A host may connect anew on the
/// same stream at any time (by its hello); calls and channels that were then end.
///
/// Needs a tokio runtime; each call is a task of its own.
pub async fn serve<S>(stream: &mut S, service: Arc<dyn Service>, events: &Events) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut received = BytesMut::new();
    let mut next = None;
    loop {
        let hello = match next.take() {
            Some(hello) => hello,
            None => match hello::await_hello(stream, &mut received).await? {
                Some(hello) => hello,
                None => return Ok(()),
            },
        };
        let mux = Mux::new(false);
        let (messages, queue) = mpsc::channel(QUEUE);
        let control = GuestControl {
            service: service.clone(),
            call: Call { mux: mux.clone() },
            messages: messages.clone(),
            calls: Arc::default(),
            hello: None,
        };
        events.connect(Some(messages));
        let mut link = Link::new(
            &mut *stream,
            std::mem::take(&mut received),
            mux,
            queue,
            control,
        );
        let answer = Hello {
            version: hello::VERSION,
            ..hello
        };
        answer.put(&mut link.outgoing);
        let end = link.run().await;
        events.connect(None);
        next = link.control.hello.take();
        received = link.incoming;
        match end {
            // To be followed by another hello.
            End::Violation(_) => {}
            End::Eof => return Ok(()),
            End::Io(error) => return Err(error),
        }
    }
}

/// What the guest does with what isn't a channel's.
struct GuestControl {
    service: Arc<dyn Service>,
    call: Call,
    messages: mpsc::Sender<Message>,
    calls: Arc<Mutex<HashMap<u32, AbortHandle>>>,
    /// Somebody said hello once more.
    hello: Option<Hello>,
}

impl Control for GuestControl {
    fn control(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame.kind {
            Kind::Request => self.request(frame.id, &frame.payload),
            Kind::Cancel => {
                if let Some(call) = lock(&self.calls).remove(&frame.id) {
                    call.abort();
                }
                Ok(())
            }
            Kind::Hello => {
                self.hello = Some(Hello::parse(&frame.payload).ok_or("a malformed hello")?);
                Err("hello".into())
            }
            kind => Err(format!("an unexpected frame of kind {kind:?}")),
        }
    }
}

impl GuestControl {
    fn request(&mut self, id: u32, payload: &[u8]) -> Result<(), Violation> {
        let request: Request = decode(payload)?;
        let mut calls = lock(&self.calls);
        if calls.contains_key(&id) {
            return Err("a call's id is used twice".into());
        }
        if calls.len() >= 2 * MAX_CALLS {
            return Err("far too many calls".into());
        }
        let is_full = calls.len() >= MAX_CALLS;
        let (service, call) = (self.service.clone(), self.call.clone());
        let (messages, running) = (self.messages.clone(), self.calls.clone());
        let task = tokio::spawn(async move {
            let result = match is_full {
                true => Err(Failure::internal("the machine's agent is too busy")),
                false => service.call(request, &call).await,
            };
            let payload = encode(&result)
                .or_else(|error| encode(&Err::<Reply, _>(Failure::internal(error.to_string()))));
            let payload = payload.unwrap_or_default();
            let message = Message {
                kind: Kind::Reply,
                id,
                payload,
            };
            let _nobody_listens = messages.send(message).await;
            lock(&running).remove(&id);
        });
        // The task runs on another thread, or after this: it can't be over on this thread, and on
        // another it waits for the lock.
        calls.insert(id, task.abort_handle());
        Ok(())
    }
}

impl Drop for GuestControl {
    fn drop(&mut self) {
        for (_, call) in lock(&self.calls).drain() {
            call.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
