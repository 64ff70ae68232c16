//! Health checks: a command run in the container again and again, and what it means.

use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::container::{Health, HealthResult, HealthStatus};
use coracle_runtime::exec::ExecSpec;
use coracle_runtime::spec::HealthConfig;
use coracle_task::{AttachOptions, Client, ExecConfig};
use jiff::Timestamp;
use oci_spec::runtime::Process;
use tokio::task::AbortHandle;

use super::actor::Actor;
use super::handle::{Command, Handle};
use super::record::Record;
use crate::ident;

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// Checks that are remembered.
const KEPT: usize = 5;
/// Bytes of output that are remembered of each.
const MAX_OUTPUT: usize = 4096;

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

/// A container's checks, with the defaults filled in.
#[derive(Clone, Debug)]
struct Checks {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Checks {
    /// `None` where there are none, or they are turned off.
    fn of(config: &HealthConfig, shell: Option<&[String]>) -> Option<Self> {
        let (kind, rest) = config.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" => rest.to_vec(),
            "CMD-SHELL" => {
                let default = ["/bin/sh".to_owned(), "-c".to_owned()];
                let mut line = shell.unwrap_or(&default).to_vec();
                line.extend(rest.first().cloned());
                line
            }
            _ => return None,
        };
        let or = |nanos: i64, default: Duration| match u64::try_from(nanos) {
            Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
            _ => default,
        };
        Some(Self {
            command,
            interval: or(config.interval, INTERVAL),
            timeout: or(config.timeout, TIMEOUT),
            start_period: or(config.start_period, Duration::ZERO),
            start_interval: or(config.start_interval, START_INTERVAL),
            retries: u32::try_from(config.retries)
                .ok()
                .filter(|n| *n > 0)
                .unwrap_or(RETRIES),
        })
    }
}

impl Monitor {
    /// Begins to check a run, where checks are wanted.
    pub(super) fn begin(
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
                let result = check(&watched, &client, &process, &who).await;
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
        judge(health, &result, &monitor.checks, age);
        health.log.push(result);
        let surplus = health.log.len().saturating_sub(KEPT);
        health.log.drain(..surplus);
        let status = health.status;
        // Not saved: after a restart of the daemon health begins anew.
        self.publish();
        if status != before {
            self.emit(&format!("health_status: {}", status.as_str()), &[]);
        }
    }
}

fn judge(health: &mut Health, result: &HealthResult, checks: &Checks, age: Duration) {
    if result.exit_code == 0 {
        health.failing_streak = 0;
        health.status = HealthStatus::Healthy;
        return;
    }
    // Failures in the start period do not count, until the first success.
    if health.status == HealthStatus::Starting && age < checks.start_period {
        return;
    }
    health.failing_streak = health.failing_streak.saturating_add(1);
    if health.failing_streak >= checks.retries {
        health.status = HealthStatus::Unhealthy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(json: &str) -> Option<Checks> {
        Checks::of(&serde_json::from_str(json).unwrap(), None)
    }

    fn result(exit_code: i32) -> HealthResult {
        HealthResult {
            exit_code,
            ..Default::default()
        }
    }

    #[test]
    fn commands_and_defaults() {
        assert!(checks(r#"{"Test":["NONE"]}"#).is_none());
        assert!(checks(r#"{"Test":[]}"#).is_none());
        let shell = checks(r#"{"Test":["CMD-SHELL","a b"],"Retries":0}"#).unwrap();
        assert_eq!(shell.command, ["/bin/sh", "-c", "a b"]);
        assert_eq!((shell.interval, shell.retries), (INTERVAL, RETRIES));
        assert_eq!(
            checks(r#"{"Test":["CMD","a","b"]}"#).unwrap().command,
            ["a", "b"]
        );
    }

    #[test]
    fn unhealthy_after_so_many_failures_and_healthy_after_one_success() {
        let checks =
            checks(r#"{"Test":["CMD","x"],"Retries":2,"StartPeriod":1000000000}"#).unwrap();
        let mut health = Health::default();
        judge(&mut health, &result(1), &checks, Duration::from_millis(500));
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Starting, 0)
        );
        let late = Duration::from_secs(2);
        judge(&mut health, &result(1), &checks, late);
        assert_eq!(health.status, HealthStatus::Starting);
        judge(&mut health, &result(1), &checks, late);
        assert_eq!(health.status, HealthStatus::Unhealthy);
        judge(&mut health, &result(0), &checks, late);
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Healthy, 0)
        );
    }

    #[test]
    fn checks_run_as_the_container_does() {
        let checks = checks(r#"{"Test":["CMD","x"]}"#).unwrap();
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
