//! One connection: requests one after the other, or one that takes the connection over.
//!
//! A hijack (attach, exec) does not go through hyper's upgrades, because Docker also hijacks without
//! an `Upgrade` header, and then answers 200. Instead the route hands a [`Hijack`] a function, the
//! connection's task takes the stream back from hyper with whatever was read and not used, and runs
//! the function on it.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::io::Watched;
use crate::keys::Keys;
use crate::listener::Peer;
use crate::service::Service;

/// Most headers of a request, and most bytes of them.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 64 * 1024;
/// How long to throw away what a client still sends after the last answer, such as the rest of an
/// archive that was refused. Closing on unread input could cost the client the answer.
const LINGER: Duration = Duration::from_secs(1);

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A connection taken over, both directions raw.
pub type HijackedIo = Pin<Box<dyn Duplex>>;

type Takeover = Box<dyn FnOnce(HijackedIo) -> BoxFuture<'static, ()> + Send>;

/// Takes the connection of a request over. Found in the request's extensions.
#[derive(Clone)]
pub struct Hijack(mpsc::Sender<Takeover>);

impl Hijack {
    /// Hands the connection to `session`, which writes the response's head itself. Never returns: the
    /// request is over, and this future is dropped.
    pub async fn take<F, S>(self, session: F) -> Infallible
    where
        F: FnOnce(HijackedIo) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let takeover: Takeover = Box::new(move |io| Box::pin(session(io)));
        // There is room for one, and a connection is taken once.
        let _ = self.0.send(takeover).await;
        pending().await
    }
}

/// Tells when nobody waits for an answer any more: the client closed its side, or the server drains.
/// Found in the request's extensions.
#[derive(Clone)]
pub struct ClientGone(pub(crate) CancellationToken);

impl ClientGone {
    /// Resolves when it has happened.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// The same, for as long as one likes.
    pub fn wait_owned(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.clone().cancelled_owned()
    }
}

/// What a connection's requests have in common.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) peer: Arc<Peer>,
    pub(crate) gone: ClientGone,
    pub(crate) hijack: Hijack,
    /// Ends the connection, once the request in hand is answered.
    end: CancellationToken,
    /// The key that it came with.
    key: Arc<OnceLock<String>>,
}

impl Context {
    /// The client showed a key: once that is revoked or expires, the connection ends.
    pub(crate) fn came_with(&self, keys: &Arc<Keys>, id: &str) {
        let mut first = false;
        let known = self.key.get_or_init(|| {
            first = true;
            id.to_owned()
        });
        // One connection with several keys, as a proxy has, ends with the first: better than with none.
        if first && known == id {
            keys.watch(id, &self.end);
        }
    }
}

enum Outcome {
    Closed(hyper::Result<()>),
    Taken(Takeover),
}

/// Serves a connection until it ends. `drain` asks it to end after the request in hand, and ends what
/// only waits or streams.
pub(crate) async fn serve<S>(stream: S, peer: Peer, service: Arc<Service>, drain: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // Its own, so that a key that ends can end it; the server's ends it as well.
    let drain = drain.child_token();
    let _ended = drain.clone().drop_guard();
    let watched = Watched::new(stream);
    let (sender, mut takeovers) = mpsc::channel(1);
    let gone = drain.child_token();
    let context = Context {
        peer: Arc::new(peer),
        gone: ClientGone(gone.clone()),
        hijack: Hijack(sender),
        end: drain.clone(),
        key: Arc::default(),
    };
    let mut connection = http1::Builder::new()
        .half_close(true)
        // As Go writes them; scripts look for that.
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(service.api.config.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(
            TokioIo::new(watched.clone()),
            hyper::service::service_fn({
                let (service, context) = (Arc::clone(&service), context.clone());
                move |request: http::Request<Incoming>| {
                    let (service, context) = (Arc::clone(&service), context.clone());
                    Box::pin(
                        async move { Ok::<_, Infallible>(service.answer(request, context).await) },
                    )
                }
            }),
        );

    let mut drained = Box::pin(drain.clone().cancelled_owned());
    let mut draining = false;
    let outcome = poll_fn(|cx| {
        if !draining && drained.as_mut().poll(cx).is_ready() {
            draining = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(Outcome::Closed(result));
        }
        if let Poll::Ready(Some(takeover)) = takeovers.poll_recv(cx) {
            return Poll::Ready(Outcome::Taken(takeover));
        }
        if !gone.is_cancelled() && watched.poll_ended(cx).is_ready() {
            gone.cancel();
        }
        Poll::Pending
    })
    .await;

    match outcome {
        Outcome::Closed(result) => {
            if let Err(error) = result {
                debug!(peer = %context.peer, %error, "connection failed");
            }
            // The peer may be gone already.
            let mut watched = watched;
            if watched.shutdown().await.is_ok() && !draining {
                let mut sink = tokio::io::sink();
                let rest = tokio::io::copy(&mut watched, &mut sink);
                let _ = tokio::time::timeout(LINGER, rest).await;
            }
        }
        Outcome::Taken(takeover) => {
            let parts = connection.into_parts();
            drop(parts.io);
            watched.unread(&parts.read_buf);
            tokio::select! {
                () = takeover(Box::pin(watched)) => (),
                () = drain.cancelled() => (),
            }
        }
    }
}
