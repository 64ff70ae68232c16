//! Making a template of a running machine.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::error::{Error, Result};
use crate::qemu::machine::QemuMachine;
use crate::template::{Stage, Template};

/// How long QEMU may take to write the devices' state, which is less than a megabyte.
const PATIENCE: Duration = Duration::from_secs(60);

impl QemuMachine {
    pub(super) async fn make_template(&self, dir: &Path) -> Result<Template> {
        let Some(ram) = &self.ram else {
            return Err(Error::Unsupported(
                "only a machine that was booted for it can become a template".into(),
            ));
        };
        let plugs = self.plugs.lock().await;
        if !plugs.is_empty() || self.spec.root.is_some() || self.spec.layer.is_some() {
            return Err(Error::Unsupported(
                "a machine with disks or network cards can't become a template".into(),
            ));
        }
        let ram = ram.try_clone().map_err(Error::io("dup"))?;
        let target = dir.to_owned();
        let (stage, state) = blocking(move || {
            let stage = Stage::begin(&target)?;
            let state = stage.state()?;
            Ok((stage, state))
        })
        .await?;
        self.write_state(state.as_fd()).await?;
        // Its memory must not change while it is copied.
        self.life.kill()?;
        self.life.ended().await;
        let key = self.key.clone();
        blocking(move || stage.finish(&key, &ram, &state)).await
    }

    async fn write_state(&self, state: std::os::fd::BorrowedFd<'_>) -> Result<()> {
        let capabilities = json!([
            {"capability": "x-ignore-shared", "state": true},
            {"capability": "events", "state": true},
        ]);
        let set = json!({"capabilities": capabilities});
        self.qmp.run("migrate-set-capabilities", set).await?;
        let name = json!({"fdname": "state"});
        self.qmp.run_with("getfd", name, Some(state)).await?;
        let mut events = self.qmp.events();
        self.qmp.run("migrate", json!({"uri": "fd:state"})).await?;
        let written = async {
            loop {
                let event = match events.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return Err(Error::Ended("QEMU hung up".into())),
                };
                let status = event.data.get("status").and_then(Value::as_str);
                match (event.name.as_str(), status) {
                    ("MIGRATION", Some("completed")) => return Ok(()),
                    ("MIGRATION", Some("failed" | "cancelled")) => {
                        return Err(Error::Refused {
                            command: "migrate".into(),
                            message: "QEMU could not write the devices' state".into(),
                        });
                    }
                    _ => {}
                }
            }
        };
        tokio::select! {
            written = tokio::time::timeout(PATIENCE, written) => {
                written.map_err(|_| Error::Timeout("writing the devices' state".into()))?
            }
            exit = self.life.ended() => Err(Error::Ended(exit.to_string())),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Start(error.to_string()))?
}
