//! Health checks: a command run in the container again and again, and what it means.

use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::container::{Health, HealthResult};
use coracle_runtime::exec::ExecSpec;
use coracle_runtime::health::{Checks, MAX_OUTPUT};
use coracle_task::{AttachOptions, Client, ExecConfig};
use jiff::Timestamp;
use oci_spec::runtime::Process;
use tokio::task::AbortHandle;

use super::actor::Actor;
use super::bundle;
use super::handle::{Command, Handle};
use super::record::Record;
use crate::engine::Engine;
use crate::ident;

/// A run's checks; dropping it ends them.
pub(crate) struct Monitor {
    task: AbortHandle,
    checks: Checks,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Monitor {
    /// Begins to check a run, where checks are wanted.
    pub(super) fn begin(
        engine: Arc<Engine>,
        record: &Record,
        client: Client,
        process: Arc<Process>,
        run: u64,
        handle: Handle,
    ) -> Option<Self> {
        let config = record.config.healthcheck.as_ref()?;
        let checks = Checks::of(config, record.config.shell.as_deref())?;
        let who = Who {
            user: Some(record.config.user.clone()).filter(|user| !user.is_empty()),
            groups: record.host_config.group_add.clone(),
        };
        let watched = checks.clone();
        let task = tokio::spawn(async move {
            let started = tokio::time::Instant::now();
            let mut healthy = false;
            loop {
                let starting = !healthy && started.elapsed() < watched.start_period;
                let pause = if starting {
                    watched.start_interval
                } else {
                    watched.interval
                };
                tokio::time::sleep(pause).await;
                let result = match bundle::model(&engine, &handle, &process) {
                    Ok(model) => check(&watched, &client, &model, &who).await,
                    Err(error) => HealthResult::not_run(&error),
                };
                healthy |= result.exit_code == 0;
                if handle
                    .commands
                    .send(Command::Health { run, result })
                    .is_err()
                {
                    return;
                }
            }
        })
        .abort_handle();
        Some(Self { task, checks })
    }
}

/// Who a check is run as: the same as the container's first process.
struct Who {
    user: Option<String>,
    groups: Vec<String>,
}

/// Runs the command once.
async fn check(checks: &Checks, client: &Client, init: &Process, who: &Who) -> HealthResult {
    let start = Timestamp::now();
    let id = ident::new_id();
    let outcome = tokio::time::timeout(checks.timeout, run(checks, client, init, who, &id)).await;
    let (exit_code, output) = match outcome {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => (-1, error.to_string()),
        Err(_) => {
            let _ = client
                .kill(Some(&id), coracle_runtime::signal::KILL, false)
                .await;
            (
                -1,
                format!("Health check exceeded timeout ({:?})", checks.timeout),
            )
        }
    };
    // It can only be deleted once it has ended, which after a kill takes a moment.
    let client = client.clone();
    tokio::spawn(async move {
        let _ = client.wait(Some(&id)).await;
        let _ = client.delete_exec(&id).await;
    });
    HealthResult {
        start,
        end: Timestamp::now(),
        exit_code,
        output,
    }
}

async fn run(
    checks: &Checks,
    client: &Client,
    init: &Process,
    who: &Who,
    id: &str,
) -> Result<(i32, String), Box<dyn std::error::Error + Send + Sync>> {
    let config = exec_config(checks, init, who, id)?;
    client.exec(config).await?;
    let options = AttachOptions {
        stdin: false,
        stdout: true,
        stderr: true,
    };
    let mut attached = client.attach(Some(id), options).await?;
    client.start_exec(id).await?;
    let mut output = Vec::new();
    while let Some((_, bytes)) = attached.output.next().await? {
        let room = MAX_OUTPUT.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    let exit = client.wait(Some(id)).await?;
    Ok((exit.code, String::from_utf8_lossy(&output).into_owned()))
}

fn exec_config(
    checks: &Checks,
    init: &Process,
    who: &Who,
    id: &str,
) -> Result<ExecConfig, coracle_spec::SpecError> {
    let spec = ExecSpec {
        cmd: checks.command.clone(),
        ..Default::default()
    };
    Ok(ExecConfig {
        exec_id: id.to_owned(),
        process: coracle_spec::exec_process(init, &spec, &coracle_spec::Host::default())?,
        terminal: false,
        stdin: false,
        user: who.user.clone(),
        groups: who.groups.clone(),
        console_size: None,
    })
}

impl Actor {
    /// Takes a check's outcome into the state, if it is of this run.
    pub(super) fn on_health(&mut self, run: u64, result: HealthResult) {
        let Some(monitor) = self.health.as_ref().filter(|_| run == self.exits) else {
            return;
        };
        let started = self.run.state.started_at.unwrap_or(result.start);
        let age = Duration::try_from(result.end.duration_since(started)).unwrap_or_default();
        let health = self.run.state.health.get_or_insert_with(Health::default);
        let before = health.status;
        monitor.checks.judge(health, result, age);
        let status = health.status;
        // Not saved: after a restart of the daemon health begins anew.
        self.publish();
        if status != before {
            self.emit(&format!("health_status: {}", status.as_str()), &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_run_as_the_container_does() {
        let config = serde_json::from_str(r#"{"Test":["CMD","x"]}"#).unwrap();
        let checks = Checks::of(&config, None).unwrap();
        let who = Who {
            user: Some("app".into()),
            groups: vec!["audio".into(), "2000".into()],
        };
        let config = exec_config(&checks, &Process::default(), &who, "id").unwrap();
        assert_eq!(config.user.as_deref(), Some("app"));
        assert_eq!(config.groups, ["audio", "2000"]);
        assert_eq!(
            config.process.args().as_deref(),
            Some(&["x".to_owned()][..])
        );
    }
}
