//! Secrets and configs.

use coracle_native::secret::{Config, Made, Relabel, Rotated, Secret, SecretCreate};
use http::Method;

use super::{Native, named, path};
use crate::error::Result;

impl Native<'_> {
    /// Lists secrets, without their values.
    pub async fn secrets(&self) -> Result<Vec<Secret>> {
        self.all(&path("/secrets")).await
    }

    /// One of them, by id, name, or a prefix of its id that fits only one.
    pub async fn secret(&self, name: &str) -> Result<Secret> {
        self.get(&named("/secrets/", name, "")).await
    }

    /// Changes its labels.
    pub async fn update_secret(&self, name: &str, labels: &Relabel) -> Result<()> {
        self.patch(&named("/secrets/", name, ""), labels).await
    }

    /// Makes one; gives its id.
    pub async fn create_secret(&self, secret: &SecretCreate) -> Result<String> {
        let made: Made = self.post(&path("/secrets"), secret).await?;
        Ok(made.id)
    }

    /// Removes one.
    pub async fn remove_secret(&self, name: &str) -> Result<()> {
        self.delete(&named("/secrets/", name, "")).await
    }

    /// Lists configs, with their values.
    pub async fn configs(&self) -> Result<Vec<Config>> {
        self.all(&path("/configs")).await
    }

    /// One of them, found as a secret is.
    pub async fn config(&self, name: &str) -> Result<Config> {
        self.get(&named("/configs/", name, "")).await
    }

    /// Changes its labels.
    pub async fn update_config(&self, name: &str, labels: &Relabel) -> Result<()> {
        self.patch(&named("/configs/", name, ""), labels).await
    }

    /// Makes one; gives its id.
    pub async fn create_config(&self, config: &SecretCreate) -> Result<String> {
        let made: Made = self.post(&path("/configs"), config).await?;
        Ok(made.id)
    }

    /// Removes one.
    pub async fn remove_config(&self, name: &str) -> Result<()> {
        self.delete(&named("/configs/", name, "")).await
    }

    /// Puts all secrets and configs under a new key; gives how many there are.
    pub async fn rotate_secret_key(&self) -> Result<u64> {
        let query = path("/secrets/rotate");
        let rotated: Rotated = self.client.json(Method::POST, &query).await?;
        Ok(rotated.count)
    }
}
