//! One repository, at its registry and the mirrors before it.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::Uri;
use http::header;
use tokio::sync::OnceCell;

use crate::answer::Answer;
use crate::auth::AuthSource;
use crate::auth::Purpose;
use crate::auth::challenge;
use crate::auth::credentials::Credentials;
use crate::client::Client;
use crate::client::endpoint;
use crate::error::Error;
use crate::error::Result;
use crate::hosts::Server;
use crate::location;
use crate::refusal::Refusal;
use crate::transport::Body;
use crate::transport::empty;

/// A repository as one user sees it: where manifests and blobs are fetched from and sent to.
pub struct Repository {
    pub(crate) client: Client,
    domain: String,
    path: String,
    familiar: String,
    endpoints: Vec<Endpoint>,
    auth: AuthSource,
}

/// One server of a repository.
pub(crate) struct Endpoint {
    pub(crate) server: Server,
    user: OnceCell<Option<Credentials>>,
    /// A mirror that couldn't be reached is not asked again.
    down: AtomicBool,
}

impl Endpoint {
    pub(crate) fn is_mirror(&self) -> bool {
        self.server.is_mirror
    }

    pub(crate) fn host(&self) -> &str {
        &self.server.authority
    }

    pub(crate) fn give_up(&self) {
        self.down.store(true, Ordering::Relaxed);
    }
}

/// A request in the making.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) target: Target<'a>,
    pub(crate) headers: HeaderMap,
    pub(crate) scopes: Vec<String>,
    /// Makes the body anew for each try; `None`: no body, redirects are followed.
    pub(crate) body: Option<&'a (dyn Fn() -> Body + Send + Sync)>,
}

