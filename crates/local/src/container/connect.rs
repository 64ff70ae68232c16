//! Joining and leaving networks after creation.

use std::sync::Arc;

use coracle_runtime::spec::EndpointSettings;
use coracle_runtime::{Result, RuntimeError};
use coracle_task::Client;

use super::actor::{Actor, save_record, task_error};
use super::record::Record;
use crate::{machine, networks};

impl Actor {
    /// Joins a network, by its name; at once where it runs.
    pub(super) async fn connect(
        &mut self,
        network: String,
        settings: EndpointSettings,
    ) -> Result<()> {
        if !networks::is_bridged(&self.record) {
            return Err(RuntimeError::Forbidden(format!(
                "container sharing network namespace with another container or host cannot be \
                 connected to any other network: its network mode is {}",
                self.record.host_config.network_mode
            )));
        }
        if self.run.network.networks.contains_key(&network) {
            return Err(RuntimeError::Forbidden(format!(
                "endpoint with name {} already exists in network {network}",
                self.record.name
            )));
        }
        let mut record = Record::clone(&self.record);
        // The first one after it had left all is its main one.
        if self.run.network.networks.is_empty() {
            record.host_config.network_mode.clone_from(&network);
        }
        record
            .networking
            .endpoints_config
            .insert(network.clone(), settings.clone());
        let joined = match &self.task {
            Some(_) => {
                let networks = &self.engine.networks;
                let joined = networks.plug(&record, &self.dirs, &network).await?;
                if let Err(error) = self.tell_machine(&record).await {
                    networks.unplug(&record, &self.dirs, &network).await?;
                    return Err(error);
                }
                joined
            }
            None => {
                self.engine.networks.check(&record, &network, &settings)?;
                settings
            }
        };
        if let Err(error) = save_record(&record, &self.dirs).await {
            if self.task.is_some() {
                let networks = &self.engine.networks;
                networks.unplug(&record, &self.dirs, &network).await?;
            }
            return Err(RuntimeError::Internal(format!(
                "cannot save the change: {error}"
            )));
        }
        self.record = Arc::new(record);
        self.run.network.networks.insert(network, joined);
        self.save_and_publish().await;
        self.tell_linked().await;
        Ok(())
    }

    /// Has those who have a legacy link to it follow it to its address.
    pub(super) async fn tell_linked(&self) {
        let (engine, id) = (self.engine.clone(), self.record.id.clone());
        let changed = super::files::blocking(move || Ok(engine.networks.links.follow(&id)));
        for other in changed.await.unwrap_or_default() {
            let published = other.now();
            let Some(run) = published.run.filter(|_| other.status().is_alive()) else {
                continue;
            };
            if let Err(error) = self.renew_files(&run.client, &published.record).await {
                tracing::warn!(container = %other.id, %error, "its link may lead elsewhere");
            }
        }
    }

    /// Has a running machine take its files, and its interfaces, as they are now.
    async fn renew_files(&self, client: &Client, record: &Record) -> Result<()> {
        if !machine::is_machine(&record.host_config) {
            return Ok(());
        }
        let interfaces = self.engine.networks.interfaces(record);
        client.set_interfaces(interfaces).await.map_err(task_error)
    }

    /// Loses a legacy link, and the names that it gave.
    pub(super) async fn unlink(&mut self, alias: &str) -> Result<()> {
        let mut record = Record::clone(&self.record);
        record.links.retain(|link| link.alias != alias);
        if record.links.len() == self.record.links.len() {
            let name = format!("{}/{alias}", self.record.name);
            return Err(RuntimeError::no_such_container(&name));
        }
        save_record(&record, &self.dirs)
            .await
            .map_err(|error| RuntimeError::Internal(format!("cannot save the change: {error}")))?;
        self.record = Arc::new(record);
        self.publish();
        self.engine.networks.links.forget(&self.dirs, alias);
        self.tell_machine(&self.record).await
    }

    /// Has a running machine take the interfaces that its networks have for it now.
    async fn tell_machine(&self, record: &Record) -> Result<()> {
        match &self.task {
            Some(task) => self.renew_files(&task.client, record).await,
            None => Ok(()),
        }
    }

    /// Leaves a network, by its name; at once where it runs.
    pub(super) async fn disconnect(&mut self, network: &str) -> Result<()> {
        if !self.run.network.networks.contains_key(network) || !networks::is_bridged(&self.record) {
            return Err(RuntimeError::Forbidden(format!(
                "container {} is not connected to network {network}",
                self.record.id
            )));
        }
        if self.task.is_some() {
            let networks = &self.engine.networks;
            networks.unplug(&self.record, &self.dirs, network).await?;
            self.tell_machine(&self.record).await?;
        }
        let mut record = Record::clone(&self.record);
        record.networking.endpoints_config.remove(network);
        // Without its main network, another one is. Without any, it can be connected again, and the
        // next start joins the one that it left last, as in Docker.
        if record.host_config.network_mode == network
            && let Some(next) = record.networking.endpoints_config.keys().next()
        {
            record.host_config.network_mode.clone_from(next);
        }
        save_record(&record, &self.dirs)
            .await
            .map_err(|error| RuntimeError::Internal(format!("cannot save the change: {error}")))?;
        self.record = Arc::new(record);
        self.run.network.networks.remove(network);
        self.save_and_publish().await;
        Ok(())
    }
}
