//! The client of all registries: connections, tokens and what was learnt of each server.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use coracle_oci::Reference;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::Uri;
use http::header;
use http::uri::Scheme;

use crate::auth;
use crate::auth::AuthSource;
use crate::auth::Authorizer;
use crate::auth::basic;
use crate::auth::challenge;
use crate::auth::challenge::Challenge;
use crate::auth::credentials::Credentials;
use crate::error::Error;
use crate::error::Result;
use crate::hosts::RegistriesConfig;
use crate::hosts::Server;
use crate::location;
use crate::repository::Repository;
use crate::retry::RetryPolicy;
use crate::transport::Timeouts;
use crate::transport::Transport;

/// Servers whose scheme is remembered.
const KEPT: usize = 256;

/// Talks to registries. Cheap to clone; clones share connections, tokens and everything learnt.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) registries: Arc<RegistriesConfig>,
    pub(crate) transport: Transport,
    pub(crate) authorizer: Authorizer,
    pub(crate) retry: RetryPolicy,
    schemes: Mutex<HashMap<String, Scheme>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("registries", &self.shared.registries)
            .finish_non_exhaustive()
    }
}

/// What a successful login gives.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LoginStatus {
    /// Keep this instead of the password, if there is one.
    pub identity_token: Option<String>,
}

impl std::fmt::Debug for LoginStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginStatus")
            .field("identity_token", &self.identity_token.is_some())
            .finish()
    }
}

impl Client {
    /// A client with the usual patience.
    pub fn new(registries: RegistriesConfig) -> Self {
        Self::with_limits(registries, Timeouts::default(), RetryPolicy::default())
    }

