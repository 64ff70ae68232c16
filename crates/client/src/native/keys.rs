//! Keys to the API.

use coracle_native::key::{Key, KeyCreate, KeyCreated};

use super::{Native, named, path};
use crate::error::Result;

impl Native<'_> {
    /// Lists keys, without their secrets.
    pub async fn keys(&self) -> Result<Vec<Key>> {
        self.all(&path("/keys")).await
    }

    /// Makes one. Its secret is in this answer and never again.
    pub async fn create_key(&self, key: &KeyCreate) -> Result<KeyCreated> {
        self.post(&path("/keys"), key).await
    }

    /// Revokes one, by its id.
    pub async fn revoke_key(&self, id: &str) -> Result<()> {
        self.delete(&named("/keys/", id, "")).await
    }
}
