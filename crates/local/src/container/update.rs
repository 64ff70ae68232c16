//! Changing a container's resources and restart policy.

use std::sync::Arc;

use coracle_runtime::container::UpdateOptions;
use coracle_runtime::{Result, RuntimeError, Status};

use super::actor::{Actor, save_record, task_error};
use super::record::Record;
use crate::machine;

impl Actor {
    /// Changes what was given, at once where it runs. On an error nothing is changed.
    pub(super) async fn update(&mut self, options: UpdateOptions) -> Result<Vec<String>> {
        if self.run.state.status == Status::Removing {
            return Err(RuntimeError::InvalidState(
                "container is marked for removal".into(),
            ));
        }
        let mut record = Record::clone(&self.record);
        coracle_spec::overlay(&mut record.host_config, &options.host)?;
        let warnings = coracle_spec::check(
            &record.config,
            &record.host_config,
            &machine::facts(&self.engine.config, &record.host_config),
        )?;
        if machine::is_machine(&record.host_config) {
            machine::check::check(&record.host_config)?;
        }
        if let Some(task) = &self.task {
            let resources = coracle_spec::resources(&record.host_config)?;
            match task.client.update(resources).await.map_err(task_error) {
                Ok(()) => {}
                // It has just ended: what is saved holds from the next start on.
                Err(RuntimeError::InvalidState(_)) => {}
                Err(error) => return Err(error),
            }
        }
        save_record(&record, &self.dirs)
            .await
            .map_err(|error| RuntimeError::Internal(format!("cannot save the change: {error}")))?;
        self.record = Arc::new(record);
        // A container that waits for a restart that is no longer wanted stops waiting.
        if self.run.state.status == Status::Restarting {
            let policy = &self.record.host_config.restart_policy;
            if !coracle_runtime::restart::wanted(
                policy,
                self.last.code,
                self.run.restart_count,
                false,
            ) {
                self.restart_at = None;
                self.run.state.status = Status::Exited;
            }
        }
        self.save_and_publish().await;
        self.emit("update", &[]);
        Ok(warnings)
    }
}
