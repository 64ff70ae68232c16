//! Listings: the tags of a repository and the repositories of a registry.

use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::header;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auth::AuthSource;
use crate::client::Client;
use crate::client::endpoint;
use crate::error::Error;
use crate::error::Result;
use crate::location;
use crate::repository::Call;
use crate::repository::Endpoint;
use crate::repository::Repository;
use crate::repository::Target;

const PAGE_BYTES: usize = 4 << 20;
/// Pages that are followed, and entries in all: more is a loop or malice.
const PAGES: usize = 1000;
const ENTRIES: usize = 1_000_000;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl Repository {
    /// All tags, in the registry's order; of the first source that has the repository.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let mut last = None;
        for at in self.sources() {
            let entries = |page: Tags| page.tags.unwrap_or_default();
            match self
                .pages(at, "tags/list", self.scope("pull"), entries)
                .await
            {
                Ok(tags) => return Ok(tags),
                Err(error) => last = Some(self.next_source(at, error)?),
            }
        }
        Err(last.unwrap_or_else(|| Error::config("no server to ask")))
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        at: &Endpoint,
        path: &str,
        scopes: Vec<String>,
        entries: impl Fn(T) -> Vec<String>,
    ) -> Result<Vec<String>> {
        let base = self.client.base(&at.server).await?;
        let mut uri = if path.starts_with('_') {
            endpoint(&base, path)?
        } else {
            endpoint(&base, &format!("{}/{path}", self.path()))?
        };
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let call = Call {
                method: Method::GET,
                target: Target::Uri(uri.clone()),
                headers: HeaderMap::new(),
                scopes: scopes.clone(),
                body: None,
            };
            let answer = self.call(at, call).await?;
            if answer.status != StatusCode::OK {
                return Err(self.refused("pull", answer).await);
            }
            let next = answer
                .header(header::LINK)
                .and_then(next_link)
                .map(str::to_owned);
            let bytes = answer.bytes("list", PAGE_BYTES).await?;
            let page: T = serde_json::from_slice(&bytes)
                .map_err(|error| Error::protocol(at.host(), format!("invalid list: {error}")))?;
            all.extend(entries(page));
            if all.len() > ENTRIES {
                break;
            }
            let Some(next) = next else { return Ok(all) };
            let next = location::resolve(&uri, &next).map_err(|reason| {
                Error::protocol(at.host(), format!("the Link header is {reason}"))
            })?;
            if !location::same_origin(&base, &next) {
                return Err(Error::protocol(
                    at.host(),
                    "the Link header leads elsewhere",
                ));
            }
            uri = next;
        }
        Err(Error::protocol(at.host(), "the list does not end"))
    }
}

impl Client {
    /// The repositories of a registry, where it lists them.
    pub async fn catalog(&self, domain: &str, auth: AuthSource) -> Result<Vec<String>> {
        let root = Repository::new(self.clone(), domain, "", domain.to_owned(), auth)?;
        let scopes = vec!["registry:catalog:*".to_owned()];
        let entries = |page: Catalog| page.repositories.unwrap_or_default();
        root.pages(root.registry()?, "_catalog", scopes, entries)
            .await
    }
}

/// The target of `<target>; rel="next"` (RFC 8288).
fn next_link(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let rel = parameters.replace([' ', '"'], "").to_ascii_lowercase();
    rel.split(';')
        .any(|parameter| parameter == "rel=next")
        .then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        assert_eq!(
            next_link(r#"</v2/_catalog?last=b&n=2>; rel="next""#),
            Some("/v2/_catalog?last=b&n=2")
        );
        for none in ["", "<", "</x>; rel=\"prev\"", "/x; rel=next"] {
            assert_eq!(next_link(none), None, "{none}");
        }
    }
}
