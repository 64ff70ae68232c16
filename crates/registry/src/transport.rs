//! HTTP requests with time limits, bounded bodies and careful redirects.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Uri;
use http::header;
use http::uri::Scheme;
use http_body::Body as _;
use http_body::Frame;
use http_body::SizeHint;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;

use crate::answer::Answer;
use crate::connect::ConnectError;
use crate::connect::Connector;
use crate::error::Error;
use crate::error::Result;
use crate::hosts::RegistriesConfig;
use crate::location;

/// As many as Go's client follows.
const REDIRECTS: usize = 10;
/// Of an answer's head, and of one piece of a body.
const BUFFER_BYTES: usize = 256 << 10;

/// How long to wait for a server.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For a connection, TLS and proxy included.
    pub connect: Duration,
    /// For the head of an answer. Uploads that are being committed get five times as long.
    pub answer: Duration,
    /// For the next bytes of a body, in either direction.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Sends requests over pooled connections.
pub(crate) struct Transport {
    client: legacy::Client<Connector, Body>,
    registries: Arc<RegistriesConfig>,
    timeouts: Timeouts,
    user_agent: HeaderValue,
}

impl Transport {
    pub(crate) fn new(registries: Arc<RegistriesConfig>, timeouts: Timeouts) -> Self {
        let connector = Connector::new(registries.clone(), timeouts.connect);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(8)
            .http1_max_buf_size(BUFFER_BYTES)
            .build(connector);
        let user_agent = HeaderValue::from_static(concat!("coracle/", env!("CARGO_PKG_VERSION")));
        Self {
            client,
            registries,
            timeouts,
            user_agent,
        }
    }

    /// One request, one answer, whatever its status.
    pub(crate) async fn send(
        &self,
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Answer> {
        let has_body = !body.is_end_stream();
        let taken = Arc::new(AtomicU64::new(0));
        let body = Watched {
            inner: body,
            taken: taken.clone(),
        }
        .boxed_unsync();
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        request
            .headers_mut()
            .insert(header::USER_AGENT, self.user_agent.clone());
        if uri.scheme() == Some(&Scheme::HTTP)
            && let Some(proxy) = self.registries.proxies.choose(uri)?
            && let Some(value) = &proxy.authorization
        {
            request
                .headers_mut()
                .insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        let host = location::host(uri);
        let answer = self.client.request(request);
        let answer = if has_body {
            tokio::select! {
                answer = answer => answer,
                doing = stalled(&taken, &self.timeouts) => {
                    return Err(Error::Timeout { host, doing });
                }
            }
        } else {
            match tokio::time::timeout(self.timeouts.answer, answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    return Err(Error::Timeout {
                        host,
                        doing: "waiting for an answer",
                    });
                }
            }
        };
        match answer {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                tracing::debug!(%host, path = uri.path(), status = %head.status, "registry answered");
                Ok(Answer {
                    host,
                    status: head.status,
                    headers: head.headers,
                    from_elsewhere: false,
                    body,
                    idle: self.timeouts.idle,
                })
            }
            Err(error) => Err(request_error(host, &error)),
        }
    }

    /// A GET or HEAD that follows redirects. Credentials stay with the origin they were meant for.
    pub(crate) async fn fetch(
        &self,
        method: Method,
        uri: &Uri,
        headers: HeaderMap,
    ) -> Result<Answer> {
        let mut headers = headers;
        let mut uri = uri.clone();
        let mut elsewhere = false;
        for _ in 0..=REDIRECTS {
            let mut answer = self.send(method.clone(), &uri, &headers, empty()).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                answer.from_elsewhere = elsewhere;
                return Ok(answer);
            }
            let next = answer.location(&uri)?;
            if !location::same_origin(&uri, &next) {
                headers.remove(header::AUTHORIZATION);
                elsewhere = true;
            }
            self.refuse_downgrade(&uri, &next).await?;
            answer.discard().await;
            uri = next;
        }
        Err(Error::protocol(&location::host(&uri), "too many redirects"))
    }

    /// A server that we reached securely must not send us to a place where everybody can listen,
    /// unless the operator declared that place insecure.
    pub(crate) async fn refuse_downgrade(&self, from: &Uri, to: &Uri) -> Result<()> {
        if from.scheme() != Some(&Scheme::HTTPS) || to.scheme() == Some(&Scheme::HTTPS) {
            return Ok(());
        }
        let target = location::host(to);
        let registries = self.registries.clone();
        let listed = tokio::task::spawn_blocking(move || registries.is_listed_insecure(&target))
            .await
            .unwrap_or(false);
        if listed {
            return Ok(());
        }
        Err(Error::protocol(
            &location::host(from),
            format!(
                "refused to be sent from https to http://{}",
                location::host(to)
            ),
        ))
    }
}

fn request_error(host: String, error: &legacy::Error) -> Error {
    let mut source = error.source();
    let mut text = error.to_string();
    while let Some(inner) = source {
        if let Some(connect) = inner.downcast_ref::<ConnectError>() {
            return match connect {
                ConnectError::Tcp(reason) => Error::Connect {
                    host,
                    reason: reason.clone(),
                },
                ConnectError::Tls(reason) => Error::Tls {
                    host,
                    reason: reason.clone(),
                },
                ConnectError::Config(reason) => Error::config(reason.clone()),
                ConnectError::Timeout => Error::Timeout {
                    host,
                    doing: "connecting",
                },
            };
        }
        if let Some(hyper) = inner.downcast_ref::<hyper::Error>()
            && hyper.is_parse()
        {
            return Error::protocol(&host, format!("malformed HTTP answer: {hyper}"));
        }
        text = inner.to_string();
        source = inner.source();
    }
    Error::Disconnected { host, reason: text }
}

/// A body that shows that it is being taken.
struct Watched {
    inner: Body,
    taken: Arc<AtomicU64>,
}

/// What [`Watched::taken`] is after the body has gone.
const GONE: u64 = u64::MAX;

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.taken.store(GONE, Ordering::Relaxed);
    }
}

/// Ends when a body is no longer taken, or no answer follows it. A registry may take its time to
/// put a large blob where it belongs.
async fn stalled(taken: &AtomicU64, timeouts: &Timeouts) -> &'static str {
    let mut last = 0;
    loop {
        tokio::time::sleep(timeouts.idle).await;
        let now = taken.load(Ordering::Relaxed);
        if now == GONE {
            tokio::time::sleep(timeouts.answer.saturating_mul(5)).await;
            return "waiting for an answer";
        }
        if now == last {
            return "sending";
        }
        last = now;
    }
}