    /// A client that waits and retries as told.
    pub fn with_limits(
        registries: RegistriesConfig,
        timeouts: Timeouts,
        retry: RetryPolicy,
    ) -> Self {
        let registries = Arc::new(registries);
        Self {
            shared: Arc::new(Shared {
                transport: Transport::new(registries.clone(), timeouts),
                registries,
                authorizer: Authorizer::default(),
                retry,
                schemes: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// The repository that `reference` is in, as `auth` may see it.
    pub fn repository(&self, reference: &Reference, auth: AuthSource) -> Result<Repository> {
        Repository::new(
            self.clone(),
            reference.domain(),
            reference.path(),
            reference.familiar_name(),
            auth,
        )
    }

    /// Checks that `registry` (`docker.io`, `host[:port]`; a URL is taken for its host) accepts
    /// the credentials, and gets an identity token if it gives them out.
    pub async fn login(&self, registry: &str, credentials: &Credentials) -> Result<LoginStatus> {
        let registry = registry_domain(registry);
        let servers = self.shared.registries.servers(registry)?;
        let Some(server) = servers.last() else {
            return Err(Error::config(format!("no server for {registry:?}")));
        };
        let base = self.base(server).await?;
        let uri = endpoint(&base, "")?;
        let transport = &self.shared.transport;
        let open = transport.fetch(Method::GET, &uri, HeaderMap::new()).await?;
        if open.status.is_success() {
            return Ok(LoginStatus::default());
        }
        let challenges = challenge::parse(&open.headers);
        if open.status != StatusCode::UNAUTHORIZED {
            return Err(open.refusal().await.into_error(&location::host(&uri)));
        }
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer(bearer) => Some(bearer),
            Challenge::Basic => None,
        });
        open.discard().await;
        let (header, identity_token) = match bearer {
            Some(bearer) => auth::identity_token(transport, bearer, &base, credentials).await?,
            None if challenges.is_empty() => {
                let host = location::host(&uri);
                return Err(Error::protocol(
                    &host,
                    "no supported authentication is offered",
                ));
            }
            None => (basic::basic(credentials)?, None),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, header);
        let answer = transport.fetch(Method::GET, &uri, headers).await?;
        if answer.status.is_success() {
            return Ok(LoginStatus { identity_token });
        }
        Err(answer.refusal().await.into_error(&location::host(&uri)))
    }

    /// `scheme://authority/prefix/` of a server, after finding out which scheme it speaks.
    pub(crate) async fn base(&self, server: &Server) -> Result<Uri> {
        let scheme = match &server.scheme {
            Some(scheme) => scheme.clone(),
            None => self.scheme(server).await?,
        };
        base_uri(&scheme, server)
    }

    async fn scheme(&self, server: &Server) -> Result<Scheme> {
        {
            let known = self
                .shared
                .schemes
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(scheme) = known.get(&server.authority) {
                return Ok(scheme.clone());
            }
        }
        let (registries, authority) = (self.shared.registries.clone(), server.authority.clone());
        let insecure = tokio::task::spawn_blocking(move || registries.is_insecure(&authority))
            .await
            .unwrap_or(false);
        if !insecure {
            return Ok(Scheme::HTTPS);
        }
        // As dockerd does: HTTPS first, plain HTTP if that doesn't work.
        let scheme = match self.ping(&Scheme::HTTPS, server).await {
            Ok(()) => Scheme::HTTPS,
            Err(secure) => match self.ping(&Scheme::HTTP, server).await {
                Ok(()) => Scheme::HTTP,
                Err(plain @ Error::Connect { .. }) => return Err(plain),
                Err(_) => return Err(secure),
            },
        };
        let mut known = self
            .shared
            .schemes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(server.authority.clone(), scheme.clone());
        Ok(scheme)
    }

    async fn ping(&self, scheme: &Scheme, server: &Server) -> Result<()> {
        let base = base_uri(scheme, server)?;
        let uri = endpoint(&base, "")?;
        let transport = &self.shared.transport;
        let answer = transport.fetch(Method::GET, &uri, HeaderMap::new()).await?;
        if answer.status == StatusCode::UNAUTHORIZED
            && !answer.from_elsewhere
            && let Some(challenge) = challenge::parse(&answer.headers).first()
        {
            self.shared.authorizer.remember(&base, challenge);
        }
        // Go's server answers so when TLS was wanted.
        let tls_wanted = answer.status == StatusCode::BAD_REQUEST && *scheme == Scheme::HTTP;
        answer.discard().await;
        if tls_wanted {
            return Err(Error::protocol(
                &server.authority,
                "not a plain HTTP server",
            ));
        }
        Ok(())
    }

    /// Drops what was learnt of a server that no longer answers as it did.
    pub(crate) fn forget(&self, server: &Server, base: &Uri) {
        let mut known = self
            .shared
            .schemes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.remove(&server.authority);
        drop(known);
        self.shared.authorizer.forget(base);
    }
}

fn base_uri(scheme: &Scheme, server: &Server) -> Result<Uri> {
    format!("{scheme}://{}{}/", server.authority, server.prefix)
        .parse()
        .map_err(|_| Error::config(format!("invalid registry {:?}", server.authority)))
}

/// `<base>/v2/<path>`.
pub(crate) fn endpoint(base: &Uri, path: &str) -> Result<Uri> {
    let base = base.to_string();
    format!("{}/v2/{path}", base.trim_end_matches('/'))
        .parse()
        .map_err(|_| Error::config(format!("invalid registry path {path:?}")))
}

/// The domain in what users and Docker's clients give as a registry's address.
fn registry_domain(address: &str) -> &str {
    let bare = address
        .strip_prefix("https://")
        .or(address.strip_prefix("http://"));
    let host = bare
        .unwrap_or(address)
        .split('/')
        .next()
        .unwrap_or_default();
    match host {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, domain) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("http://localhost:5000/v2/", "localhost:5000"),
        ] {
            assert_eq!(registry_domain(address), domain);
        }
    }

    #[test]
    fn tokens_stay_hidden() {
        let status = LoginStatus {
            identity_token: Some("hidden".into()),
        };
        assert!(!format!("{status:?}").contains("hidden"));
    }
}
