//! Authentication: what to answer to a registry's challenge.

pub(crate) mod basic;
pub(crate) mod challenge;
pub(crate) mod credentials;
pub(crate) mod token;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use http::HeaderValue;
use http::Uri;

use self::challenge::Challenge;
use self::credentials::Credentials;
use self::token::TokenCache;
use self::token::TokenKey;
use crate::docker_config::DockerConfig;
use crate::error::Error;
use crate::error::Result;
use crate::transport::Transport;

/// Registries whose challenge is remembered.
const KEPT: usize = 256;

/// Where the credentials for a registry come from.
#[derive(Debug, Clone, Default)]
pub enum AuthSource {
    /// Nowhere.
    #[default]
    Anonymous,
    /// These, for the registry itself. Mirrors never see them.
    Given(Credentials),
    /// Docker's configuration and its credential helpers, asked for each server by its name.
    Config(Arc<DockerConfig>),
}

impl From<Option<Credentials>> for AuthSource {
    fn from(credentials: Option<Credentials>) -> Self {
        credentials.map_or(Self::Anonymous, Self::Given)
    }
}

impl AuthSource {
    pub(crate) async fn find(&self, server: &str, is_mirror: bool) -> Result<Option<Credentials>> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Given(_) if is_mirror => Ok(None),
            Self::Given(credentials) => Ok(Some(credentials.clone()).filter(|c| !c.is_empty())),
            Self::Config(config) => config.credentials(server).await,
        }
    }
}

/// What is known of how registries want to be answered, for all users.
#[derive(Default)]
pub(crate) struct Authorizer {
    challenges: Mutex<HashMap<String, Challenge>>,
    tokens: TokenCache,
}

/// What an `Authorization` header is for.
pub(crate) struct Purpose<'a> {
    /// The server, `scheme://authority/prefix`.
    pub(crate) base: &'a Uri,
    pub(crate) scopes: &'a [String],
    pub(crate) user: Option<&'a Credentials>,
}

impl Authorizer {
    /// The header to begin with: none until a challenge is known.
    pub(crate) async fn header(
        &self,
        transport: &Transport,
        purpose: &Purpose<'_>,
    ) -> Result<Option<HeaderValue>> {
        if let Some(user) = purpose.user.filter(|user| !user.registry_token.is_empty()) {
            return basic::bearer(&user.registry_token).map(Some);
        }
        let known = {
            let all = self
                .challenges
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            all.get(&purpose.base.to_string()).cloned()
        };
        match known {
            None => Ok(None),
            Some(challenge) => self.answer(transport, purpose, &challenge, None).await,
        }
    }

    /// The header to try after `refused` brought a 401 with `challenges`; `None`: there is nothing
    /// better to try.
    pub(crate) async fn retry(
        &self,
        transport: &Transport,
        purpose: &Purpose<'_>,
        challenges: Vec<Challenge>,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        if purpose
            .user
            .is_some_and(|user| !user.registry_token.is_empty())
        {
            return Ok(None);
        }
        let bearer = challenges
            .iter()
            .position(|c| matches!(c, Challenge::Bearer(_)));
        let Some(challenge) = challenges.into_iter().nth(bearer.unwrap_or(0)) else {
            return Ok(None);
        };
        self.remember(purpose.base, &challenge);
        if challenge == Challenge::Basic && purpose.user.is_none_or(|u| u.username.is_empty()) {
            return Err(Error::Unauthorized {
                reason: "no basic auth credentials".into(),
            });
        }
        self.answer(transport, purpose, &challenge, refused).await
    }

    /// Keeps a challenge for the next request to the same server.
    pub(crate) fn remember(&self, base: &Uri, challenge: &Challenge) {
        let mut challenge = challenge.clone();
        if let Challenge::Bearer(bearer) = &mut challenge {
            bearer.scopes.clear();
            bearer.error = None;
        }
        let mut all = self
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(base.to_string(), challenge);
    }

    async fn answer(
        &self,
        transport: &Transport,
        purpose: &Purpose<'_>,
        challenge: &Challenge,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let bearer = match challenge {
            Challenge::Basic => {
                let Some(user) = purpose.user.filter(|user| !user.username.is_empty()) else {
                    return Ok(None);
                };
                let header = basic::basic(user)?;
                return Ok(Some(header).filter(|header| Some(header) != refused));
            }
            Challenge::Bearer(bearer) => bearer,
        };
        let mut scopes = purpose.scopes.to_vec();
        for scope in &bearer.scopes {
            if !covered(&scopes, scope) {
                scopes.push(scope.clone());
            }
        }
        let key = TokenKey::new(bearer, &scopes, purpose.user);
        if let Some(header) = self.tokens.get(&key) {
            if Some(&header) != refused {
                return Ok(Some(header));
            }
            self.tokens.forget(&key);
        }
        let token = token::fetch(
            transport,
            bearer,
            &scopes,
            purpose.user,
            purpose.base,
            false,
        )
        .await?;
        let header = token.header.clone();
        self.tokens.put(key, &token);
        Ok(Some(header))
    }

    /// Drops what was learnt of a server that no longer answers as it did.
    pub(crate) fn forget(&self, base: &Uri) {
        let mut all = self
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.remove(&base.to_string());
    }
}

/// Whether `scope` (`type:name:action,…`) asks for nothing beyond one of `scopes`.
fn covered(scopes: &[String], scope: &str) -> bool {
    let split = |scope: &str| {
        let (resource, actions) = scope.rsplit_once(':')?;
        let actions: Vec<String> = actions.split(',').map(str::to_owned).collect();
        Some((resource.to_owned(), actions))
    };
    let Some((resource, actions)) = split(scope) else {
        return scopes.iter().any(|own| own == scope);
    };
    scopes
        .iter()
        .filter_map(|own| split(own))
        .any(|(own, have)| own == resource && actions.iter().all(|action| have.contains(action)))
}

/// Checks credentials and gets an identity token where the registry gives them out.
pub(crate) async fn identity_token(
    transport: &Transport,
    challenge: &challenge::Bearer,
    base: &Uri,
    user: &Credentials,
) -> Result<(HeaderValue, Option<String>)> {
    let scopes = challenge.scopes.clone();
    let token = token::fetch(transport, challenge, &scopes, Some(user), base, true).await?;
    Ok((token.header, token.refresh))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_cover() {
        let own = [
            "repository:a/b:pull,push".to_owned(),
            "registry:catalog:*".to_owned(),
        ];
        assert!(covered(&own, "repository:a/b:pull"));
        assert!(covered(&own, "repository:a/b:push,pull"));
        assert!(covered(&own, "registry:catalog:*"));
        assert!(!covered(&own, "repository:a/b:delete"));
        assert!(!covered(&own, "repository:a/c:pull"));
        assert!(!covered(&own, "odd"));
    }
}
