//! Secrets and configs, which only our own engines have without a swarm: by their native API.

use coracle_native::secret::Config as ConfigTold;
use coracle_runtime::secret::{Config, Secret, SecretSpec, SecretUpdate};
use coracle_runtime::{Result, RuntimeError};

use crate::error::About;
use crate::names;
use crate::runtime::Bridge;

impl Bridge {
    fn have_secrets(&self, what: &str) -> Result<()> {
        self.can(self.engine.capabilities.secrets, what)
    }

    pub(crate) async fn list_secrets(&self) -> Result<Vec<Secret>> {
        self.have_secrets("secret list")?;
        let asking = self.client.native();
        let secrets = self.ask(About::Thing, asking.secrets()).await?;
        Ok(secrets.into_iter().map(Into::into).collect())
    }

    pub(crate) async fn inspect_secret(&self, name: &str) -> Result<Secret> {
        self.have_secrets("secret inspect")?;
        let native = self.client.native();
        let asking = native.secret(names::secret("secret", name)?);
        Ok(self.ask(About::Thing, asking).await?.into())
    }

    pub(crate) async fn create_secret(&self, spec: SecretSpec) -> Result<String> {
        self.have_secrets("secret create")?;
        let (native, body) = (self.client.native(), spec.into());
        self.change(About::Name, native.create_secret(&body)).await
    }

    pub(crate) async fn update_secret(&self, name: &str, update: SecretUpdate) -> Result<()> {
        self.have_secrets("secret update")?;
        let (native, labels) = (self.client.native(), update.into());
        let changing = native.update_secret(names::secret("secret", name)?, &labels);
        self.change(About::Thing, changing).await
    }

    pub(crate) async fn remove_secret(&self, name: &str) -> Result<()> {
        self.have_secrets("secret remove")?;
        let native = self.client.native();
        let removing = native.remove_secret(names::secret("secret", name)?);
        self.change(About::Thing, removing).await
    }

    pub(crate) async fn rotate_secret_key(&self) -> Result<usize> {
        self.have_secrets("secret key rotation")?;
        let native = self.client.native();
        let count = self
            .change(About::Thing, native.rotate_secret_key())
            .await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(crate) async fn list_configs(&self) -> Result<Vec<Config>> {
        self.have_secrets("config list")?;
        let asking = self.client.native();
        let configs = self.ask(About::Thing, asking.configs()).await?;
        configs.into_iter().map(config).collect()
    }

    pub(crate) async fn inspect_config(&self, name: &str) -> Result<Config> {
        self.have_secrets("config inspect")?;
        let native = self.client.native();
        let asking = native.config(names::secret("config", name)?);
        config(self.ask(About::Thing, asking).await?)
    }

    pub(crate) async fn create_config(&self, spec: SecretSpec) -> Result<String> {
        self.have_secrets("config create")?;
        let (native, body) = (self.client.native(), spec.into());
        self.change(About::Name, native.create_config(&body)).await
    }

    pub(crate) async fn update_config(&self, name: &str, update: SecretUpdate) -> Result<()> {
        self.have_secrets("config update")?;
        let (native, labels) = (self.client.native(), update.into());
        let changing = native.update_config(names::secret("config", name)?, &labels);
        self.change(About::Thing, changing).await
    }

    pub(crate) async fn remove_config(&self, name: &str) -> Result<()> {
        self.have_secrets("config remove")?;
        let native = self.client.native();
        let removing = native.remove_config(names::secret("config", name)?);
        self.change(About::Thing, removing).await
    }
}

fn config(told: ConfigTold) -> Result<Config> {
    told.config()
        .ok_or_else(|| RuntimeError::Backend("the engine's config is no base64".into()))
}