/// Where a request goes.
pub(crate) enum Target<'a> {
    /// Below `/v2/<name>/` of the server.
    Path(&'a str),
    /// Anywhere, with credentials only if it is the server.
    Uri(Uri),
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("domain", &self.domain)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Repository {
    pub(crate) fn new(
        client: Client,
        domain: &str,
        path: &str,
        familiar: String,
        auth: AuthSource,
    ) -> Result<Self> {
        let servers = client.shared.registries.servers(domain)?;
        let endpoints = servers
            .into_iter()
            .map(|server| Endpoint {
                server,
                user: OnceCell::new(),
                down: AtomicBool::new(false),
            })
            .collect();
        Ok(Self {
            client,
            domain: domain.to_owned(),
            path: path.to_owned(),
            familiar,
            endpoints,
            auth,
        })
    }

    /// The registry: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The short name of the whole: `busybox`, `localhost:5000/app`.
    pub fn familiar(&self) -> &str {
        &self.familiar
    }

    /// Where to fetch from, in order.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .iter()
            .filter(|e| !e.is_mirror() || !e.down.load(Ordering::Relaxed))
    }

    /// Where to send to.
    pub(crate) fn registry(&self) -> Result<&Endpoint> {
        self.endpoints
            .last()
            .ok_or_else(|| Error::config(format!("no server for {:?}", self.domain)))
    }

    /// What a token for these actions covers.
    pub(crate) fn scope(&self, actions: &str) -> Vec<String> {
        vec![format!("repository:{}:{actions}", self.path)]
    }

    /// Sends a request with the authentication that the server wants.
    pub(crate) async fn call(&self, at: &Endpoint, call: Call<'_>) -> Result<Answer> {
        let base = self.client.base(&at.server).await?;
        let result = self.call_at(at, &base, call).await;
        if let Err(
            Error::Connect { .. }
            | Error::Tls { .. }
            | Error::Disconnected { .. }
            | Error::Protocol { .. },
        ) = &result
        {
            self.client.forget(&at.server, &base);
        }
        result
    }

    async fn call_at(&self, at: &Endpoint, base: &Uri, call: Call<'_>) -> Result<Answer> {
        let shared = &self.client.shared;
        let uri = match call.target {
            Target::Path(path) => endpoint(base, &format!("{}/{path}", self.path))?,
            Target::Uri(uri) => uri,
        };
        let trusted = location::same_origin(base, &uri);
        let find = || {
            self.auth
                .find(&at.server.credentials_key, at.server.is_mirror)
        };
        let user = if trusted {
            at.user.get_or_try_init(find).await?.as_ref()
        } else {
            None
        };
        let purpose = Purpose {
            base,
            scopes: &call.scopes,
            user,
        };
        let mut authorization = if trusted {
            shared
                .authorizer
                .header(&shared.transport, &purpose)
                .await?
        } else {
            None
        };
        for retry in [true, false] {
            let mut headers = call.headers.clone();
            if let Some(value) = &authorization {
                headers.insert(header::AUTHORIZATION, value.clone());
            }
            let transport = &shared.transport;
            let answer = match call.body {
                None if call.method == Method::GET || call.method == Method::HEAD => {
                    transport.fetch(call.method.clone(), &uri, headers).await?
                }
                None => {
                    transport
                        .send(call.method.clone(), &uri, &headers, empty())
                        .await?
                }
                Some(body) => {
                    transport
                        .send(call.method.clone(), &uri, &headers, body())
                        .await?
                }
            };
            let refused = answer.status == StatusCode::UNAUTHORIZED && !answer.from_elsewhere;
            if !refused || !trusted || !retry {
                return Ok(answer);
            }
            let challenges = challenge::parse(&answer.headers);
            let next = shared
                .authorizer
                .retry(transport, &purpose, challenges, authorization.as_ref())
                .await?;
            if next.is_none() {
                return Ok(answer);
            }
            answer.discard().await;
            authorization = next;
        }
        Err(Error::protocol(at.host(), "authentication does not end"))
    }

    /// The error for an answer that is no success, in the words of a pull or push.
    pub(crate) async fn refused(&self, action: &'static str, answer: Answer) -> Error {
        let host = answer.host.clone();
        let insufficient = challenge::parse(&answer.headers).iter().any(|challenge| {
            matches!(challenge, challenge::Challenge::Bearer(bearer) if bearer.error.as_deref()
                == Some("insufficient_scope"))
        });
        let elsewhere = answer.from_elsewhere;
        let refusal = answer.refusal().await;
        if elsewhere && matches!(refusal.status.as_u16(), 401 | 403) {
            let Refusal {
                status,
                reason,
                retry_after,
                ..
            } = refusal;
            return Error::Registry {
                host,
                status,
                reason,
                retry_after,
            };
        }
        let denied = |reason: String| Error::Denied {
            action,
            repository: self.familiar.clone(),
            reason,
        };
        match refusal.status {
            StatusCode::UNAUTHORIZED if insufficient || refusal.has_code("DENIED") => {
                denied("denied: requested access to the resource is denied".into())
            }
            StatusCode::FORBIDDEN => denied(refusal.reason),
            _ if refusal.has_code("NAME_UNKNOWN") => Error::RepositoryNotFound {
                repository: self.familiar.clone(),
                reason: refusal.reason,
            },
            _ => refusal.into_error(&host),
        }
    }
}

/// Counts the tries of one request.
pub(crate) struct Tries<'a> {
    client: &'a Client,
    made: u32,
}

impl<'a> Tries<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, made: 0 }
    }

    /// How long to wait before the next try; the error itself when there is none.
    ///
    /// `eager` requests are those that somebody waits for at the keyboard: a server that isn't
    /// there is told at once.
    pub(crate) fn again(&mut self, error: Error, eager: bool) -> Result<Duration> {
        self.made += 1;
        let absent = matches!(
            error,
            Error::Connect { .. }
                | Error::Timeout {
                    doing: "connecting",
                    ..
                }
        );
        if eager && (absent || self.made >= 3) {
            return Err(error);
        }
        let policy = &self.client.shared.retry;
        match policy.wait(self.made, &error) {
            None => Err(error),
            Some(wait) => {
                tracing::info!(%error, ?wait, "trying again");
                Ok(wait)
            }
        }
    }

    /// Something was achieved: begin counting anew.
    pub(crate) fn progressed(&mut self) {
        self.made = 0;
    }
}

/// A header value made of ASCII text.
pub(crate) fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::config(format!("invalid header {text:?}")))
}
