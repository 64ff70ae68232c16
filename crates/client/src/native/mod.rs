//! The native API: typed requests, and streams that say how they ended.

mod containers;
mod kernels;
mod keys;
mod objects;
mod secrets;
mod stream;

pub use stream::Stream;

use coracle_native::Page;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::Result;
use crate::query::Query;

/// The native API of a daemon: what [`Client::native`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Native<'a> {
    client: &'a Client,
}

impl Client {
    /// The daemon's native API.
    pub fn native(&self) -> Native<'_> {
        Native { client: self }
    }
}

/// A path below `/api/v1` with a name in it.
fn named(before: &str, name: &str, after: &str) -> Query {
    // Slashes of names are no separators here.
    Query::component(&format!("/api/v1{before}"), name, after)
}

fn path(path: &str) -> Query {
    Query::new(&format!("/api/v1{path}"))
}

impl Native<'_> {
    async fn get<T: DeserializeOwned>(&self, query: &Query) -> Result<T> {
        self.client.get(query).await
    }

    async fn post<B: Serialize, T: DeserializeOwned>(&self, query: &Query, body: &B) -> Result<T> {
        self.client.post_json(query, body).await
    }

    /// A `POST` whose answer says nothing but that it was done.
    async fn act<B: Serialize>(&self, query: &Query, body: &B) -> Result<()> {
        self.client.post_body(query, body).await.map(drop)
    }

    /// A change, whose answer says nothing but that it was done.
    async fn patch<B: Serialize>(&self, query: &Query, body: &B) -> Result<()> {
        self.client.patch_body(query, body).await.map(drop)
    }

    async fn delete(&self, query: &Query) -> Result<()> {
        self.client.bytes(Method::DELETE, query).await.map(drop)
    }

    /// All items of a list, page after page.
    async fn all<T: DeserializeOwned>(&self, query: &Query) -> Result<Vec<T>> {
        let mut items = Vec::new();
        let mut cursor = None;
        loop {
            let page = query.clone().add("limit", "1000");
            let page = match &cursor {
                Some(cursor) => page.add("cursor", cursor),
                None => page,
            };
            let page: Page<T> = self.get(&page).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }
}
