//! Access tokens (Docker's token authentication specification, `jwt` and `oauth` pages).

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::Uri;
use http::header;
use serde::Deserialize;

use super::basic;
use super::challenge::Bearer;
use super::credentials::Credentials;
use crate::answer::Answer;
use crate::error::Error;
use crate::error::Result;
use crate::location;
use crate::transport::Transport;
use crate::transport::full;

/// How the token server knows us.
const CLIENT_ID: &str = "coracle";
const ANSWER_BYTES: usize = 256 << 10;
/// Tokens that are kept.
const KEPT: usize = 256;
/// Tokens are good for at least so long, and that when nothing is said (the specification's).
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// A token is no longer used so long before its end.
const MARGIN: Duration = Duration::from_secs(10);

/// What a token is for, and whose it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    realm: String,
    service: String,
    scopes: Vec<String>,
    user: Option<[u8; 32]>,
}

impl TokenKey {
    pub(crate) fn new(bearer: &Bearer, scopes: &[String], user: Option<&Credentials>) -> Self {
        let mut scopes = scopes.to_vec();
        scopes.sort();
        Self {
            realm: bearer.realm.clone(),
            service: bearer.service.clone().unwrap_or_default(),
            scopes,
            user: user.map(Credentials::fingerprint),
        }
    }
}

/// The tokens that are still good.
#[derive(Default)]
pub(crate) struct TokenCache(Mutex<HashMap<TokenKey, (HeaderValue, Instant)>>);

impl TokenCache {
    pub(crate) fn get(&self, key: &TokenKey) -> Option<HeaderValue> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, end) = all.get(key)?;
        if *end > Instant::now() {
            return Some(value.clone());
        }
        all.remove(key);
        None
    }

    pub(crate) fn put(&self, key: TokenKey, token: &Token) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            let now = Instant::now();
            all.retain(|_, (_, end)| *end > now);
            if all.len() >= KEPT {
                all.clear();
            }
        }
        let good_for = token.lifetime.saturating_sub(MARGIN);
        all.insert(key, (token.header.clone(), Instant::now() + good_for));
    }

    /// Forgets a token that the registry refused.
    pub(crate) fn forget(&self, key: &TokenKey) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// An access token.
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) lifetime: Duration,
    /// Given to who logs in.
    pub(crate) refresh: Option<String>,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

/// Gets a token that covers `scopes`. With `offline`, asks for an identity token too.
pub(crate) async fn fetch(
    transport: &Transport,
    bearer: &Bearer,
    scopes: &[String],
    user: Option<&Credentials>,
    registry: &Uri,
    offline: bool,
) -> Result<Token> {
    let realm = location::absolute(&bearer.realm).map_err(|reason| {
        Error::protocol(
            &location::host(registry),
            format!("the token realm is {reason}"),
        )
    })?;
    // The realm gets the user's password: never in the clear when the registry itself is not.
    transport.refuse_downgrade(registry, &realm).await?;
    let answer = match user {
        Some(user) if !user.identity_token.is_empty() => {
            refresh(transport, &realm, bearer, scopes, user).await?
        }
        _ => get(transport, &realm, bearer, scopes, user, offline).await?,
    };
    read(answer).await
}

/// `GET realm?service=…&scope=…`, with basic authentication if there is a user.
async fn get(
    transport: &Transport,
    realm: &Uri,
    bearer: &Bearer,
    scopes: &[String],
    user: Option<&Credentials>,
    offline: bool,
) -> Result<Answer> {
    let mut query: Vec<(&str, &str)> = Vec::new();
    let mut headers = HeaderMap::new();
    if let Some(service) = &bearer.service {
        query.push(("service", service));
    }
    query.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
    if offline {
        query.push(("offline_token", "true"));
        query.push(("client_id", CLIENT_ID));
    }
    if let Some(user) = user.filter(|user| !user.username.is_empty()) {
        query.push(("account", &user.username));
        headers.insert(header::AUTHORIZATION, basic::basic(user)?);
    }
    let uri = location::with_query(realm, &query)
        .map_err(|reason| Error::protocol(&location::host(realm), reason))?;
    transport.fetch(Method::GET, &uri, headers).await
}

/// `POST realm` with a refresh token (RFC 6749 section 6). Redirects are not followed: the secret
/// is in the body.
async fn refresh(
    transport: &Transport,
    realm: &Uri,
    bearer: &Bearer,
    scopes: &[String],
    user: &Credentials,
) -> Result<Answer> {
    let mut form = String::from("grant_type=refresh_token");
    for (name, value) in [
        ("service", bearer.service.as_deref().unwrap_or_default()),
        ("scope", &scopes.join(" ")),
        ("client_id", CLIENT_ID),
        ("refresh_token", &user.identity_token),
    ] {
        form.push('&');
        form.push_str(name);
        form.push('=');
        location::encode(&mut form, value);
    }
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    transport
        .send(Method::POST, realm, &headers, full(form))
        .await
}

async fn read(answer: Answer) -> Result<Token> {
    let host = answer.host.clone();
    if answer.status != StatusCode::OK {
        let status = answer.status;
        let refusal = answer.refusal().await;
        return Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                Error::Unauthorized {
                    reason: refusal.reason,
                }
            }
            _ => refusal.into_error(&host),
        });
    }
    let bytes = answer.bytes("token", ANSWER_BYTES).await?;
    // The parser's own message could quote a token.
    let reply: Reply = serde_json::from_slice(&bytes)
        .map_err(|_| Error::protocol(&host, "the token server's answer is not valid"))?;
    let text = [reply.token, reply.access_token]
        .into_iter()
        .flatten()
        .find(|token| !token.is_empty())
        .ok_or_else(|| Error::protocol(&host, "the token server's answer has no token"))?;
    let seconds = reply
        .expires_in
        .filter(|s| s.is_finite() && *s > 0.0)
        .unwrap_or(0.0);
    let lifetime = Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())).max(SHORTEST);
    Ok(Token {
        header: basic::bearer(&text)?,
        lifetime,
        refresh: reply.refresh_token.filter(|token| !token.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_tells_users_and_scopes_apart() {
        let bearer = Bearer {
            realm: "https://t/".into(),
            ..Bearer::default()
        };
        let me = Credentials::basic("me", "a");
        let you = Credentials::basic("me", "b");
        let scopes = [
            "repository:a:pull".to_owned(),
            "repository:b:pull".to_owned(),
        ];
        let swapped = [scopes[1].clone(), scopes[0].clone()];
        let cache = TokenCache::default();
        let token = Token {
            header: HeaderValue::from_static("Bearer x"),
            lifetime: SHORTEST,
            refresh: None,
        };
        cache.put(TokenKey::new(&bearer, &scopes, Some(&me)), &token);
        assert!(
            cache
                .get(&TokenKey::new(&bearer, &swapped, Some(&me)))
                .is_some()
        );
        assert!(
            cache
                .get(&TokenKey::new(&bearer, &scopes, Some(&you)))
                .is_none()
        );
        assert!(cache.get(&TokenKey::new(&bearer, &scopes, None)).is_none());
        assert!(
            cache
                .get(&TokenKey::new(&bearer, &scopes[..1], Some(&me)))
                .is_none()
        );
        let ended = Token {
            lifetime: Duration::ZERO,
            ..token
        };
        cache.put(TokenKey::new(&bearer, &scopes, Some(&me)), &ended);
        assert!(
            cache
                .get(&TokenKey::new(&bearer, &scopes, Some(&me)))
                .is_none()
        );
    }
}
