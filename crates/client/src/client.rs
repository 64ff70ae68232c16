//! The client: requests over connections that are reused, in a version that both sides know.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use coracle_docker::API_VERSION;
use coracle_docker::auth::AuthConfig;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_rustls::TlsConnector;

use crate::body::{RequestBody, Upload};
use crate::connection::{self, Sender};
use crate::error::{Error, Result};
use crate::hijack::Hijacked;
use crate::host::Host;
use crate::lines::Lines;
use crate::query::Query;
use crate::response::{self, Download};
use crate::tls::TlsOptions;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("Coracle-Client/", env!("CARGO_PKG_VERSION")));
/// Connections that are kept for later.
const MAX_IDLE: usize = 16;
/// The oldest minor version that is spoken.
const OLDEST: u32 = 24;

/// A client of one daemon. Cheap to make: nothing is connected before the first request.
pub struct Client {
    host: Host,
    tls: Option<TlsConnector>,
    /// The minor version that is spoken; the major one is 1.
    minor: AtomicU32,
    /// Whether the daemon is known to speak it.
    agreed: AtomicBool,
    idle: Mutex<Vec<Sender>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the daemon at `unix://PATH` or `tcp://HOST[:PORT]`.
    pub fn connect(host: &str) -> Result<Self> {
        Self::new(Host::parse(host, false)?, None)
    }

