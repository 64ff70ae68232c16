//! Health checks: a command run in the container again and again, and what it means.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_runtime::container::{Health, HealthResult, HealthStatus};
use coracle_runtime::spec::HealthConfig;
use jiff::Timestamp;

use super::Entry;
use crate::engine::Engine;
use crate::process::run::drive;
use crate::shell::{self, Io, Sink, Source};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// Checks that are remembered.
const KEPT: usize = 5;
/// Bytes of output that are remembered of each.
const MAX_OUTPUT: usize = 4096;

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
    fn of(config: &HealthConfig) -> Option<Self> {
        let (kind, rest) = config.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" => rest.to_vec(),
            "CMD-SHELL" => {
                let mut line = vec!["/bin/sh".to_owned(), "-c".to_owned()];
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

/// Begins to check a run, where checks are wanted. They end with the run.
pub(crate) fn begin(engine: &Arc<Engine>, entry: &mut Entry) {
    let checks = entry.config.healthcheck.as_ref().and_then(Checks::of);
    entry.state.health = checks.as_ref().map(|_| Health::default());
    let Some(checks) = checks else { return };
    let (engine, id, number) = (Arc::downgrade(engine), entry.id.clone(), entry.exits);
    tokio::spawn(async move {
        let started = tokio::time::Instant::now();
        let mut healthy = false;
        loop {
            let starting = !healthy && started.elapsed() < checks.start_period;
            tokio::time::sleep(if starting {
                checks.start_interval
            } else {
                checks.interval
            })
            .await;
            let Some(engine) = engine.upgrade() else {
                return;
            };
            let Some(result) = check(&engine, &id, number, &checks).await else {
                return;
            };
            healthy |= result.exit_code == 0;
            take(&engine, &id, number, result, &checks);
        }
    });
}

/// Runs the command once; `None` where the run is over.
async fn check(
    engine: &Arc<Engine>,
    id: &str,
    number: u64,
    checks: &Checks,
) -> Option<HealthResult> {
    let buffer = Arc::<Mutex<Vec<u8>>>::default();
    let (work, target, paused) = {
        let state = engine.lock();
        let entry = state
            .containers
            .get(id)
            .filter(|entry| entry.exits == number)?;
        let run = entry.run.as_ref()?;
        let process = run.processes.add(0, &checks.command, false);
        let mut env = run.env.clone().at(process.target.clone());
        let sink = Sink::Buffer(buffer.clone());
        env.io = Io {
            stdin: Source::Null,
            stdout: sink.clone(),
            stderr: sink,
        };
        env.tty = None;
        let target = process.target.clone();
        (
            shell::run(env, checks.command.clone(), process),
            target,
            run.paused.subscribe(),
        )
    };
    let start = Timestamp::now();
    let outcome = tokio::time::timeout(checks.timeout, drive(work, target, paused)).await;
    let mut output = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
    output.truncate(MAX_OUTPUT);
    let (exit_code, output) = match outcome {
        Ok(code) => (code, String::from_utf8_lossy(&output).into_owned()),
        Err(_) => (
            -1,
            format!("Health check exceeded timeout ({:?})", checks.timeout),
        ),
    };
    Some(HealthResult {
        start,
        end: Timestamp::now(),
        exit_code,
        output,
    })
}

/// Takes a check's outcome into the state, if it is of this run.
fn take(engine: &Engine, id: &str, number: u64, result: HealthResult, checks: &Checks) {
    let mut state = engine.lock();
    let Some(entry) = state
        .containers
        .get_mut(id)
        .filter(|entry| entry.exits == number)
    else {
        return;
    };
    let started = entry.state.started_at.unwrap_or(result.start);
    let age = Duration::try_from(result.end.duration_since(started)).unwrap_or_default();
    let health = entry.state.health.get_or_insert_default();
    let before = health.status;
    judge(health, &result, checks, age);
    health.log.push(result);
    let surplus = health.log.len().saturating_sub(KEPT);
    health.log.drain(..surplus);
    let status = health.status;
    if status != before {
        engine.emit(entry, &format!("health_status: {}", status.as_str()), &[]);
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
