//! Secrets and configs.

use coracle_docker::secret::{SecretCreated, SecretInspect, SecretSpecBody};
use http::Method;

use crate::client::Client;
use crate::error::Result;
use crate::query::{Filters, Query};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// Values that are never shown.
    Secret,
    /// Values that are.
    Config,
}

impl SecretKind {
    const fn path(self) -> &'static str {
        match self {
            Self::Secret => "/secrets",
            Self::Config => "/configs",
        }
    }

    fn named(self, name: &str, rest: &'static str) -> Query {
        match self {
            Self::Secret => Query::named("/secrets/", name, rest),
            Self::Config => Query::named("/configs/", name, rest),
        }
    }
}

impl Client {
    /// Lists secrets or configs.
    pub async fn list_secrets(
        &self,
        kind: SecretKind,
        filters: &Filters,
    ) -> Result<Vec<SecretInspect>> {
        self.get(&Query::new(kind.path()).filters(filters)).await
    }

    /// Makes one; gives its id.
    pub async fn create_secret(&self, kind: SecretKind, spec: &SecretSpecBody) -> Result<String> {
        let path = match kind {
            SecretKind::Secret => "/secrets/create",
            SecretKind::Config => "/configs/create",
        };
        let created: SecretCreated = self.post_json(&Query::new(path), spec).await?;
        Ok(created.id)
    }

    /// Removes one.
    pub async fn remove_secret(&self, kind: SecretKind, name: &str) -> Result<()> {
        let query = kind.named(name, "");
        self.bytes(Method::DELETE, &query).await.map(drop)
    }
}
