//! Health checks: a command run in the container again and again, and what it means.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_runtime::container::{Health, HealthResult};
use coracle_runtime::health::{Checks, MAX_OUTPUT};
use jiff::Timestamp;

use super::Entry;
use super::start::variables;
use crate::engine::Engine;
use crate::process::run::drive;
use crate::shell::{self, Io, Sink, Source};

/// Begins to check a run, where checks are wanted. They end with the run.
pub(crate) fn begin(engine: &Arc<Engine>, entry: &mut Entry) {
    let config = entry.config.healthcheck.as_ref();
    let checks = config.and_then(|config| Checks::of(config, entry.config.shell.as_deref()));
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
        let linked = match state.linked_now(entry) {
            Ok(linked) => linked,
            Err(error) => return Some(HealthResult::not_run(&error)),
        };
        let process = run.processes.add(0, &checks.command, false);
        let mut env = run.env.clone().at(process.target.clone());
        env.vars = variables(entry, &linked, &env.user);
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
    checks.judge(health, result, age);
    let status = health.status;
    if status != before {
        engine.emit(entry, &format!("health_status: {}", status.as_str()), &[]);
    }
}
