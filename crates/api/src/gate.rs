//! Who may ask for what: keys, client certificates, and how many requests one address may make.
//!
//! A unix socket's permissions say who may connect, and whoever may is an administrator. Over TCP, a
//! verified client certificate is as good; anybody else needs a key once there are keys.

use std::net::IpAddr;
use std::time::Duration;

use coracle_native::key::Scope;
use http::{HeaderMap, Method, StatusCode, header};

use crate::connection::Context;
use crate::keys::Keys;
use crate::limits::Rates;
use crate::listener::Peer;
use crate::native;

/// Why a request does not get to its route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// With 429.
    pub(crate) retry_after: Option<Duration>,
}

impl Refused {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            retry_after: None,
        }
    }
}

/// Lets a request through, or not.
pub(crate) fn pass(
    keys: &std::sync::Arc<Keys>,
    rates: &Rates,
    context: &Context,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), Refused> {
    let (address, verified) = match &*context.peer {
        Peer::Unix { .. } => return Ok(()),
        Peer::Tcp(address) => (address.ip(), false),
        Peer::Tls { address, client } => (address.ip(), client.is_some()),
    };
    within_rate(rates, address)?;
    if verified || !keys.are_configured() {
        return Ok(());
    }
    let Some(secret) = bearer(headers) else {
        return Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "this daemon wants a key (Authorization: Bearer …) or a client certificate",
        ));
    };
    let Some((id, scope)) = keys.check(secret) else {
        return Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the key is not known, or was revoked, or has expired",
        ));
    };
    let needed = needed(method, path);
    if scope < needed {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!(
                "this needs a key with scope {}, and this one has {}",
                needed.as_str(),
                scope.as_str()
            ),
        ));
    }
    context.came_with(keys, &id);
    Ok(())
}

fn within_rate(rates: &Rates, address: IpAddr) -> Result<(), Refused> {
    rates.take(address).map_err(|wait| Refused {
        retry_after: Some(wait),
        ..Refused::new(
            StatusCode::TOO_MANY_REQUESTS,
            "tooManyRequests",
            "too many requests from this address: wait a moment",
        )
    })
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What a request needs.
fn needed(method: &Method, path: &str) -> Scope {
    let below = |route: &str| {
        let rest = path
            .strip_prefix(native::PREFIX)
            .and_then(|rest| rest.strip_prefix(route));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if below("/keys") {
        return Scope::Admin;
    }
    let looks = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    // A WebSocket writes to the container.
    if looks && !path.ends_with("/attach/ws") {
        Scope::Read
    } else {
        Scope::Write
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_needs() {
        for (method, path, scope) in [
            (Method::GET, "/v1.47/containers/json", Scope::Read),
            (Method::HEAD, "/_ping", Scope::Read),
            (Method::POST, "/containers/create", Scope::Write),
            (Method::GET, "/v1.24/containers/a/attach/ws", Scope::Write),
            (Method::GET, "/api/v1/containers", Scope::Read),
            (Method::PATCH, "/api/v1/containers/a", Scope::Write),
            (Method::GET, "/api/v1/keys", Scope::Admin),
            (Method::DELETE, "/api/v1/keys/a", Scope::Admin),
            (Method::GET, "/api/v1/keyset", Scope::Read),
        ] {
            assert_eq!(needed(&method, path), scope, "{method} {path}");
        }
    }

    #[test]
    fn tokens_are_read() {
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            headers
        };
        assert_eq!(bearer(&headers("Bearer a")), Some("a"));
        assert_eq!(bearer(&headers("bearer  a")), Some("a"));
        assert_eq!(bearer(&headers("Basic a")), None);
        assert_eq!(bearer(&headers("Bearer")), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