    /// The same, with TLS where options are given.
    pub fn new(host: Host, tls: Option<&TlsOptions>) -> Result<Self> {
        let secure = TlsOptions::default();
        let tls = match (&host, tls) {
            (Host::Unix(_), _) | (Host::Tcp { tls: false, .. }, None) => None,
            (Host::Tcp { .. }, options) => Some(options.unwrap_or(&secure).connector()?),
        };
        let newest = API_VERSION.trim_start_matches("1.").parse();
        Ok(Self {
            host,
            tls,
            minor: AtomicU32::new(newest.unwrap_or(OLDEST)),
            agreed: AtomicBool::new(false),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Speaks version `1.minor` and no other.
    #[must_use]
    pub fn with_version(self, minor: u32) -> Self {
        self.minor.store(minor, Ordering::Relaxed);
        self.agreed.store(true, Ordering::Relaxed);
        self
    }

    /// Where the daemon is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The version that is spoken now, as `1.47`.
    pub fn api_version(&self) -> String {
        format!("1.{}", self.minor())
    }

    pub(crate) fn minor(&self) -> u32 {
        self.minor.load(Ordering::Relaxed)
    }

    /// Opens a connection, which the next request uses.
    pub async fn open(&self) -> Result<()> {
        let sender = connection::open(&self.host, self.tls.as_ref()).await?;
        self.keep(sender);
        Ok(())
    }

    /// Makes sure that version and connection are good, by `GET /_ping`.
    pub async fn ping(&self) -> Result<()> {
        self.bytes(Method::GET, &Query::new("/_ping")).await?;
        Ok(())
    }

    /// A connection that is ready: one that is left over, or a new one.
    async fn sender(&self) -> Result<Sender> {
        loop {
            let left = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let Some(mut sender) = left else {
                return connection::open(&self.host, self.tls.as_ref()).await;
            };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
    }

    /// Keeps a connection for the next request. Its answer must have been read to the end.
    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < MAX_IDLE {
            idle.push(sender);
        }
    }

    /// Sends a request, and gives the answer of success with the connection that it comes on.
    async fn send(
        &self,
        method: Method,
        query: &Query,
        headers: HeaderMap,
        mut body: RequestBody,
    ) -> Result<(Response<Incoming>, Sender)> {
        if matches!(body, RequestBody::Upload(_)) && !self.agreed.load(Ordering::Relaxed) {
            // What can be read once must not go to a server that refuses the version.
            Box::pin(self.ping()).await?;
        }
        loop {
            let again = body.again();
            let mut request = Request::builder()
                .method(method.clone())
                .uri(self.versioned(query.as_str()))
                .header(header::HOST, HeaderValue::from_static("coracle"))
                .header(header::USER_AGENT, AGENT)
                .body(body)?;
            request.headers_mut().extend(headers.clone());
            let (response, sender) = self.exchange(request).await?;
            let status = response.status();
            if status.is_success()
                || status == StatusCode::SWITCHING_PROTOCOLS
                || status == StatusCode::NOT_MODIFIED
            {
                self.agreed.store(true, Ordering::Relaxed);
                return Ok((response, sender));
            }
            let error = response::error(response).await;
            self.keep(sender);
            let older = self.older_version(&error);
            match (older, again) {
                (Some(minor), Some(whole)) => {
                    self.minor.store(minor, Ordering::Relaxed);
                    body = whole;
                }
                _ => return Err(error),
            }
        }
    }

    /// A path as it is asked for. Only Docker's API has the version before it.
    fn versioned(&self, path: &str) -> String {
        if path.starts_with("/api/") {
            return path.to_owned();
        }
        format!("/v1.{}{path}", self.minor())
    }

    /// Sends on a connection that is left over or a new one. What never left a connection that was
    /// closed meanwhile goes to a new one.
    async fn exchange(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Sender)> {
        loop {
            let mut sender = self.sender().await?;
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
    }

    /// The version that the server can speak, where it refused ours for being too new.
    fn older_version(&self, error: &Error) -> Option<u32> {
        let Error::Api { status, message } = error else {
            return None;
        };
        if *status != StatusCode::BAD_REQUEST || self.agreed.load(Ordering::Relaxed) {
            return None;
        }
        let (_, rest) = message.split_once("is too new. Maximum supported API version is ")?;
        let version = rest.split_whitespace().next()?;
        let minor: u32 = version.trim_matches('"').strip_prefix("1.")?.parse().ok()?;
        (minor < self.minor() && minor >= OLDEST).then_some(minor)
    }

    /// A request whose whole answer is wanted.
    pub(crate) async fn bytes(&self, method: Method, query: &Query) -> Result<Bytes> {
        self.whole(method, query, HeaderMap::new(), RequestBody::Empty)
            .await
            .map(|(_, bytes)| bytes)
    }

    pub(crate) async fn whole(
        &self,
        method: Method,
        query: &Query,
        headers: HeaderMap,
        body: RequestBody,
    ) -> Result<(http::response::Parts, Bytes)> {
        let (response, sender) = self.send(method, query, headers, body).await?;
        let (parts, body) = response.into_parts();
        let bytes = response::collect(body, query).await?;
        self.keep(sender);
        Ok((parts, bytes))
    }

    /// A request without a body, answered by JSON.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        query: &Query,
    ) -> Result<T> {
        response::parse(&self.bytes(method, query).await?, query)
    }

    /// A `GET` answered by JSON.
    pub async fn get<T: DeserializeOwned>(&self, query: &Query) -> Result<T> {
        self.json(Method::GET, query).await
    }

    /// The same, with credentials for a registry.
    pub async fn get_as<T: DeserializeOwned>(
        &self,
        query: &Query,
        auth: Option<&AuthConfig>,
    ) -> Result<T> {
        let headers = match auth {
            Some(auth) => header("x-registry-auth", &auth.to_header())?,
            None => HeaderMap::new(),
        };
        let answer = self.whole(Method::GET, query, headers, RequestBody::Empty);
        response::parse(&answer.await?.1, query)
    }

    /// A tar archive put somewhere.
    pub async fn put_tar(&self, query: &Query, tar: Upload) -> Result<()> {
        self.upload(Method::PUT, query, tar).await
    }

    /// A `GET` answered by JSON, as it came.
    pub async fn get_raw(&self, query: &Query) -> Result<Bytes> {
        self.bytes(Method::GET, query).await
    }

    /// A `POST` without a body; says whether it changed anything (304 does not).
    pub(crate) async fn post(&self, query: &Query) -> Result<bool> {
        let headers = HeaderMap::new();
        let sent = self.whole(Method::POST, query, headers, RequestBody::Empty);
        Ok(sent.await?.0.status != StatusCode::NOT_MODIFIED)
    }

    /// A `POST` of JSON, answered by whatever.
    pub async fn post_body<B: Serialize>(&self, query: &Query, body: &B) -> Result<Bytes> {
        let (headers, body) = json_body(query, body)?;
        let answer = self.whole(Method::POST, query, headers, body).await?;
        Ok(answer.1)
    }

    /// A `PUT` of JSON, answered by whatever.
    pub(crate) async fn put_body<B: Serialize>(&self, query: &Query, body: &B) -> Result<Bytes> {
        let (headers, body) = json_body(query, body)?;
        let answer = self.whole(Method::PUT, query, headers, body).await?;
        Ok(answer.1)
    }

    /// A `PATCH` of JSON, answered by whatever.
    pub(crate) async fn patch_body<B: Serialize>(&self, query: &Query, body: &B) -> Result<Bytes> {
        let (headers, body) = json_body(query, body)?;
        let answer = self.whole(Method::PATCH, query, headers, body).await?;
        Ok(answer.1)
    }

    /// A `POST` of JSON, answered by JSON.
    pub async fn post_json<B: Serialize, T: DeserializeOwned>(
        &self,
        query: &Query,
        body: &B,
    ) -> Result<T> {
        response::parse(&self.post_body(query, body).await?, query)
    }

    /// A request answered by a long body.
    pub(crate) async fn download(&self, method: Method, query: &Query) -> Result<Download> {
        let sent = self.send(method, query, HeaderMap::new(), RequestBody::Empty);
        let (response, _) = sent.await?;
        Ok(Download::new(response))
    }

    /// A request answered line by line.
    pub(crate) async fn lines<T: DeserializeOwned>(
        &self,
        method: Method,
        query: &Query,
        headers: HeaderMap,
    ) -> Result<Lines<T>> {
        let sent = self.send(method, query, headers, RequestBody::Empty);
        let (response, _) = sent.await?;
        Ok(Lines::new(response, query))
    }

    /// A `POST` of JSON, answered line by line.
    pub(crate) async fn post_lines<B: Serialize, T: DeserializeOwned>(
        &self,
        query: &Query,
        body: &B,
    ) -> Result<Lines<T>> {
        let (headers, body) = json_body(query, body)?;
        let (response, _) = self.send(Method::POST, query, headers, body).await?;
        Ok(Lines::new(response, query))
    }

    /// A tar archive sent, answered line by line.
    pub(crate) async fn upload_lines<T: DeserializeOwned>(
        &self,
        method: Method,
        query: &Query,
        upload: Upload,
    ) -> Result<Lines<T>> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, TAR)]);
        let sent = self.send(method, query, headers, RequestBody::Upload(upload));
        let (response, _) = sent.await?;
        Ok(Lines::new(response, query))
    }

    /// A tar archive sent, and nothing to be answered.
    pub(crate) async fn upload(&self, method: Method, query: &Query, upload: Upload) -> Result<()> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, TAR)]);
        let body = RequestBody::Upload(upload);
        self.whole(method, query, headers, body).await?;
        Ok(())
    }

    /// A `POST` that takes the connection over.
    pub async fn hijack<B: Serialize>(&self, query: &Query, body: Option<&B>) -> Result<Hijacked> {
        let (mut headers, body) = match body {
            Some(body) => json_body(query, body)?,
            None => (HeaderMap::new(), RequestBody::Empty),
        };
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
        let (response, _) = self.send(Method::POST, query, headers, body).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::Answer {
                request: query.as_str().to_owned(),
                why: format!(
                    "{} where the connection should be handed over",
                    response.status()
                ),
            });
        }
        Ok(Hijacked::new(hyper::upgrade::on(response).await?))
    }
}

pub(crate) fn json_body<B: Serialize>(query: &Query, body: &B) -> Result<(HeaderMap, RequestBody)> {
    let bytes = serde_json::to_vec(body).map_err(|error| Error::Answer {
        request: query.as_str().to_owned(),
        why: error.to_string(),
    })?;
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]);
    Ok((headers, RequestBody::Whole(bytes.into())))
}

/// A header of one value; text that HTTP can't carry is refused.
pub(crate) fn header(name: &'static str, value: &str) -> Result<HeaderMap> {
    let name = HeaderName::try_from(name).map_err(http::Error::from)?;
    let value = HeaderValue::try_from(value).map_err(http::Error::from)?;
    Ok(HeaderMap::from_iter([(name, value)]))
}
